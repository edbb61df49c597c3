package securitytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// What is left of an error's causes without the secrets.

// TestAnswersAreCopiesWithoutCredentials: what users need of an answer is there.
func TestAnswersAreCopiesWithoutCredentials(t *testing.T) {
	for how, o := range openings(t) {
		t.Run(how, func(t *testing.T) {
			_, errs := o.run(t, context.Background(), "http://account.invalid", faults.TransportFunc(answers()["403"]), timeoutFor("403"))
			for _, err := range errs {
				var answer *azcore.ResponseError
				require.ErrorAs(t, err, &answer)
				require.Equal(t, 403, answer.StatusCode)
				require.Equal(t, "AuthenticationFailed", answer.ErrorCode)
				require.Equal(t, 403, answer.RawResponse.StatusCode)
				require.Equal(t, "AuthenticationFailed", answer.RawResponse.Header.Get("x-ms-error-code"))
				body, err := runtime.Payload(answer.RawResponse)
				require.NoError(t, err)
				require.Contains(t, string(body), "The MAC signature found")
				require.Contains(t, answer.RawResponse.Request.URL.Path, "/c")
				require.Empty(t, answer.RawResponse.Request.URL.RawQuery)
				require.Empty(t, answer.RawResponse.Request.Header.Values("Authorization"))
				require.NotEmpty(t, answer.RawResponse.Request.Header)
			}
		})
	}
}

// TestTypesAndSentinelsStayReachable through what had to be replaced.
func TestTypesAndSentinelsStayReachable(t *testing.T) {
	sentinel := errors.New("a sentinel of the transport, sig=" + secretSignature)
	_, errs := openings(t)["SAS"].run(t, context.Background(), "http://account.invalid", faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		told := fmt.Errorf("%w for %s", sentinel, req.URL)
		return nil, quiet{&url.Error{Op: "Put", URL: req.URL.String(), Err: &net.OpError{Op: "dial", Net: "tcp", Err: told}}}
	}), timeoutFor(""))
	for _, err := range errs {
		require.ErrorIs(t, err, sentinel)
		var mine quiet
		require.ErrorAs(t, err, &mine, "its own text holds no secret")
		var u *url.Error
		require.ErrorAs(t, err, &u)
		require.NotContains(t, u.URL, "?")
		var op *net.OpError
		require.NotErrorAs(t, err, &op, "its text holds one")
	}
}
