package securitytest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// TestNoSecretComesOutOfTheNetwork drives the store's own transport into the
// failures that net/http makes itself.
func TestNoSecretComesOutOfTheNetwork(t *testing.T) {
	serve := func(answer http.HandlerFunc) string {
		server := httptest.NewServer(answer)
		t.Cleanup(server.Close)
		return server.URL
	}
	handshake := httptest.NewUnstartedServer(http.NotFoundHandler())
	handshake.Config.ErrorLog = nil
	handshake.StartTLS()
	t.Cleanup(handshake.Close)
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("ended"))
	hanging := serve(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	for name, c := range map[string]struct {
		ctx       context.Context
		endpoint  string
		transport policy.Transporter // nil is the store's own
		says      string
	}{
		"refused":        {context.Background(), "http://127.0.0.1:1", nil, "connection refused"},
		"DNS":            {context.Background(), "http://account.invalid", dialing(lookupFails), "no such host"},
		"TLS":            {context.Background(), handshake.URL, nil, "certificate"},
		"TLS to plain":   {context.Background(), strings.Replace(hanging, "http:", "https:", 1), nil, "HTTP response to HTTPS client"},
		"hung":           {context.Background(), hanging, nil, "deadline"},
		"cancelled":      {ended, hanging, nil, "canceled"},
		"bad proxy":      {context.Background(), "http://account.invalid", proxied("http://user:" + secretOfClient + "@bad host"), "proxy"},
		"refusing proxy": {context.Background(), "http://account.invalid", proxied("http://user:" + secretOfClient + "@127.0.0.1:1"), "proxyconnect"},
		"aborted": {context.Background(), serve(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}), nil, "EOF"},
		"redirect in a circle": {context.Background(), serve(func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, req.URL.String(), http.StatusTemporaryRedirect)
		}), nil, "307"},
		"redirect to nowhere": {context.Background(), serve(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Location", "://"+req.URL.String())
			w.WriteHeader(http.StatusFound)
		}), nil, "Location"},
		"answer that is no HTTP": {context.Background(), serve(func(w http.ResponseWriter, req *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "%s says %s\r\n\r\n", req.RequestURI, req.Header.Get("Authorization"))
				_ = conn.Close()
			}
		}), nil, "malformed"},
	} {
		for _, how := range []string{"SAS", "shared key", "token"} {
			o := openings(t)[how]
			t.Run(name+"/"+how, func(t *testing.T) {
				all, errs := o.run(t, c.ctx, c.endpoint, c.transport, timeoutFor(name))
				require.GreaterOrEqual(t, len(errs), 8, "every call")
				for _, err := range errs[1:] { // the first may have met a token that is refused over plain HTTP
					require.ErrorContains(t, err, c.says)
				}
				require.Empty(t, all.leaks(o.secret, secretSignature, secretKey, secretToken, secretOfClient))
			})
		}
	}
}

func dialing(dial func(ctx context.Context, network, address string) (net.Conn, error)) policy.Transporter {
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}

func lookupFails(_ context.Context, _, address string) (net.Conn, error) {
	return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
}

// proxied fails as http.ProxyFromEnvironment does if it cannot read the proxy's
// address, and dials it otherwise.
func proxied(address string) policy.Transporter {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		Proxy: func(*http.Request) (*url.URL, error) {
			u, err := url.Parse(address)
			if err != nil {
				return nil, fmt.Errorf("invalid proxy address %q: %v", address, err)
			}
			return u, nil
		},
	}}
}

// proxiedURL has, in a process that [TestTheEnvironmentsProxyIsUsed] starts, the
// URL of the container to ask for.
const proxiedURL = "CHECKPOINTSTORE_TEST_PROXIED_URL"

// TestTheEnvironmentsProxyIsUsed: net/http reads the environment once in a
// process, so each case takes a process of its own, which asks for a host that
// only the proxy can know.
func TestTheEnvironmentsProxyIsUsed(t *testing.T) {
	if u := os.Getenv(proxiedURL); u != "" {
		o := &checkpointstore.BlobCheckpointStoreOptions{}
		o.ClientOptions.Retry.MaxRetries = -1
		store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(u, o)
		require.NoError(t, err)
		_, err = store.GetOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.Error(t, err, "the proxy refuses")
		return
	}
	for scheme, want := range map[string]string{
		"http":  "HEAD account.invalid",
		"https": "CONNECT account.invalid:443",
	} {
		t.Run(scheme, func(t *testing.T) {
			asked := make(chan string, 1)
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked <- req.Method + " " + req.Host
				w.WriteHeader(http.StatusForbidden)
			}))
			defer proxy.Close()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheEnvironmentsProxyIsUsed$", "-test.short")
			child.Env = append(os.Environ(), proxiedURL+"="+scheme+"://account.invalid/c", "NO_PROXY=", "no_proxy=",
				"HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL)
			output, err := child.CombinedOutput()
			require.NoError(t, err, "%s", output)
			select {
			case request := <-asked:
				require.Equal(t, want, request)
			default:
				t.Fatal("the proxy was not asked")
			}
		})
	}
}

// TestOldTLSIsRefused: a service that knows nothing newer than TLS 1.1 is refused
// before its certificate is looked at.
func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.Retry.MaxRetries = -1
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(server.URL+"/c", o)
	require.NoError(t, err)
	_, err = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
	require.ErrorContains(t, err, "protocol version")
}

// TestARedirectIsNotFollowed: its target would be told the SAS, in the Referer
// header.
func TestARedirectIsNotFollowed(t *testing.T) {
	var followed atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer target.Close()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, target.URL+"/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer origin.Close()
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(origin.URL+"/c?"+secretSAS, nil)
	require.NoError(t, err)
	everyCall(context.Background(), store, func(call string, err error) {
		require.ErrorContains(t, err, "the service answered 307", call)
	})
	require.Zero(t, followed.Load())
}

// TestNoSecretComesOutOfACredential: its errors are told, but for what looks like
// a secret in them.
func TestNoSecretComesOutOfACredential(t *testing.T) {
	endpoint := "https://login.example/tenant/token?client_secret=" + url.QueryEscape(secretOfClient)
	for name, told := range map[string]error{
		"form":    errors.New("POST body client_id=1&client_secret=" + url.QueryEscape(secretOfClient) + "&scope=x"),
		"JSON":    fmt.Errorf("answer %q", `{"access_token":"`+secretToken+`","refresh_token": "`+secretOfClient+`"}`),
		"header":  errors.New("sent Authorization: Bearer " + secretToken),
		"basic":   errors.New("sent Authorization: Basic " + secretKey),
		"bare":    errors.New("the token " + secretToken + " has expired"),
		"URL":     &url.Error{Op: "Post", URL: endpoint, Err: errors.New("reset")},
		"wrapped": fmt.Errorf("DefaultAzureCredential: %w", errors.Join(errors.New("one"), fmt.Errorf("client_secret: %s", secretOfClient))),
		"string":  errors.New("Endpoint=sb://ns.example/;SharedAccessKeyName=root;SharedAccessKey=" + secretKey),
	} {
		t.Run(name, func(t *testing.T) {
			o := opening{open: func(endpoint string, options *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
				return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(endpoint+"/c", blobtest.FailingCredential{Err: told}, options)
			}}
			all, errs := o.run(t, context.Background(), "https://account.invalid", nil, timeoutFor(name))
			require.GreaterOrEqual(t, len(errs), 8)
			require.Empty(t, all.leaks(secretOfClient, secretToken, secretKey))
		})
	}
}

// TestNoSecretComesOutOfAConstructor gives each of them a secret in the wrong
// place. What is taken all the same, fails at the first call.
func TestNoSecretComesOutOfAConstructor(t *testing.T) {
	const account = "https://account.invalid"
	good := "AccountName=account;AccountKey=" + secretKey
	urls := []string{
		account + "/c&" + secretSAS, account + "/c%3F" + secretSAS, account + "/c#" + secretSAS, account + "/c;" + secretSAS, account + "/c?" + secretSAS + "\n",
		account + ":x/c?" + secretSAS, account + "?" + secretSAS, account + "/?" + secretSAS, account + "&" + secretSAS, account + "&" + secretSAS + "/c",
		account + "&sig=" + secretSignature[:12] + "/c", account + "&sig=" + secretSignature[:12], "account.invalid/c?" + secretSAS, "ftp://account.invalid/c?" + secretSAS,
		"https:///c?" + secretSAS, "https://account:" + secretKey + "@account.invalid/c", "https://account:" + secretKey[:12] + "@account.invalid/c", account + "/%zz?" + secretSAS,
		good, "BlobEndpoint=" + account + ";SharedAccessSignature=" + secretSAS, secretSAS, "?" + secretSAS, secretKey,
	}
	connections := [][2]string{
		{good + "!", "container"}, {good, good}, {"container", good}, {good, "AccountKey=" + secretKey}, {good, secretKey}, {good, account + "/c?" + secretSAS}, {good, secretSAS},
		{good, "sig=" + secretSignature}, {"AccountKey=" + secretKey, "container"}, {"AccountName;AccountKey=" + secretKey, "container"}, {secretKey, "container"},
		{account + "/c?" + secretSAS, "container"}, {"BlobEndpoint=https://a b:x/;SharedAccessSignature=" + secretSAS, "container"},
		{"BlobEndpoint=" + account + "?" + secretSAS + ";SharedAccessSignature=" + secretSAS, "container"}, {"BlobEndpoint=" + account + "/c&" + secretSAS + ";" + good, "container"},
		{"UseDevelopmentStorage=true;AccountKey=" + secretKey, "container"},
	}
	key := openings(t)["shared key"]
	all := &sink{}
	all.listen(t)
	options := func() *checkpointstore.BlobCheckpointStoreOptions {
		o := &checkpointstore.BlobCheckpointStoreOptions{Logger: all.logger()}
		o.ClientOptions.Retry.MaxRetries = -1
		o.ClientOptions.Transport = dialing(lookupFails)
		return o
	}
	refused := 0
	try := func(store *checkpointstore.BlobCheckpointStore, err error) {
		if err != nil {
			refused++
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
			all.error(err)
			return
		}
		everyCall(context.Background(), store, func(_ string, err error) { all.error(err) })
	}
	for _, u := range urls {
		try(checkpointstore.NewBlobCheckpointStoreWithNoCredential(u, options()))
		try(checkpointstore.NewBlobCheckpointStoreWithTokenCredential(u, tokenOf(secretToken), options()))
		try(key.open(strings.TrimSuffix(u, "/c"), options()))
	}
	for _, c := range connections {
		try(checkpointstore.NewBlobCheckpointStoreFromConnectionString(c[0], c[1], options()))
	}
	wrong := options()
	wrong.SecondaryHost = account + "?" + secretSAS
	try(checkpointstore.NewBlobCheckpointStoreWithNoCredential(account+"/c?"+secretSAS, wrong))
	require.Greater(t, refused, 50)
	require.Empty(t, all.leaks(secretSignature, secretKey, secretToken))
}

// TestNoSecretComesOutOfAClientSecret: azidentity tells what the login service answered, and that may repeat the form
// that it was sent.
func TestNoSecretComesOutOfAClientSecret(t *testing.T) {
	login := faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		const at = `"https://login.microsoftonline.com/t/`
		status, body := 200, `{"token_endpoint":`+at+`oauth2/v2.0/token","authorization_endpoint":`+at+`oauth2/v2.0/authorize","issuer":`+at+`v2.0"}`
		if !strings.Contains(req.URL.Path, "openid-configuration") {
			form, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			status, body = 401, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Sent: `+string(form)+`"}`
		}
		return &http.Response{StatusCode: status, Request: req, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
	credential, err := azidentity.NewClientSecretCredential("t", "11111111-1111-1111-1111-111111111111", secretOfClient,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: login}, DisableInstanceDiscovery: true})
	require.NoError(t, err)
	o := opening{open: func(endpoint string, options *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(endpoint+"/c", credential, options)
	}}
	all, errs := o.run(t, context.Background(), "https://account.invalid", nil, timeoutFor(""))
	require.GreaterOrEqual(t, len(errs), 8)
	for _, err := range errs {
		require.ErrorContains(t, err, "AADSTS7000215")
		require.ErrorContains(t, err, "client_secret=REDACTED")
	}
	require.Empty(t, all.leaks(secretOfClient))
}
