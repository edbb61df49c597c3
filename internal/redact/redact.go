// Package redact removes credentials from texts and errors, including the errors
// that an error wraps.
package redact

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Secrets are known secrets, in the forms in which a text may repeat them. Nil
// Secrets still remove what looks like a secret.
type Secrets []string

// Of returns what authenticates a request, in the forms in which a text may repeat
// it.
func Of(req *http.Request) Secrets {
	if req == nil {
		return nil
	}
	r := InURL(req.URL)
	for name, values := range req.Header {
		if !strings.EqualFold(name, "Authorization") {
			continue
		}
		for _, value := range values {
			if i := strings.LastIndexAny(value, " :"); i >= 0 {
				value = value[i+1:] // "Bearer <token>", "SharedKey <account>:<signature>"
			}
			r = r.with(value)
		}
	}
	return r
}

// InURL returns the signatures of the shared access signatures in a URL.
func InURL(u *url.URL) Secrets {
	var r Secrets
	if u == nil || u.RawQuery == "" {
		return r
	}
	for name, values := range u.Query() {
		if !strings.EqualFold(name, "sig") {
			continue
		}
		for _, value := range values {
			r = r.with(value).with(url.QueryEscape(value)).with(url.PathEscape(value))
		}
	}
	return r
}

// with adds a secret, unless it is so short that it would match other text.
func (r Secrets) with(secret string) Secrets {
	if len(secret) < 8 {
		return r
	}
	return append(r, secret)
}

// secretForms find secrets by how they look: the query and the user of a URL,
// the signature of a SAS, keys, passwords and tokens. A text that holds none of
// the words, in lower case, has no secret of the form.
var secretForms = [...]struct {
	words   []string
	find    *regexp.Regexp
	replace string
}{
	{[]string{"://"}, regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://[^\s"'<>?]*)\?[^\s"'<>]*`), "$1"},
	{[]string{"://"}, regexp.MustCompile(`(://)[^\s/"'<>@]+@`), "${1}REDACTED@"},
	{
		[]string{"sig", "key", "secret", "assertion", "token", "password"},
		regexp.MustCompile(`(?i)((?:^|[^a-z])(?:sig|account_?key|shared_?access_?(?:key|signature)|client_?(?:secret|assertion)|(?:access|refresh)_?token|password)` +
			`\\?["']?\s*(?:[=:]|%3D)\s*\\?["']?)[^&;,\s"'<>}]+`),
		"${1}REDACTED",
	},
	{[]string{"bearer", "basic"}, regexp.MustCompile(`(?i)\b(Bearer|Basic)\s+[\w.~+/-]{16,}=*([^\w.~+/=-]|$)`), "$1 REDACTED$2"}, // not a challenge, "Bearer name=value"
	{[]string{"sharedkey"}, regexp.MustCompile(`(?i)\b(SharedKey(?:Lite)?)\s+[^\s:]+:[\w+/]{16,}=*`), "$1 REDACTED"},
	{[]string{"eyj"}, regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*`), "REDACTED"},
}

// maxText bounds what is looked at of a text. A refusal of the service has a few
// hundred bytes; a page of a proxy may have any number, of which the expressions
// would take some milliseconds for each 100 KB.
const maxText = 64 << 10

// Text returns a text without secrets. It cuts texts longer than 64 KiB.
func (r Secrets) Text(s string) string {
	s, cut := r.cut(s)
	for _, secret := range r {
		s = strings.ReplaceAll(s, secret, "REDACTED")
	}
	lower := strings.ToLower(s)
	for _, form := range secretForms {
		if slices.ContainsFunc(form.words, func(word string) bool { return strings.Contains(lower, word) }) {
			s = form.find.ReplaceAllString(s, form.replace)
		}
	}
	if cut {
		s += "…"
	}
	return s
}

// cut limits the length of a text, and reports whether it had to. The remaining
// text may end with the beginning of a secret, which nothing would recognize. So
// cut also removes everything after the last character that no secret contains, and
// the beginning of a known secret.
func (r Secrets) cut(s string) (string, bool) {
	if len(s) <= maxText {
		return s, false
	}
	s = s[:maxText]
	s = s[:1+strings.LastIndexAny(s, " \t\r\n<>")]
	for _, secret := range r {
		for n := min(len(secret)-1, len(s)); n > 0; n-- {
			if strings.HasSuffix(s, secret[:n]) {
				s = s[:len(s)-n]
				break
			}
		}
	}
	return s, true
}
