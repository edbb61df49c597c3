package fakeblob

import (
	"net/http"
	"time"
)

// Status answers with a status and an error code, without applying the request. An empty code makes a bare answer:
// no x-ms-error-code, no body.
func Status(status int, code string) Fault { return Fault{Action: Answer, Status: status, Code: code} }

// StatusWithBody answers as something between client and service would, such as a proxy: a body of any type, no
// error code. The request is not applied.
func StatusWithBody(status int, contentType, body string) Fault {
	return Fault{
		Action: Answer, Status: status, ContentType: contentType, Body: body,
		StripHeaders: []string{"X-Ms-Request-Id", "X-Ms-Version", "X-Ms-Client-Request-Id"},
	}
}

// Busy answers 503 ServerBusy, with a Retry-After header if retryAfter is not zero. azcore gives up at once when it is
// longer than the client's MaxRetryDelay.
func Busy(retryAfter time.Duration) Fault {
	f := Status(http.StatusServiceUnavailable, codeServerBusy)
	f.RetryAfter = retryAfter
	return f
}

// Forbidden answers 403 AuthorizationPermissionMismatch, as to an identity without the role.
func Forbidden() Fault { return Status(http.StatusForbidden, codePermissionMismatch) }

// AuthenticationFailed answers 403 AuthenticationFailed, as to a wrong key or signature. detail goes into the
// several lines of the body, where Azure repeats the string that was signed.
func AuthenticationFailed(detail string) Fault {
	f := Status(http.StatusForbidden, codeAuthenticationFailed)
	f.Detail = detail
	return f
}

// ApplyThenStatus applies the request and answers with a status and an error code all the same, such as a 500 that
// came after the write.
func ApplyThenStatus(status int, code string) Fault {
	return Fault{Action: ApplyThenAnswer, Status: status, Code: code}
}

// RefuseConnection fails to connect, with ECONNREFUSED: no trace hook is called, the request is not counted.
func RefuseConnection() Fault { return Fault{Action: Refuse} }

// ResetConnection resets the connection, with ECONNRESET, after the request was sent and before it is applied.
func ResetConnection() Fault { return Fault{Action: DropBefore} }

// LoseResponse applies the request and loses the response, with io.ErrUnexpectedEOF.
func LoseResponse() Fault { return Fault{Action: DropAfter} }

// HangWithoutApplying waits until the request's context is done, and never applies it.
func HangWithoutApplying() Fault { return Fault{Action: HangBefore} }

// HangAfterApplying applies the request and waits until its context is done.
func HangAfterApplying() Fault { return Fault{Action: HangAfter} }

// RunBefore runs f before the request is applied. f may send requests of its own; those meet the same faults.
func RunBefore(f func()) Fault { return Fault{Before: f} }

// RunAfter runs f between the request's effect and its response. f may send requests of its own; those meet the same
// faults.
func RunAfter(f func()) Fault { return Fault{After: f} }

// WithoutHeaders serves the request and removes headers, such as ETag and Last-Modified, from the response.
func WithoutHeaders(names ...string) Fault { return Fault{StripHeaders: names} }
