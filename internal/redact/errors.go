package redact

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// Error returns an error without secrets in its text and in the texts of all errors
// that it wraps. An error without secrets is returned unchanged.
func (r Secrets) Error(err error) error {
	clean, _ := r.clean(err)
	return clean
}

// clean is Error, and reports whether it had to replace the error.
func (r Secrets) clean(err error) (error, bool) {
	switch e := err.(type) {
	case nil:
		return nil, false
	case *url.Error:
		return r.urlError(e)
	case *azcore.ResponseError:
		if e.RawResponse != nil {
			return r.responseError(e), true
		}
	}
	causes, replaced := r.causes(err)
	text := err.Error()
	told := r.Text(text)
	if !replaced {
		if clean, ok := r.withoutResponse(err); ok {
			return clean, true
		}
		if told == text {
			return err, false
		}
	}
	return &redacted{
		text:   told,
		causes: causes,
		is:     func(target error) bool { return errors.Is(err, target) },
		as: func(target any) bool {
			if told == text {
				return itself(err, target)
			}
			clean, ok := r.shell(err)
			return ok && itself(clean, target)
		},
	}, true
}

// azidentity is where the types are declared whose text is written for those who
// operate a credential, and which callers tell apart.
const azidentity = "github.com/Azure/azure-sdk-for-go/sdk/azidentity"

// responseField is the field of an error in which it holds an answer, with the
// request, as the errors of azidentity do.
const responseField = "RawResponse"

// withoutResponse is a copy of an error of azidentity's, which has an answer that
// holds on to the request and its body, with a copy of the answer. There is none
// if the error's own text holds a secret.
func (r Secrets) withoutResponse(err error) (error, bool) {
	v, ok := structOf(err)
	if !ok || v.Type().PkgPath() != azidentity {
		return nil, false
	}
	answer := answerOf(v)
	if answer == nil {
		return nil, false
	}
	clean := reflect.New(v.Type())
	clean.Elem().Set(v)
	clean.Elem().FieldByName(responseField).Set(reflect.ValueOf(r.response(answer)))
	e := clean.Interface().(error)
	text := e.Error()
	return e, r.Text(text) == text
}

// shell is an error of azidentity's with the type and the answer of another, whose
// text holds a secret, and without that text.
func (r Secrets) shell(err error) (error, bool) {
	v, ok := structOf(err)
	if !ok || v.Type().PkgPath() != azidentity {
		return nil, false
	}
	clean := reflect.New(v.Type())
	if answer := answerOf(v); answer != nil {
		clean.Elem().FieldByName(responseField).Set(reflect.ValueOf(r.response(answer)))
	}
	return clean.Interface().(error), true
}

// structOf is the struct that an error points to.
func structOf(err error) (reflect.Value, bool) {
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	return v.Elem(), true
}

// answerOf is the answer that an error holds, nil if there is none.
func answerOf(v reflect.Value) *http.Response {
	field, found := v.Type().FieldByName(responseField)
	if !found || len(field.Index) > 1 {
		return nil
	}
	answer, _ := v.FieldByIndex(field.Index).Interface().(*http.Response)
	return answer
}

// causes are the errors that one wraps, without secrets.
func (r Secrets) causes(err error) (causes []error, replaced bool) {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			causes = []error{cause}
		}
	case interface{ Unwrap() []error }:
		causes = append(causes, e.Unwrap()...)
	}
	for i, cause := range causes {
		clean, changed := r.clean(cause)
		causes[i], replaced = clean, replaced || changed
	}
	return causes, replaced
}

// urlError removes the query from the URL: net/http includes it in its errors, and
// it may contain a SAS.
func (r Secrets) urlError(e *url.Error) (error, bool) {
	clean := *e
	u, err := url.Parse(e.URL)
	if err == nil {
		r = append(r[:len(r):len(r)], InURL(u)...)
		u.RawQuery, u.ForceQuery, u.User, u.Fragment, u.RawFragment = "", false, nil, "", ""
		clean.URL = r.Text(u.String())
	} else {
		clean.URL = "(unreadable URL)"
	}
	var replaced bool
	clean.Err, replaced = r.clean(e.Err)
	if clean.URL == e.URL && !replaced {
		return e, false
	}
	return &clean, true
}

// responseError is a copy of a service's answer without secrets: its body may
// repeat what was sent, and it holds on to the request.
func (r Secrets) responseError(e *azcore.ResponseError) *azcore.ResponseError {
	r = append(r[:len(r):len(r)], Of(e.RawResponse.Request)...)
	clean := &azcore.ResponseError{ErrorCode: r.Text(e.ErrorCode), StatusCode: e.StatusCode, RawResponse: r.response(e.RawResponse)}
	_ = clean.Error() // makes the text, which is not safe for concurrent use the first time
	return clean
}

// response is a copy of an answer without secrets.
func (r Secrets) response(answer *http.Response) *http.Response {
	r = append(r[:len(r):len(r)], Of(answer.Request)...)
	clean := *answer
	clean.Header = r.header(answer.Header)
	clean.Request = r.request(answer.Request)
	if answer.Body != nil {
		body, _ := runtime.Payload(answer) // it has been read
		clean.Body = io.NopCloser(strings.NewReader(r.Text(string(body))))
	}
	return &clean
}

// request is what was asked for, without what authenticated it.
func (r Secrets) request(req *http.Request) *http.Request {
	if req == nil {
		return nil
	}
	clean := &http.Request{Method: req.Method, Host: req.Host, Proto: req.Proto, ProtoMajor: req.ProtoMajor, ProtoMinor: req.ProtoMinor, Header: r.header(req.Header)}
	if req.URL != nil {
		clean.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path, RawPath: req.URL.RawPath}
	}
	return clean
}

func (r Secrets) header(header http.Header) http.Header {
	clean := make(http.Header, len(header))
	for name, values := range header {
		if strings.EqualFold(name, "Authorization") {
			continue
		}
		for _, value := range values {
			clean[name] = append(clean[name], r.Text(value))
		}
	}
	return clean
}

// redacted stands for an error with a secret in its text or in that of a cause. It
// holds the original in functions, which print as addresses.
type redacted struct {
	text   string
	causes []error
	is     func(target error) bool
	as     func(target any) bool
}

func (e *redacted) Error() string        { return e.text }
func (e *redacted) Unwrap() []error      { return e.causes }
func (e *redacted) Is(target error) bool { return e.is(target) }
func (e *redacted) As(target any) bool   { return e.as(target) }

// itself assigns an error to target as [errors.As] does, without looking at what it
// wraps.
func itself(err error, target any) bool {
	to := reflect.ValueOf(target).Elem()
	if !reflect.TypeOf(err).AssignableTo(to.Type()) {
		return false
	}
	to.Set(reflect.ValueOf(err))
	return true
}
