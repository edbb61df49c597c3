package checkpointstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
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

// failure is the one place where a failed request becomes an [Error].
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
		e.Kind, e.Detail = ErrCredential, "the credential says: "+advice(e.Err)
		if end != nil {
			e.Detail = "the credential gave none " + s.until(end) + ": " + advice(e.Err)
		}
	case answer != nil && told != nil:
		e.Detail, e.Kind = s.explain(told, s.authorizationOf(answer), at.action)
		if end != nil {
			e.Detail += s.then(end)
		}
	case end != nil && end.before != nil:
		e.Detail = describe(secrets, end.before) + s.then(end) + ": " + cause(secrets, end.err)
	case end != nil:
		e.Detail = "no answer " + s.until(end) + ": " + cause(secrets, end.err)
	case errors.Is(err, context.DeadlineExceeded):
		e.Detail = "no answer before a deadline: " + cause(secrets, err)
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
	var u *url.Error
	if errors.As(err, &u) {
		return "no answer: " + cause(secrets, err)
	}
	return cause(secrets, err)
}

// cause is the same without the URL of a request, as the blob is named already.
func cause(secrets redact.Secrets, err error) string {
	err = secrets.Error(err)
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return oneLine(err.Error())
}

// advice is what a credential says, in one line. Its text has several: which
// credentials were tried, what Microsoft Entra ID answered, and where to read on.
// Of a JSON answer, the description is kept.
func advice(err error) string {
	const max, tail = 4000, 1000
	var b strings.Builder
	for line := range strings.Lines(err.Error()) {
		line = strings.Join(strings.Fields(line), " ")
		if strings.Trim(line, "-{}[]0123456789, ") == "" {
			continue // a rule, the braces or the numbers of a JSON text
		}
		if member := jsonMember.FindStringSubmatch(line); member != nil {
			if !strings.HasPrefix(member[1], "error") || member[1] == "error_codes" || member[1] == "error_uri" {
				continue
			}
			line = member[1] + ": " + strings.Trim(member[2], `",`)
		}
		if text := b.String(); text != "" && !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ":") {
			b.WriteString(";")
		}
		if b.Len() > 0 {
			b.WriteString(" ")
		}
		b.WriteString(line)
	}
	text := b.String()
	if len(text) > max {
		text = strings.ToValidUTF8(text[:max-tail], "") + " … " + strings.ToValidUTF8(text[len(text)-tail:], "")
	}
	return printable(text)
}

// jsonMember is a line of an indented JSON text.
var jsonMember = regexp.MustCompile(`^"([a-z_]+)": ?(.*)$`)

// readError is the failure of a read that was to decide about a write.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// explain says what an answer means and what to do, and of what kind it is.
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
		return "the service answered " + answer + ", without the headers that it sends: something in between answered in its place, check the URL, the proxies and the firewalls", kind
	case kind != nil:
		return fmt.Sprintf("account %q refused access to container %q (%s): %s; the request needs %s, which the role Storage Blob Data Contributor has",
			account, container, answer, s.reasonFor(resp, auth), action), kind
	}
	return "the service answered " + answer, nil
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

// isFromService reports whether it was the service that answered: it sends a code
// with every refusal, and its version and a request ID with every answer.
func isFromService(resp *azcore.ResponseError) bool {
	if resp.ErrorCode != "" || resp.RawResponse == nil {
		return true
	}
	header := resp.RawResponse.Header
	return header.Get("x-ms-request-id") != "" || header.Get("x-ms-version") != ""
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

// recordNotFound says that a partition has no such record.
func recordNotFound(op string, at target) error {
	return &Error{Op: op, PartitionID: at.partitionID, BlobName: at.blobName, Kind: ErrNotFound, Detail: "the partition has no such record"}
}
