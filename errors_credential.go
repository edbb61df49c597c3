package checkpointstore

import (
	"errors"
	"reflect"
	"regexp"
	"strings"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// The failures of a token credential: how the store recognizes them, and how their
// text becomes one line.

// credentialError is the failure of a token credential.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return e.err.Error() }

func (e *credentialError) Unwrap() error { return e.err }

// isCredential reports whether an error is that of the token credential.
func isCredential(err error) bool {
	var credential *credentialError
	return errors.As(err, &credential)
}

// isCredentialFailure reports whether a request failed because of the token
// credential. A client that the store built marks such errors. With other clients,
// errors of azidentity are recognized by their types, and errors of other
// credentials by azcore's mark that they must not be retried, if nothing was sent.
func isCredentialFailure(err error, tries int) bool {
	const azidentity = "github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	var marked *redact.CredentialError
	var notRetriable interface {
		error
		NonRetriable()
	}
	return errors.As(err, &marked) ||
		wraps(err, func(err error) bool {
			t := reflect.TypeOf(err)
			return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == azidentity
		}) ||
		tries == 0 && errors.As(err, &notRetriable)
}

// wraps reports whether an error, or one that it wraps, satisfies is.
func wraps(err error, is func(error) bool) bool {
	if err == nil {
		return false
	}
	if is(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return wraps(e.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			if wraps(cause, is) {
				return true
			}
		}
	}
	return false
}

// credentialText is a credential's error text in one line. The text has several: which
// credentials were tried, the response of Microsoft Entra ID, and links for
// troubleshooting. Of a JSON response, it keeps the description.
func credentialText(err error) string {
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
