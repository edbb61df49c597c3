package checkpointstore

import (
	"errors"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// What a response of the service means. These functions look at one response, and
// make no decision about a partition.

// answerIn returns the service's response in an error, or nil. A response that a
// credential's own service sent does not count.
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

// isHidden reports whether a response is the one by which the service hides a
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

// isFromService reports whether the service itself sent a response: it sends a code
// with every refusal, and its version and a request ID with every response.
func isFromService(resp *azcore.ResponseError) bool {
	if resp.ErrorCode != "" || resp.RawResponse == nil {
		return true
	}
	header := resp.RawResponse.Header
	return header.Get("x-ms-request-id") != "" || header.Get("x-ms-version") != ""
}

// isConditionNotMet reports whether a response to a conditional write says that somebody else
// won. The code decides; the status decides only if there is no code, because
// LeaseIdMissing is a 412 as well.
func isConditionNotMet(resp *azcore.ResponseError) bool {
	switch bloberror.Code(resp.ErrorCode) {
	case bloberror.ConditionNotMet, bloberror.BlobAlreadyExists:
		return true
	case "":
		return resp.StatusCode == http.StatusPreconditionFailed || resp.StatusCode == http.StatusConflict
	}
	return false
}

// isBlobNotFound reports whether a response says that there is no such blob. A 404
// without a code counts only if it has the service's headers, because that of a
// proxy says nothing about the blob. To a request without a credential, the service
// says the same about a private container.
func isBlobNotFound(resp *azcore.ResponseError) bool {
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
