package checkpointstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// What a request needs, in the words of Azure's role-based access control
// ("Authorize with Microsoft Entra ID", permissions for Blob service operations)
// and of a SAS ("Create a service SAS", "Create an account SAS"). To write is to
// create as well.
const (
	readBlob        = "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (SAS: r)"
	listBlobs       = "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (SAS: l)"
	writeBlob       = "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write (SAS: w)"
	deleteBlob      = "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete (SAS: d)"
	createContainer = "action Microsoft.Storage/storageAccounts/blobServices/containers/write (account SAS: w or c)"
)

// publicAccessNotPermitted is a 409, and not in azblob's list of codes.
const publicAccessNotPermitted bloberror.Code = "PublicAccessNotPermitted"

// A target is what a request was about.
type target struct {
	partitionID string
	blobName    string // or prefix
	action      string // what the request needed
}

// location is the account and the container, for error texts.
type location struct {
	account   string // the host, with the account's segment on emulators
	container string
}

func locationOf(u *url.URL) location {
	account, container := u.Host, strings.Trim(u.Path, "/")
	if i := strings.LastIndex(container, "/"); i >= 0 {
		account, container = account+"/"+container[:i], container[i+1:]
	}
	return location{account, container}
}

// failure turns the error of a failed request into an [Error]. All operations use
// it.
func (s *BlobCheckpointStore) failure(op string, at target, err error) error {
	var read *readError
	if errors.As(err, &read) {
		at.action, err = readBlob, read.err
	}
	secrets := s.secrets()
	e := &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Err: secrets.Error(err)}
	var end *endedError
	errors.As(err, &end)
	answer, told := answerIn(err), answerIn(e.Err) // the same, with its request and without secrets
	switch {
	case isCredential(err):
		e.Kind, e.Detail = ErrCredential, "the credential says: "+credentialText(e.Err)
		if end != nil {
			e.Detail = "the credential returned none " + s.untilText(end) + ": " + credentialText(e.Err)
		}
	case answer != nil && told != nil:
		e.Detail, e.Kind = s.explain(told, s.authorizationOf(answer), at.action)
		if end != nil {
			e.Detail += s.thenText(end)
		}
	case end != nil && end.before != nil:
		e.Detail = describe(secrets, end.before) + s.thenText(end) + ": " + causeText(secrets, end.err)
	case end != nil:
		e.Detail = "no answer " + s.untilText(end) + ": " + causeText(secrets, end.err)
	case errors.Is(err, context.DeadlineExceeded):
		e.Detail = "no answer before a deadline: " + causeText(secrets, err)
	default:
		e.Detail = describe(secrets, err)
	}
	return e
}

// secrets returns the signatures in the client's URL, which errors may repeat.
func (s *BlobCheckpointStore) secrets() redact.Secrets {
	u, err := url.Parse(s.client.URL())
	if err != nil {
		return nil
	}
	return redact.InURL(u)
}

// describe returns an error's text in one line of bounded length, without secrets.
func describe(secrets redact.Secrets, err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return "no answer: " + causeText(secrets, err)
	}
	return causeText(secrets, err)
}

// causeText is describe without the URL of a request, because the error names the blob
// already.
func causeText(secrets redact.Secrets, err error) string {
	err = secrets.Error(err)
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return oneLine(err.Error())
}

// readError is the failure of a read that was to resolve an ambiguous write.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// explain says what a response means and what to do about it, and returns its kind.
func (s *BlobCheckpointStore) explain(resp *azcore.ResponseError, auth authorization, action string) (detail string, kind error) {
	answer, container, account := statusText(resp), s.location.container, s.location.account
	switch bloberror.Code(resp.ErrorCode) {
	case bloberror.ContainerNotFound:
		return fmt.Sprintf("container %q does not exist in account %q (%s): create it, or call EnsureContainer", container, account, answer), ErrContainerNotFound
	case bloberror.ContainerBeingDeleted:
		return fmt.Sprintf("container %q in account %q is being deleted (%s): it can be created again after about 30 s", container, account, answer), ErrContainerNotFound
	case bloberror.LeaseIDMissing:
		return fmt.Sprintf("somebody holds a lease on the blob (%s): break it; checkpoint stores use no leases", answer), nil
	case publicAccessNotPermitted:
		return fmt.Sprintf("account %q allows no anonymous access (%s): use a credential or a SAS", account, answer), ErrNotAuthorized
	}
	if isRefused(resp) || auth.by == anonymously && isHidden(resp) {
		kind = ErrNotAuthorized
	}
	switch {
	case !isFromService(resp):
		return "the service answered " + answer + ", without the headers that the service sends: something in between answered in its place; check the URL, the proxies and the firewalls", kind
	case kind != nil:
		return fmt.Sprintf("account %q refused access to container %q (%s): %s; the request needs %s, which the role Storage Blob Data Contributor has",
			account, container, answer, s.reasonFor(resp, auth), action), kind
	}
	return "the service answered " + answer, nil
}

// statusText is a status with its code, if there is one.
func statusText(resp *azcore.ResponseError) string {
	if resp.ErrorCode == "" {
		return fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, oneLine(resp.ErrorCode))
}

// recordNotFound is the error for a partition without a record.
func recordNotFound(op string, at target) error {
	return &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Kind: ErrNotFound, Detail: "the partition has no such record"}
}
