package securitytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// The secrets of these tests. They have characters that a URL and JSON escape.
const (
	secretSignature = "c2lnbmF0dXJlPy8rPj4+Lz8/c2lnbmF0dXJlIW5vdCFyZWFsISE="
	secretKey       = "a2V5Pz8/Lz4+Pi9rZXkha2V5IW5vdCFyZWFsIWF0IWFsbCEhISE="
	secretToken     = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub3QtcmVhbCJ9.dG9rZW4tc2lnbmF0dXJlLW5vdC1yZWFs"
	secretOfClient  = "Zt8Q~kX93hfJ2mQpLw.7Vb_ySgT40RcN1dEuA"
)

func TestSecretsCanBeFound(t *testing.T) {
	for _, secret := range []string{secretSignature, secretKey, secretToken, secretOfClient} {
		require.NotEmpty(t, partsOf(secret), secret)
	}
}

var secretSAS = "sv=2021-06-08&sr=c&sp=rwcl&se=2030-01-01T00%3A00%3A00Z&sig=" + url.QueryEscape(secretSignature)

// An opening makes a store of an endpoint ("http://host:port") in one of the
// ways that there are.
type opening struct {
	secret string
	handed bool // the client is the caller's, and what azcore logs
	open   func(endpoint string, options *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error)
}

func openings(t *testing.T) map[string]opening {
	type options = checkpointstore.BlobCheckpointStoreOptions
	type store = *checkpointstore.BlobCheckpointStore
	key, err := container.NewSharedKeyCredential("account", secretKey)
	require.NoError(t, err)
	handed := func(o *options, newClient func(*container.ClientOptions) (*container.Client, error)) (store, error) {
		clientOptions := o.ClientOptions
		client, err := newClient(&clientOptions)
		if err != nil {
			return nil, err
		}
		o.ClientOptions = container.ClientOptions{}
		return checkpointstore.NewBlobCheckpointStore(client, o)
	}
	return map[string]opening{
		"SAS": {secretSignature, false, func(endpoint string, o *options) (store, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(endpoint+"/c?"+secretSAS, o)
		}},
		"connection string with a SAS": {secretSignature, false, func(endpoint string, o *options) (store, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString("BlobEndpoint="+endpoint+";SharedAccessSignature="+secretSAS, "container", o)
		}},
		"client with a SAS": {secretSignature, true, func(endpoint string, o *options) (store, error) {
			return handed(o, func(o *container.ClientOptions) (*container.Client, error) {
				return container.NewClientWithNoCredential(endpoint+"/c?"+secretSAS, o)
			})
		}},
		"shared key": {secretKey, false, func(endpoint string, o *options) (store, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(endpoint+"/c", key, o)
		}},
		"connection string with a key": {secretKey, false, func(endpoint string, o *options) (store, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString("AccountName=account;AccountKey="+secretKey+";BlobEndpoint="+endpoint, "container", o)
		}},
		"client with a shared key": {secretKey, true, func(endpoint string, o *options) (store, error) {
			return handed(o, func(o *container.ClientOptions) (*container.Client, error) {
				return container.NewClientWithSharedKeyCredential(endpoint+"/c", key, o)
			})
		}},
		"token": {secretToken, false, func(endpoint string, o *options) (store, error) {
			o.ClientOptions.InsecureAllowCredentialWithHTTP = true
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(endpoint+"/c", tokenOf(secretToken), o)
		}},
		"token and a SAS that is not used": {secretSignature, false, func(endpoint string, o *options) (store, error) {
			o.ClientOptions.InsecureAllowCredentialWithHTTP = true
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(endpoint+"/c?"+secretSAS, tokenOf(secretToken), o)
		}},
	}
}

type tokenOf string

func (t tokenOf) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// A failure is a transport that fails, and says all that it knows.
type failure func(*http.Request) (*http.Response, error)

// echo is all that a request says, as a service or a proxy may repeat it.
func echo(req *http.Request) string {
	return fmt.Sprintf("%s %s with Authorization %q and %q, decoded %q", req.Method, req.URL, req.Header.Get("Authorization"), req.URL.RawQuery, req.URL.Query())
}

// answers are refusals that repeat the request: every status as Azure puts it,
// and one in the ways of others.
func answers() map[string]failure {
	all := make(map[string]failure)
	for _, status := range []int{400, 401, 403, 404, 409, 412, 500, 503} {
		all[fmt.Sprint(status)] = func(req *http.Request) (*http.Response, error) {
			detail := "The MAC signature found in the HTTP request '" + mac(req) + "' is not the same as any computed signature. Server used following string to sign: '" +
				req.Method + "\n\n\nx-ms-version:2021-12-02\n/account/c\nsig:" + req.URL.Query().Get("sig") + "'."
			return answerTo(req, status, "AuthenticationFailed", "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>"+detail+"</AuthenticationErrorDetail></Error>"), nil
		}
	}
	all["403 JSON"] = func(req *http.Request) (*http.Response, error) {
		code, err := json.Marshal("Bad\n" + echo(req))
		return answerTo(req, 403, "", `{"error":{"code":`+string(code)+`}}`), err
	}
	all["403 HTML"] = func(req *http.Request) (*http.Response, error) {
		return answerTo(req, 403, "", "<html>\n<a href=\""+strings.ReplaceAll(req.URL.String(), "&", "&amp;")+"\">\n"+echo(req)+"</html>"), nil
	}
	all["403, told in the code"] = func(req *http.Request) (*http.Response, error) {
		return answerTo(req, 403, echo(req), ""), nil
	}
	return all
}

// answerTo is an answer whose headers repeat the request.
func answerTo(req *http.Request, status int, code, body string) *http.Response {
	resp := httptest.NewRecorder()
	resp.Header().Set("X-Echo", echo(req))
	resp.Header().Set("Location", req.URL.String())
	if code != "" {
		resp.Header().Set("x-ms-error-code", code)
	}
	resp.WriteHeader(status)
	_, _ = resp.WriteString(body)
	answer := resp.Result()
	answer.Request = req
	return answer
}

// mac is the signature of a request, or its token.
func mac(req *http.Request) string {
	authorization := req.Header.Get("Authorization")
	return authorization[strings.LastIndexAny(authorization, ": ")+1:]
}

// noAnswers are errors of a transport.
func noAnswers() map[string]failure {
	fail := func(err func(*http.Request) error) failure {
		return func(req *http.Request) (*http.Response, error) { return nil, err(req) }
	}
	asNetHTTP := func(req *http.Request, err error) error {
		return &url.Error{Op: req.Method, URL: req.URL.String(), Err: err}
	}
	return map[string]failure{
		"reset": fail(func(req *http.Request) error { return asNetHTTP(req, errors.New("connection reset")) }),
		"unreadable URL": fail(func(req *http.Request) error {
			return &url.Error{Op: "Put", URL: "://%" + req.URL.String(), Err: errors.New("reset")}
		}),
		"proxy": fail(func(req *http.Request) error { return fmt.Errorf("the proxy says no: %s", echo(req)) }),
		"wrapped": fail(func(req *http.Request) error {
			return fmt.Errorf("mine: %w", asNetHTTP(req, fmt.Errorf("theirs: %w", errors.New(echo(req)))))
		}),
		"not told, but wrapped": fail(func(req *http.Request) error { return quiet{asNetHTTP(req, errors.New(echo(req)))} }),
		"several": fail(func(req *http.Request) error {
			return errors.Join(errors.New("one"), asNetHTTP(req, errors.New("two")), errors.New(echo(req)))
		}),
		"DNS": fail(func(req *http.Request) error {
			return asNetHTTP(req, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}})
		}),
		"redirect that cannot be read": fail(func(req *http.Request) error {
			return asNetHTTP(req, fmt.Errorf("failed to parse Location header %q: invalid", req.URL))
		}),
		"hung": func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, asNetHTTP(req, fmt.Errorf("%w while waiting for %s", req.Context().Err(), echo(req)))
		},
		"body cut off": func(req *http.Request) (*http.Response, error) {
			body := &broken{fmt.Errorf("unexpected EOF after %s", echo(req))}
			return &http.Response{StatusCode: 500, Header: http.Header{}, Body: body, Request: req}, nil
		},
	}
}

// broken is a body that ends in an error.
type broken struct{ err error }

func (b *broken) Read([]byte) (int, error) { return 0, b.err }
func (b *broken) Close() error             { return nil }

// everyCall makes every call that sends something, and hands its error on.
func everyCall(ctx context.Context, store *checkpointstore.BlobCheckpointStore, got func(call string, err error)) {
	got("EnsureContainer", store.EnsureContainer(ctx, nil))
	_, err := store.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, "$Default", nil)
	got("ListOwnership", err)
	_, err = store.ClaimOwnership(ctx, []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", "0", nil), blobtest.Claim(blobtest.Group, "a", "1", blobtest.ETag("0x1"))}, nil)
	got("ClaimOwnership", err)
	_, err = store.GetOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	got("GetOwnership", err)
	got("UpdateCheckpoint", store.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 1), nil))
	got("UpdateCheckpoint, rewind", store.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 1), &checkpointstore.UpdateCheckpointOptions{Rewind: true}))
	_, err = store.ListCheckpoints(ctx, blobtest.Namespace, blobtest.Hub, "$Default", nil)
	got("ListCheckpoints", err)
	_, err = store.GetCheckpoint(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	got("GetCheckpoint", err)
}

// run makes every call against a transport, nil for the store's own, and keeps
// what comes out.
func (o opening) run(t *testing.T, ctx context.Context, endpoint string, transport policy.Transporter, timeout time.Duration) (all *sink, errs []error) {
	t.Helper()
	all = &sink{}
	if !o.handed {
		all.listen(t)
		var end func(error)
		ctx, end = runtime.StartSpan(ctx, "test", all.tracer(), nil)
		defer end(nil)
	}
	store, err := o.open(endpoint, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{
			Transport: transport,
			Retry:     policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Microsecond, MaxRetryDelay: time.Microsecond},
			Logging:   policy.LogOptions{IncludeBody: true},
		}},
		Timeout: timeout,
		Logger:  all.logger(),
	})
	require.NoError(t, err)
	all.value("the store", store)
	everyCall(ctx, store, func(call string, err error) {
		if err != nil {
			errs = append(errs, err)
			require.NotContains(t, err.Error(), "\n", "%s: one line", call)
			all.error(err)
		}
	})
	return all, errs
}

// timeoutFor is short for what never answers.
func timeoutFor(name string) time.Duration {
	if name == "hung" {
		return 10 * time.Millisecond
	}
	return time.Minute
}

// TestNoSecretComesOut drives every call into every failure with every
// credential. Of a client that the caller built, azcore's own log and spans are
// left out: it writes the errors of the transport and the bodies of answers there.
func TestNoSecretComesOut(t *testing.T) {
	for how, o := range openings(t) {
		for _, failures := range []map[string]failure{answers(), noAnswers()} {
			for name, fails := range failures {
				t.Run(how+"/"+name, func(t *testing.T) {
					all, errs := o.run(t, context.Background(), "http://account.invalid", faults.TransportFunc(fails), timeoutFor(name))
					require.GreaterOrEqual(t, len(errs), 4, "the failure shows")
					require.Empty(t, all.leaks(o.secret, secretSignature, secretKey, secretToken))
				})
			}
		}
	}
}

// TestAzcoreLogsWhatAClientHandedInIsTold is why SECURITY.md warns of it: there,
// nothing of the store's stands between the transport and azcore's retries.
func TestAzcoreLogsWhatAClientHandedInIsTold(t *testing.T) {
	o := openings(t)["client with a SAS"]
	o.handed = false // listen
	all, _ := o.run(t, context.Background(), "http://account.invalid", faults.TransportFunc(noAnswers()["reset"]), timeoutFor("reset"))
	leaks := all.leaks(secretSignature)
	require.NotEmpty(t, leaks, "azcore has mended it: tell so in SECURITY.md")
	for _, leak := range leaks {
		require.Equal(t, "azcore's log, Retry", leak.where)
	}
}
