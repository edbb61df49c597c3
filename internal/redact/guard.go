package redact

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Transport hides secrets from the policies above it, which write errors and the
// bodies of refusals to azcore's log and into spans.
type Transport struct{ policy.Transporter }

func (t Transport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.Transporter.Do(req)
	if err != nil {
		return resp, Of(req).Error(err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	secrets := Of(req)
	const code = "X-Ms-Error-Code"
	if told := resp.Header.Get(code); told != "" {
		resp.Header.Set(code, secrets.Text(told))
	}
	if resp.Body != nil && resp.Body != http.NoBody {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxText+1)) // one more, so that Text sees that it was cut
		_ = resp.Body.Close()
		if err != nil {
			return nil, secrets.Error(err)
		}
		resp.Body = io.NopCloser(strings.NewReader(secrets.Text(string(body))))
	}
	return resp, nil
}

// Credential removes secrets from a credential's errors, all of which become a
// [*CredentialError].
type Credential struct{ azcore.TokenCredential }

func (c Credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, options)
	if err != nil {
		return token, &CredentialError{Secrets(nil).Error(err)}
	}
	return token, nil
}

// CredentialError is the failure of a [Credential], without secrets. azcore does
// not retry it, because credentials retry by themselves.
type CredentialError struct{ err error }

func (e *CredentialError) Error() string { return e.err.Error() }
func (e *CredentialError) Unwrap() error { return e.err }
func (e *CredentialError) NonRetriable() {}
