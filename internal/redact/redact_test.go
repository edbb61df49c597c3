package redact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
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

// A long text is cut, and what the cut leaves of a secret does not show. Filler
// without a space, as in minified JSON, leaves no place for a clean cut.
func TestLongTexts(t *testing.T) {
	const bound = 64 << 10
	known, err := url.Parse("https://a.example/c?sig=known%2Fsecret%2Bword%3D&sig=leaked+word+of+mine%3D")
	require.NoError(t, err)
	for _, filler := range []string{"a page ", "nospacesatall"} {
		for secret, parts := range map[string][]string{
			"known/secret+word=":                                                    {"/secret+"},
			"leaked word of mine=":                                                  {"leaked w"},
			"known%2Fsecret%2Bword%3D":                                              {"%2Fsecret%2B"},
			"Bearer abcdefghijklmnopqrstuvwxyz":                                     {"abcdefgh"},
			"AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0":                                   {"c2VjcmV0"},
			"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJub3QtcmVhbCJ9.c2lnbmF0dXJlLW5vdA":      {"eyJzdWIi", "c2lnbmF0"},
			`{"client_secret":"Zt8Q~kX93hfJ2mQpLw.7Vb_ySgT40RcN1dEuA","other":"x"}`: {"Zt8Q~kX9"},
		} {
			for at := bound - 65; at <= bound; at += 5 {
				text := strings.Repeat(filler, bound/len(filler)+1)[:at] + "&" + secret + strings.Repeat(" and more", 100)
				got := redact.InURL(known).Text(text)
				require.LessOrEqual(t, len(got), bound+len("REDACTED…")*1000, "%q at %d", secret, at)
				for _, part := range parts {
					require.NotContains(t, strings.ReplaceAll(got, filler, ""), part, "%q at %d, in %q", secret, at, filler)
				}
			}
		}
	}
	short := strings.Repeat("x ", bound/2)
	require.Equal(t, short, redact.Secrets(nil).Text(short), "no longer than the bound")
}

// counted is a body that counts what is read of it.
type counted struct{ read int }

func (c *counted) Read(p []byte) (int, error) {
	const size = 30 << 20
	n := min(len(p), size-c.read)
	if n == 0 {
		return 0, io.EOF
	}
	copy(p[:n], strings.Repeat("<a href='https://proxy.example/?key=abcdefgh'>sig token </a>\n", n/60+1))
	c.read += n
	return n, nil
}

func (c *counted) Close() error { return nil }

// Of a refusal, only so much is read as is looked at; of what was asked for, all.
func TestLongRefusals(t *testing.T) {
	for status, most := range map[int]int{200: 30 << 20, 302: 128 << 10, 403: 128 << 10, 503: 128 << 10} {
		body := &counted{}
		guarded := redact.Transport{Transporter: transport(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, Request: req}, nil
		})}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example/c", nil)
		require.NoError(t, err)
		resp, err := guarded.Do(req)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.LessOrEqual(t, int(n), most)
		require.LessOrEqual(t, body.read, most)
		require.Equal(t, status == 200, n == 30<<20)
	}

	// Of a client that the store did not build, the body has been read.
	answer := &azcore.ResponseError{StatusCode: 403, RawResponse: &http.Response{
		StatusCode: 403, Body: io.NopCloser(strings.NewReader(strings.Repeat("<a href='https://proxy.example/?key=abcdefgh'>sig token </a>\n", 1<<16))),
	}}
	err := redact.Secrets(nil).Error(fmt.Errorf("list: %w", answer))
	require.LessOrEqual(t, len(err.Error()), 128<<10)
	var clean *azcore.ResponseError
	require.ErrorAs(t, err, &clean)
	require.LessOrEqual(t, len(clean.Error()), 128<<10)
	got, err := io.ReadAll(clean.RawResponse.Body)
	require.NoError(t, err)
	require.LessOrEqual(t, len(got), 128<<10)
}

// refusing is a credential that fails.
type refusing struct{ err error }

func (r refusing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, r.err
}

// The types of azidentity's errors are what callers tell them by, so they are
// reachable, with the answer, and without what was sent.
func TestCredentialErrors(t *testing.T) {
	const secret = "Zt8Q~kX93hfJ2mQpLw"
	answered := func(body string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://login.example/t/token?client_secret="+secret, strings.NewReader("client_secret="+secret))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Basic "+secret)
		return &http.Response{StatusCode: 401, Status: "401", Header: http.Header{}, Request: req, Body: io.NopCloser(strings.NewReader(body))}
	}
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"an answer":                      {&azidentity.AuthenticationFailedError{RawResponse: answered(`{"error":"invalid_client"}`)}, "invalid_client"},
		"an answer that tells a secret":  {&azidentity.AuthenticationFailedError{RawResponse: answered(`{"error":"invalid_client","client_secret":"` + secret + `"}`)}, "invalid_client"},
		"an answer that tells of a link": {&azidentity.AuthenticationFailedError{RawResponse: answered(`{"error":"invalid_client","error_uri":"https://login.example/error?code=7"}`)}, "invalid_client"},
		"wrapped":                        {fmt.Errorf("mine, client_secret=%s: %w", secret, &azidentity.AuthenticationFailedError{RawResponse: answered(`{}`)}), "mine, client_secret=REDACTED"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := redact.Credential{TokenCredential: refusing{c.err}}.GetToken(t.Context(), policy.TokenRequestOptions{})
			var marked *redact.CredentialError
			require.ErrorAs(t, err, &marked)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), secret)
			var failed *azidentity.AuthenticationFailedError
			require.ErrorAs(t, err, &failed)
			require.NotContains(t, failed.Error(), secret)
			require.Equal(t, 401, failed.RawResponse.StatusCode)
			require.Nil(t, failed.RawResponse.Request.Body)
			require.Empty(t, failed.RawResponse.Request.URL.RawQuery)
			require.Empty(t, failed.RawResponse.Request.Header)
			body, err := io.ReadAll(failed.RawResponse.Body)
			require.NoError(t, err)
			require.NotContains(t, string(body), secret)
		})
	}

	required := &azidentity.AuthenticationRequiredError{TokenRequestOptions: policy.TokenRequestOptions{Scopes: []string{"s"}}}
	err := redact.Secrets(nil).Error(fmt.Errorf("client_secret=%s: %w", secret, required))
	var got *azidentity.AuthenticationRequiredError
	require.ErrorAs(t, err, &got)
	require.Equal(t, []string{"s"}, got.TokenRequestOptions.Scopes)
}

// A text that azidentity was given to say may hold a secret: the type is reachable
// all the same.
func TestCredentialErrorsThatTellASecret(t *testing.T) {
	const secret = "Zt8Q~kX93hfJ2mQpLw"
	for what, answer := range map[string]*http.Response{"no answer": nil, "an answer": {StatusCode: 401, Body: http.NoBody}} {
		chain, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{
			refusing{azidentity.NewCredentialUnavailableError("vault: client_secret=" + secret)},
			refusing{&azidentity.AuthenticationFailedError{RawResponse: answer}},
		}, nil)
		require.NoError(t, err)
		_, err = redact.Credential{TokenCredential: chain}.GetToken(t.Context(), policy.TokenRequestOptions{})
		require.ErrorContains(t, err, "vault: client_secret=REDACTED", what)
		var failed *azidentity.AuthenticationFailedError
		require.ErrorAs(t, err, &failed, what)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", failed, *failed, *failed), secret, what)
		require.Equal(t, answer == nil, failed.RawResponse == nil, what)
	}
}
