package redact_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/redact"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"nothing of the kind":           "nothing of the kind",
		"design=1 assign=2 signal: 3":   "design=1 assign=2 signal: 3",
		"sv=1&sig=c2VjcmV0%3D&se=2":     "sv=1&sig=REDACTED&se=2",
		`\u0026sig=c2VjcmV0`:            `\u0026sig=REDACTED`,
		"AccountName=a;AccountKey=k==;": "AccountName=a;AccountKey=REDACTED;",
		"Get https://a.example/c?sig=c2VjcmV0: EOF":          "Get https://a.example/c EOF",
		"https://user:password@proxy.example:80/":            "https://REDACTED@proxy.example:80/",
		"Authorization: Bearer abcdefghijklmnop":             "Authorization: Bearer REDACTED",
		"Bearer authorization_uri=https://login.example/t":   "Bearer authorization_uri=https://login.example/t",
		"SharedKey account:c2VjcmV0c2VjcmV0c2VjcmV0c2Vjcg==": "SharedKey REDACTED",
		"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln":          "REDACTED",
		`{"client_secret": "c2VjcmV0", "x": 1}`:              `{"client_secret": "REDACTED", "x": 1}`,
	} {
		require.Equal(t, want, redact.Secrets(nil).Text(text))
	}
}

// A secret that is known is found in any text, in the forms that a URL has.
func TestKnownSecrets(t *testing.T) {
	u, err := url.Parse("https://a.example/c/b?sv=1&sig=a%2Fsecret%2Bword%3D")
	require.NoError(t, err)
	secrets := redact.InURL(u)
	require.Equal(t, "x REDACTED y REDACTED z", secrets.Text("x a/secret+word= y a%2Fsecret%2Bword%3D z"))
	require.Empty(t, redact.InURL(nil))
	require.Empty(t, redact.InURL(&url.URL{RawQuery: "sig=short"}), "too short to be told from other text")

	req := &http.Request{URL: u, Header: http.Header{"Authorization": {"SharedKey account:signature-of-it="}}}
	require.Equal(t, "REDACTED and REDACTED", redact.Of(req).Text("signature-of-it= and a/secret+word="))
	require.Empty(t, redact.Of(nil))
}

// What holds no secret stays the error that it was.
func TestErrorsWithoutSecrets(t *testing.T) {
	for _, err := range []error{
		nil, io.EOF, errors.Join(io.EOF, http.ErrServerClosed), fmt.Errorf("reading: %w", io.EOF),
		&url.Error{Op: "Get", URL: "https://a.example/c", Err: io.EOF},
	} {
		require.Equal(t, err, redact.Secrets(nil).Error(err))
	}
}

// A chain is told without its secrets, level by level, and stays a chain.
func TestErrorsWithSecrets(t *testing.T) {
	inner := &url.Error{Op: "Get", URL: "https://a.example/c?sig=c2VjcmV0", Err: io.ErrUnexpectedEOF}
	err := redact.Secrets(nil).Error(fmt.Errorf("list: %w", inner))
	var walk func(error)
	walk = func(err error) {
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "c2VjcmV0")
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, cause := range e.Unwrap() {
				walk(cause)
			}
		}
	}
	walk(err)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	var u *url.Error
	require.ErrorAs(t, err, &u)
	require.Equal(t, "https://a.example/c", u.URL)
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) Do(req *http.Request) (*http.Response, error) { return f(req) }

var _ policy.Transporter = redact.Transport{}

// A refusal's body reaches the caller without what the request was signed with;
// what was asked for comes through as it is.
func TestTransport(t *testing.T) {
	const body = "string to sign: a/secret+word="
	for status, want := range map[int]string{200: body, 206: body, 302: "string to sign: REDACTED", 403: "string to sign: REDACTED"} {
		guarded := redact.Transport{Transporter: transport(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
		})}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example/c?sig=a%2Fsecret%2Bword%3D", nil)
		require.NoError(t, err)
		resp, err := guarded.Do(req)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

// A copy of an answer has its status and code, and not its request's query.
func TestResponseError(t *testing.T) {
	u, err := url.Parse("https://a.example/c?sig=a%2Fsecret%2Bword%3D")
	require.NoError(t, err)
	answer := &azcore.ResponseError{StatusCode: 403, ErrorCode: "AuthenticationFailed", RawResponse: &http.Response{
		StatusCode: 403, Status: "403 Forbidden", Header: http.Header{"X-Echo": {"a/secret+word="}},
		Body:    io.NopCloser(strings.NewReader("<Error>a/secret+word=</Error>")),
		Request: &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"Authorization": {"Bearer another-secret"}}},
	}}
	err = redact.Secrets(nil).Error(fmt.Errorf("list: %w", answer))
	var got *azcore.ResponseError
	require.ErrorAs(t, err, &got)
	require.Equal(t, 403, got.StatusCode)
	require.Equal(t, "AuthenticationFailed", got.ErrorCode)
	require.Contains(t, got.Error(), "<Error>REDACTED</Error>")
	require.Empty(t, got.RawResponse.Request.URL.RawQuery)
	require.Empty(t, got.RawResponse.Request.Header)
	require.Equal(t, "REDACTED", got.RawResponse.Header.Get("X-Echo"))
}
