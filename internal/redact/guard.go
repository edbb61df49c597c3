package redact

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// Transport is a transport that tells no secrets to the policies above it, which
// write errors and the bodies of refusals to azcore's log and into spans.
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
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, secrets.Error(err)
		}
		resp.Body = io.NopCloser(strings.NewReader(secrets.Text(string(body))))
	}
	return resp, nil
}

// Credential is a credential that tells no secrets in its errors.
type Credential struct{ azcore.TokenCredential }

func (c Credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, options)
	return token, Secrets(nil).Error(err)
}
