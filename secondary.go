package checkpointstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// Reads from the secondary of a geo-redundant account. The secondary lags behind:
// what it has may be old, and what it does not have may exist. So only a read of
// one record goes there, only after the primary failed, and only a record that is
// found there counts. Lists never go there: a partition that is missing from a list
// has no checkpoint for the caller, and no secondary can prove that. See
// docs/design.md.

// secondaryReadsKey marks the context of reads that may go to the secondary.
type secondaryReadsKey struct{}

func withSecondaryReads(ctx context.Context) context.Context {
	return context.WithValue(ctx, secondaryReadsKey{}, true)
}

// secondary sends the retry of a marked read to the secondary host if the previous
// try failed at the primary. The retry after that goes to the primary again.
type secondary struct{ host string }

// secondaryRead is what the two policies know of one request.
type secondaryRead struct {
	primaryFailed bool  // in the last try, which was at the primary
	primaryErr    error // of the primary's last failure
	atSecondary   bool  // where the current try is
}

// errSecondaryFailed ends a try at the secondary, for whatever reason; the next try
// goes to the primary.
var errSecondaryFailed = errors.New("the secondary has no record to offer, which says nothing about the primary")

// perCall runs around all tries of a request. The secondary is a fallback: if it
// had no record either, the error is the primary's.
func (s secondary) perCall(req *policy.Request) (*http.Response, error) {
	if req.Raw().Context().Value(secondaryReadsKey{}) == nil {
		return req.Next()
	}
	read := &secondaryRead{}
	req.SetOperationValue(read)
	resp, err := req.Next()
	unauthorized := err == nil && read.atSecondary && resp.StatusCode == http.StatusUnauthorized
	if unauthorized {
		runtime.Drain(resp)
	}
	if unauthorized || errors.Is(err, errSecondaryFailed) {
		return nil, read.primaryErr
	}
	return resp, err
}

// perTry runs for every try of a request, after it was signed: a shared key, a SAS
// or a token does not sign the host. It also runs when the credential responds to a
// challenge (401), which is not a failure and stays at the same host.
func (s secondary) perTry(req *policy.Request) (*http.Response, error) {
	var read *secondaryRead
	if !req.OperationValue(&read) {
		return req.Next()
	}
	if req.Raw().URL.Host != s.host { // not an answer to a challenge of the secondary
		read.atSecondary, read.primaryFailed = read.primaryFailed, false
	}
	if read.atSecondary {
		req.Raw().URL.Host, req.Raw().Host = s.host, s.host
		resp, err := req.Next()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errSecondaryFailed, err)
		}
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
			runtime.Drain(resp)
			return nil, fmt.Errorf("%w: %d", errSecondaryFailed, resp.StatusCode)
		}
		return resp, nil
	}
	resp, err := req.Next()
	switch {
	case err != nil:
		read.primaryFailed, read.primaryErr = true, err
	case isOutage(resp.StatusCode):
		read.primaryFailed, read.primaryErr = true, runtime.NewResponseError(resp)
	}
	return resp, err
}

// isOutage reports whether a status says that a host cannot serve a read now.
func isOutage(status int) bool {
	return status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests
}
