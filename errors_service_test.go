package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// requireNoSecret checks a whole tree of errors, and that it is told in one line.
func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		for _, secret := range []string{"c2VjcmV0", "secret-token", "sig="} {
			require.NotContains(t, err.Error(), secret, "%T", err)
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	require.NotContains(t, err.Error(), "\n", "one line")
}

func TestCausesStayReachable(t *testing.T) {
	service := fake.New()
	service.Inject(faults.Forbidden())
	store := blobtest.NewStore(t, service, nil)
	_, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	var answer *azcore.ResponseError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, 403, answer.StatusCode)
	var e *checkpointstore.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "ListCheckpoints", e.Op)
	require.Equal(t, blobtest.CheckpointPrefix, e.BlobName)
}

func TestTextsOfErrors(t *testing.T) {
	one := &checkpointstore.Error{Op: "X", PartitionID: "0", BlobName: "b", Kind: checkpointstore.ErrNotFound, Detail: "d"}
	cause := &checkpointstore.Error{Op: "X", Err: errors.New("two\nlines")}
	many := make([]*checkpointstore.Error, 20)
	for i := range many {
		many[i] = &checkpointstore.Error{Op: "X", PartitionID: fmt.Sprint(i), Detail: "d"}
	}
	for want, err := range map[string]error{
		`checkpointstore: X: partition "0": blob "b": not found: d`:                one,
		`checkpointstore: X: two lines`:                                            cause,
		`checkpointstore: X: not found`:                                            &checkpointstore.Error{Op: "X", Kind: checkpointstore.ErrNotFound},
		`checkpointstore: X: unknown failure`:                                      &checkpointstore.Error{Op: "X"},
		`checkpointstore: no partition failed`:                                     &checkpointstore.PartitionErrors{},
		`checkpointstore: X: partition "0": d`:                                     &checkpointstore.PartitionErrors{Errors: many[:1]},
		`checkpointstore: X: partition "0": d (2 more failed: partition "1", "2")`: &checkpointstore.PartitionErrors{Errors: many[:3]},
		`checkpointstore: X: partition "` + strings.Repeat("a", 64) + `…": d`:      &checkpointstore.Error{Op: "X", PartitionID: strings.Repeat("a", 1000), Detail: "d"},
	} {
		require.Equal(t, want, err.Error())
	}
	require.Contains(t, (&checkpointstore.PartitionErrors{Errors: many}).Error(), `"16", …)`)
}

// Credentials that fail.

// entra is Microsoft Entra ID, which refuses a client secret.
func entra() faults.TransportFunc {
	return func(req *http.Request) (*http.Response, error) {
		status, body := 200, `{"token_endpoint":"https://login.microsoftonline.com/t/oauth2/v2.0/token","authorization_endpoint":"https://login.microsoftonline.com/t/oauth2/v2.0/authorize","issuer":"https://login.microsoftonline.com/t/v2.0"}`
		if !strings.Contains(req.URL.Path, "openid-configuration") {
			status = 401
			body = `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215],"timestamp":"2026-01-01 00:00:00Z","trace_id":"a1","error_uri":"https://login.microsoftonline.com/error?code=7000215"}`
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func secretCredential(t *testing.T, transport policy.Transporter) *azidentity.ClientSecretCredential {
	o := &azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: transport}, DisableInstanceDiscovery: true}
	credential, err := azidentity.NewClientSecretCredential("t", "11111111-1111-1111-1111-111111111111", accountKey, o)
	require.NoError(t, err)
	return credential
}

// chain are the credentials of a chain in which none has a token.
func chain(t *testing.T) azcore.TokenCredential {
	credential, err := azidentity.NewChainedTokenCredential([]azcore.TokenCredential{
		blobtest.FailingCredential{Err: azidentity.NewCredentialUnavailableError("EnvironmentCredential: missing environment variable AZURE_TENANT_ID")},
		blobtest.FailingCredential{Err: azidentity.NewCredentialUnavailableError("WorkloadIdentityCredential: no client ID specified. Check pod configuration or set ClientID in the options")},
		blobtest.FailingCredential{Err: azidentity.NewCredentialUnavailableError("ManagedIdentityCredential: " + strings.Repeat("IMDS does not answer. ", 40))},
		blobtest.FailingCredential{Err: azidentity.NewCredentialUnavailableError("AzureCLICredential: Azure CLI not found on path")},
		secretCredential(t, entra()),
	}, nil)
	require.NoError(t, err)
	return credential
}

func TestACredentialThatFails(t *testing.T) {
	failedType := func(err error) bool { return errors.As(err, new(*azidentity.AuthenticationFailedError)) }
	requiredType := func(err error) bool { return errors.As(err, new(*azidentity.AuthenticationRequiredError)) }
	urlType := func(err error) bool { return errors.As(err, new(*url.Error)) }
	responseType := func(err error) bool { return errors.As(err, new(*azcore.ResponseError)) }
	_, refused := http.Get("http://127.0.0.1:1/metadata/identity/oauth2/token?resource=x&client_secret=" + accountKey)
	for name, c := range map[string]struct {
		credential azcore.TokenCredential
		is         func(error) bool // what is reachable
		says       []string
		not        []string
	}{
		"a wrong client secret": {secretCredential(t, entra()), failedType, []string{
			"ClientSecretCredential authentication failed.",
			"POST https://login.microsoftonline.com/t/oauth2/v2.0/token", "RESPONSE 401",
			"error_description: AADSTS7000215: Invalid client secret provided.",
			"To troubleshoot, visit https://aka.ms/azsdk/go/identity/troubleshoot#client-secret",
		}, []string{"----", "trace_id", "error_codes"}},
		"a chain": {chain(t), failedType, []string{
			"failed to acquire a token. Attempted credentials: EnvironmentCredential: missing environment variable AZURE_TENANT_ID; WorkloadIdentityCredential: no client ID specified.",
			"AzureCLICredential: Azure CLI not found on path; ClientSecretCredential authentication failed.", "AADSTS7000215", "troubleshoot#client-secret",
		}, []string{"----"}},
		"a user who has to sign in": {blobtest.FailingCredential{Err: &azidentity.AuthenticationRequiredError{TokenRequestOptions: policy.TokenRequestOptions{Scopes: []string{"s"}}}}, requiredType, nil, nil},
		"an endpoint that is down":  {blobtest.FailingCredential{Err: refused}, urlType, []string{"connection refused", "127.0.0.1:1/metadata"}, []string{"no answer"}},
		"an answer of its own": {blobtest.FailingCredential{Err: fmt.Errorf("mine: %w", &azcore.ResponseError{StatusCode: 404, ErrorCode: "BlobNotFound"})}, responseType,
			[]string{"mine:", "BlobNotFound"}, []string{"not found:"}},
		"a text without an end": {blobtest.FailingCredential{Err: errors.New("the first line\n" + strings.Repeat("more of it\n", 5000) + "the last line")}, func(err error) bool { return true },
			[]string{"the first line; more of it;", "the last line"}, nil},
	} {
		for how, build := range builds(t) {
			t.Run(name+"/"+how, func(t *testing.T) {
				service := fake.New()
				store := build(service, c.credential, blobtest.QuickRetries(), 0)
				for call, do := range blobtest.Calls() {
					err := do(context.Background(), store)
					require.ErrorIs(t, err, checkpointstore.ErrCredential, call)
					require.NotErrorIs(t, err, checkpointstore.ErrNotAuthorized, call)
					require.NotErrorIs(t, err, checkpointstore.ErrNotFound, call)
					require.True(t, c.is(err), "%s: the cause is reachable", call)
					for _, says := range c.says {
						require.ErrorContains(t, err, says, call)
					}
					for _, not := range c.not {
						require.NotContains(t, err.Error(), not, call)
					}
					requireNoSecret(t, err)
					require.Less(t, len(err.Error()), 5000)
				}
				require.Zero(t, service.Requests())
			})
		}
	}
}

// TestACredentialOfAClientThatWasHandedIn is known by its error's type, and by
// azcore's mark that a retry is of no use.
func TestACredentialOfAClientThatWasHandedIn(t *testing.T) {
	service := fake.New()
	store := builds(t)["handed in"](service, blobtest.FailingCredential{Err: errors.New("the vault is sealed")}, blobtest.QuickRetries(), 0)
	_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorIs(t, err, checkpointstore.ErrCredential)
	require.ErrorContains(t, err, "the vault is sealed")
	require.Zero(t, service.Requests())
}

// once is a credential that has one token, which expires at once.
type once struct {
	calls *int
	then  error
}

func (o once) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if *o.calls++; *o.calls > 1 {
		return azcore.AccessToken{}, o.then
	}
	return azcore.AccessToken{Token: "secret-token", ExpiresOn: time.Now()}, nil
}

// TestACredentialThatFailsInTheSecondTry is told from a service that failed in
// the first.
func TestACredentialThatFailsInTheSecondTry(t *testing.T) {
	for how, then := range map[string]error{"built": errors.New("the vault is sealed"), "handed in": &azidentity.AuthenticationFailedError{}} {
		service, calls := fake.New(), 0
		service.Inject(faults.Busy(0))
		_, err := builds(t)[how](service, once{&calls, then}, blobtest.QuickRetries(), 0).ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.ErrorIs(t, err, checkpointstore.ErrCredential, how)
		require.Equal(t, 1, service.Requests(), how)
	}
}

// final is an error that azcore does not retry.
type final struct{}

func (final) Error() string { return "the transport is closed" }
func (final) NonRetriable() {}

// TestATransportThatFailsIsNoCredential, whatever azcore makes of its error.
func TestATransportThatFailsIsNoCredential(t *testing.T) {
	closed := faults.TransportFunc(func(*http.Request) (*http.Response, error) { return nil, final{} })
	for how, build := range builds(t) {
		store := build(closed, token{}, blobtest.QuickRetries(), 0)
		for call, do := range blobtest.Calls() {
			err := do(context.Background(), store)
			require.NotErrorIs(t, err, checkpointstore.ErrCredential, how, call)
			require.ErrorContains(t, err, "the transport is closed", how, call)
		}
	}
}

// TestACredentialIsAskedOnce for a claim: nothing was sent that is to be decided.
func TestACredentialIsAskedOnce(t *testing.T) {
	for how, build := range builds(t) {
		calls := 1
		_, err := build(fake.New(), flaky{&calls}, blobtest.QuickRetries(), 0).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
		require.ErrorIs(t, err, checkpointstore.ErrCredential, how)
		require.Equal(t, 2, calls, how)
	}
}

// slow is a credential that takes its time.
type slow struct{}

func (slow) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	<-ctx.Done()
	return azcore.AccessToken{}, fmt.Errorf("asking the vault: %w", ctx.Err())
}

func TestACredentialThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := blobtest.QuickRetries()
		retry.TryTimeout = 10 * time.Millisecond
		store := builds(t)["built"](fake.New(), slow{}, retry, time.Minute)
		_, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.ErrorIs(t, err, checkpointstore.ErrCredential)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "within ClientOptions.Retry.TryTimeout (10ms)")
		require.ErrorContains(t, err, "asking the vault")
	})
}
