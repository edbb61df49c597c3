package checkpointstore

import (
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// What an answer of the service means. These functions look at the answer alone
// and decide nothing about a partition.

// answerIn is the service's answer in an error, nil if there is none. What a
// credential's own service answered is none.
func answerIn(err error) *azcore.ResponseError {
	var answer *azcore.ResponseError
	if isCredential(err) || !errors.As(err, &answer) {
		return nil
	}
	return answer
}

// isRefused reports whether the service refused the credential.
func isRefused(err error) bool {
	answer := answerIn(err)
	return answer != nil && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden)
}

// isHidden reports whether an answer is the one by which the service hides a
// private container from a request without a credential.
func isHidden(resp *azcore.ResponseError) bool {
	return resp.StatusCode == http.StatusNotFound && bloberror.Code(resp.ErrorCode) == bloberror.ResourceNotFound
}

// isAnonymous reports whether a request is known to have had no credential.
func isAnonymous(answer *azcore.ResponseError) bool {
	if answer.RawResponse == nil || answer.RawResponse.Request == nil {
		return false
	}
	return authorizationIn(answer.RawResponse.Request).by == anonymously
}

// isFromService reports whether it was the service that answered: it sends a code
// with every refusal, and its version and a request ID with every answer.
func isFromService(resp *azcore.ResponseError) bool {
	if resp.ErrorCode != "" || resp.RawResponse == nil {
		return true
	}
	header := resp.RawResponse.Header
	return header.Get("x-ms-request-id") != "" || header.Get("x-ms-version") != ""
}

// isLost decides whether an answer to a conditional write says that somebody
// else won. It goes by the code, and by the status only if there is no code:
// LeaseIdMissing is a 412 as well.
func isLost(resp *azcore.ResponseError) bool {
	switch bloberror.Code(resp.ErrorCode) {
	case bloberror.ConditionNotMet, bloberror.BlobAlreadyExists:
		return true
	case "":
		return resp.StatusCode == http.StatusPreconditionFailed || resp.StatusCode == http.StatusConflict
	}
	return false
}

// isAbsent decides whether an answer says that there is no such blob. A 404
// without a code is one of the service only if it has the service's headers; one of
// a proxy does not tell about the blob. To a request without a credential, the
// service says the same of a private container.
func isAbsent(resp *azcore.ResponseError) bool {
	switch bloberror.Code(resp.ErrorCode) {
	case bloberror.BlobNotFound:
		return true
	case bloberror.ResourceNotFound:
		return isHidden(resp) && !isAnonymous(resp)
	case "":
		return resp.StatusCode == http.StatusNotFound && isFromService(resp)
	}
	return false
}
