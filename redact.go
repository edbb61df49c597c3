package checkpointstore

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// No error and no log line holds a credential.

// redact takes the query out of a transport's error: net/http puts the full URL
// into it, and a SAS is in there.
func redact(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		if text := err.Error(); secret.MatchString(text) {
			return &redacted{text: scrub(text), err: err}
		}
		return err
	}
	clean := *u
	if parsed, perr := url.Parse(u.URL); perr == nil {
		parsed.RawQuery, parsed.User = "", nil
		clean.URL = parsed.String()
	} else {
		clean.URL = "(unreadable URL)"
	}
	clean.Err = redact(u.Err)
	return &clean
}

// redacted is an error with a secret in its text, told without it.
type redacted struct {
	text string
	err  error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }

// secret finds the signature of a SAS, an account key and a token.
var secret = regexp.MustCompile(`(?i)(\bsig=|AccountKey=|SharedAccessSignature=|\bBearer |SharedKey )[^&;\s"'<>]+`)

func scrub(text string) string { return secret.ReplaceAllString(text, "${1}REDACTED") }

// describe is an error's text in one line of bounded length, without secrets.
func describe(err error) string {
	const most = 600
	err = redact(err)
	var u *url.Error
	text := err.Error()
	if errors.As(err, &u) {
		text = "no answer: " + u.Err.Error() // the blob is named already
	}
	text = scrub(oneLine(text))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
