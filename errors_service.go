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
	createContainer = "action Microsoft.Storage/storageAccounts/blobServices/containers/write (account SAS: w or c)"
)

// publicAccessNotPermitted is a 409, and not in azblob's list of codes.
const publicAccessNotPermitted bloberror.Code = "PublicAccessNotPermitted"

// A target is what an error was about.
type target struct {
	partitionID string
	blobName    string // or prefix
	action      string // what the request needed
}

// location is where the container is, for error texts.
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

// failure is the one place where a service's answer becomes an [Error]. It keeps
// an error that is one already.
func (s *BlobCheckpointStore) failure(op string, at target, err error) error {
	var read *readError
	if errors.As(err, &read) {
		at.action, err = readBlob, read.err
	}
	secrets := s.secrets()
	e := &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Err: secrets.Error(err)}
	var resp *azcore.ResponseError
	switch {
	case errors.As(e.Err, &resp):
		e.Detail, e.Kind = s.explain(resp, at.action)
	case errors.Is(err, context.DeadlineExceeded):
		e.Detail = "no answer before the deadline, the context's or the store's (Timeout): " + describe(secrets, err)
	default:
		e.Detail = describe(secrets, err)
	}
	return e
}

// secrets are the signatures in the URL of the client, which errors may repeat.
func (s *BlobCheckpointStore) secrets() redact.Secrets {
	u, err := url.Parse(s.client.URL())
	if err != nil {
		return nil
	}
	return redact.InURL(u)
}

// describe is an error's text in one line of bounded length, without secrets.
func describe(secrets redact.Secrets, err error) string {
	err = secrets.Error(err)
	var u *url.Error
	if errors.As(err, &u) {
		return "no answer: " + oneLine(u.Err.Error()) // the blob is named already
	}
	return oneLine(err.Error())
}

// readError is the failure of a read that was to decide about a write.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// explain says what an answer means and what to do, and of what kind it is.
func (s *BlobCheckpointStore) explain(resp *azcore.ResponseError, action string) (detail string, kind error) {
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
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return fmt.Sprintf("account %q refused the credential for container %q (%s): the request needs %s, which the role Storage Blob Data Contributor has; "+
			"otherwise check the account key, or the SAS and the time it is valid, this machine's clock, and the account's firewall", account, container, answer, action), ErrNotAuthorized
	}
	return "the service answered " + answer, nil
}

// statusText is a status with its code, if it has one.
func statusText(resp *azcore.ResponseError) string {
	if resp.ErrorCode == "" {
		return fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, oneLine(resp.ErrorCode))
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

// isAbsent decides whether an answer says that there is no such blob.
func isAbsent(resp *azcore.ResponseError) bool {
	switch bloberror.Code(resp.ErrorCode) {
	case bloberror.BlobNotFound:
		return true
	case "", bloberror.ResourceNotFound:
		return resp.StatusCode == http.StatusNotFound
	}
	return false
}

// recordNotFound says that a partition has no such record.
func recordNotFound(op string, at target) error {
	return &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Kind: ErrNotFound, Detail: "the partition has no such record"}
}
