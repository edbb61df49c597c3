package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/storetest"
)

func ifMatch(etag string) *blob.SetMetadataOptions {
	if etag == "" {
		return nil
	}
	return &blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(etag))},
	}}
}

func TestMain(m *testing.M) { blobtest.Main(m) }

func TestConformanceOnTheFakeService(t *testing.T) {
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		service := fake.New()
		return func() checkpointstore.CheckpointStore { return blobtest.NewStore(t, service, nil) }
	})
}

func TestConformanceOnAzurite(t *testing.T) {
	azurite.Shared(t)
	storetest.RunShared(t, func(t testing.TB) func() checkpointstore.CheckpointStore {
		container := azurite.NewContainerName(t)
		return func() checkpointstore.CheckpointStore { return blobtest.NewAzuriteStoreIn(t, container) }
	})
}

// seen keeps the last request of a transport.
type seen struct {
	inner policy.Transporter
	last  *http.Request
}

func (s *seen) Do(req *http.Request) (*http.Response, error) {
	s.last = req
	return s.inner.Do(req)
}

type token struct{}

func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "secret-token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

const (
	signature  = "sv=2021-06-08&sp=rwcl&sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
	accountKey = "c2VjcmV0LWFjY291bnQta2V5"
)

func sharedKey(t testing.TB) *container.SharedKeyCredential {
	key, err := container.NewSharedKeyCredential("account", accountKey)
	require.NoError(t, err)
	return key
}

func TestConstructors(t *testing.T) {
	url := fake.New().URL()
	for name, c := range map[string]struct {
		construct     func(*checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error)
		authorization string // how the header begins
		query         bool   // whether the SAS is in the URL
	}{
		"connection string with a key": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString("DefaultEndpointsProtocol=https;AccountName=account;AccountKey="+accountKey+";EndpointSuffix=core.windows.net", "container", o)
		}, "SharedKey account:", false},
		"connection string with a SAS": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreFromConnectionString("BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature="+signature, "container", o)
		}, "", true},
		"shared key": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(url, sharedKey(t), o)
		}, "SharedKey account:", false},
		"shared key wins over a SAS": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(url+"?"+signature, sharedKey(t), o)
		}, "SharedKey account:", false},
		"token": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url+"/", token{}, o)
		}, "Bearer secret-token", false},
		"token wins over a SAS": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url+"?"+signature, token{}, o)
		}, "Bearer secret-token", false},
		"SAS": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(url+"?"+signature, o)
		}, "", true},
		"anonymous": {func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(url, o)
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &seen{inner: fake.New()}
			store, err := c.construct(&checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}}})
			require.NoError(t, err)
			_, _ = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NotNil(t, transport.last)
			require.Equal(t, blobtest.PrimaryHost, transport.last.URL.Host)
			header := transport.last.Header.Get("Authorization")
			if c.authorization == "" {
				require.Empty(t, header)
			} else {
				require.Equal(t, c.authorization, header[:min(len(header), len(c.authorization))])
			}
			require.Equal(t, c.query, transport.last.URL.Query().Has("sig"))
		})
	}
}

func TestOptionsReachTheRequests(t *testing.T) {
	request := func(t *testing.T, o checkpointstore.BlobCheckpointStoreOptions) *http.Request {
		transport := &seen{inner: fake.New()}
		o.ClientOptions.Transport = transport
		store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), &o)
		require.NoError(t, err)
		_, err = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		return transport.last
	}
	t.Run("APIVersion", func(t *testing.T) {
		const key = "x-ms-version" // as azblob writes it
		header := map[string][]string(request(t, checkpointstore.BlobCheckpointStoreOptions{APIVersion: "2019-07-07"}).Header)
		require.Equal(t, []string{"2019-07-07"}, header[key])
		require.NotContains(t, header, "X-Ms-Version", "one header")
		require.NotEqual(t, []string{"2019-07-07"}, map[string][]string(request(t, checkpointstore.BlobCheckpointStoreOptions{}).Header)[key])
	})
	t.Run("ClientOptions", func(t *testing.T) {
		o := checkpointstore.BlobCheckpointStoreOptions{}
		o.ClientOptions.Telemetry.ApplicationID = "my-app"
		require.Contains(t, request(t, o).Header.Get("User-Agent"), "my-app ")
	})
	t.Run("SecondaryHost", func(t *testing.T) {
		service := fake.New()
		service.ServeSecondary(blobtest.SecondaryHost)
		service.Inject(faults.Busy(0).Once())
		transport := &seen{inner: service}
		o := checkpointstore.BlobCheckpointStoreOptions{SecondaryHost: blobtest.SecondaryHost}
		o.ClientOptions.ClientOptions = azcore.ClientOptions{Transport: transport, Retry: policy.RetryOptions{RetryDelay: time.Millisecond}}
		store, err := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(service.URL(), sharedKey(t), &o)
		require.NoError(t, err)
		service.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(500))
		_, err = store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.NoError(t, err)
		require.Equal(t, blobtest.SecondaryHost, transport.last.URL.Host)
		require.Equal(t, blobtest.SecondaryHost, transport.last.Host, "the header")
	})
	t.Run("the caller's policies are kept, and its slice is not written to", func(t *testing.T) {
		var called atomic.Int32
		mark := policyFunc(func(req *policy.Request) (*http.Response, error) { called.Add(1); return req.Next() })
		policies := make([]policy.Policy, 1, 4)
		policies[0] = mark
		o := checkpointstore.BlobCheckpointStoreOptions{APIVersion: "2019-07-07", SecondaryHost: blobtest.SecondaryHost}
		o.ClientOptions.PerCallPolicies = policies
		o.ClientOptions.PerRetryPolicies = policies
		request(t, o)
		require.Equal(t, int32(2), called.Load())
		require.Nil(t, policies[:2][1])
	})
}

type policyFunc func(*policy.Request) (*http.Response, error)

func (f policyFunc) Do(req *policy.Request) (*http.Response, error) { return f(req) }

func TestRefusedConstruction(t *testing.T) {
	type options = checkpointstore.BlobCheckpointStoreOptions
	handed := func(o options) error {
		_, err := checkpointstore.NewBlobCheckpointStore(fake.New().Client(), &o)
		return err
	}
	url := func(u string) error {
		_, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(u, nil)
		return err
	}
	built := func(o options) error {
		_, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), &o)
		return err
	}
	connection := func(s, container string) error {
		_, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(s, container, nil)
		return err
	}
	version := options{}
	version.ClientOptions.APIVersion = "2019-07-07"
	retry := options{}
	retry.ClientOptions.Retry.MaxRetries = 1
	_, nilClient := checkpointstore.NewBlobCheckpointStore(nil, nil)
	_, nilToken := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(fake.New().URL(), nil, nil)
	_, nilKey := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(fake.New().URL(), nil, nil)
	good := "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=" + accountKey
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"ClientOptions with a handed client":   {handed(retry), "ClientOptions cannot take effect with NewBlobCheckpointStore"},
		"APIVersion with a handed client":      {handed(options{APIVersion: "2019-07-07"}), "APIVersion cannot take effect"},
		"SecondaryHost with a handed client":   {handed(options{SecondaryHost: blobtest.SecondaryHost}), "SecondaryHost cannot take effect"},
		"azcore's APIVersion":                  {built(version), "set APIVersion"},
		"an APIVersion that is a secret":       {built(options{APIVersion: "AccountKey=" + accountKey}), "REDACTED"},
		"a BlobNaming that is a secret":        {built(options{BlobNaming: "AccountKey=" + accountKey}), "REDACTED"},
		"an APIVersion that is no date":        {built(options{APIVersion: "latest"}), "not a date"},
		"a SecondaryHost that is a URL":        {built(options{SecondaryHost: "https://" + blobtest.SecondaryHost}), "not a host name"},
		"a naming that is none":                {built(options{BlobNaming: "UPPER"}), `BlobNaming "UPPER" is not LowerCase, LowerCaseOnly or Verbatim`},
		"a negative MaxConcurrency":            {built(options{MaxConcurrency: -1}), "below 0"},
		"no client":                            {nilClient, "client is nil"},
		"no token credential":                  {nilToken, "credential is nil"},
		"no shared key":                        {nilKey, "credential is nil"},
		"an empty URL":                         {url(""), "does not begin with https://"},
		"a URL without a scheme":               {url("account.blob.core.windows.net/c?" + signature), "does not begin with https://"},
		"a URL without a container":            {url("https://account.blob.core.windows.net/?" + signature), "no container"},
		"a URL that cannot be parsed":          {url("https://account.blob.core.windows.net:x/c?" + signature), "cannot be parsed"},
		"a URL with a control character":       {url("https://account.blob.core.windows.net/c?" + signature + "\n"), "cannot be parsed"},
		"an empty connection string":           {connection("", "container"), "connection string"},
		"a connection string cut off":          {connection(good[:len(good)-30]+";AccountKey", "container"), "connection string"},
		"a connection string, bad key":         {connection(good+"!", "container"), "base64"},
		"a connection string, bad endpoint":    {connection("BlobEndpoint=https://a b:x/;SharedAccessSignature="+signature, "container"), "cannot be parsed"},
		"a connection string without a key":    {connection("AccountName=account", "container"), "AccountKey or SharedAccessSignature"},
		"an empty container name":              {connection(good, ""), "container name"},
		"a container name with capitals":       {connection(good, "Container"), "container name"},
		"a container name with a slash":        {connection(good, "a/b"), "container name"},
		"a container name with double hyphens": {connection(good, "a--b"), "container name"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, c.err, checkpointstore.ErrInvalidArgument)
			require.ErrorContains(t, c.err, c.says)
			requireNoSecret(t, c.err)
		})
	}
}

func TestEnsureContainerAllowsNoAnonymousAccess(t *testing.T) {
	service := fake.New()
	service.DeleteContainer()
	transport := &seen{inner: service}
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), &checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport}}})
	require.NoError(t, err)
	require.NoError(t, store.EnsureContainer(context.Background(), nil))
	require.Equal(t, http.MethodPut, transport.last.Method)
	for name := range transport.last.Header {
		require.NotEqual(t, "x-ms-blob-public-access", strings.ToLower(name))
	}
}

// TestConnectionsFollowTheRequestsInFlight: a round of updates, or of claims, dials once for each of them, and the next
// rounds not at all. MaxConcurrency, which is for claims, changes nothing for updates. Close closes the connections.
//
// The connections are pipes and the time is that of a bubble: net/http closes a connection after its response if a busy
// machine lets 50 ms pass until the goroutine that wrote the request goes on.
func TestConnectionsFollowTheRequestsInFlight(t *testing.T) {
	const partitions, rounds = 128, 4
	update := func(store *checkpointstore.BlobCheckpointStore, n int) error {
		errs := make([]error, partitions)
		var wg sync.WaitGroup
		for i := range partitions {
			wg.Go(func() {
				errs[i] = store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, fmt.Sprint(i), int64(n)), nil)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	claim := func(store *checkpointstore.BlobCheckpointStore, n int) error {
		_, err := store.ClaimOwnership(context.Background(), blobtest.Claims(fmt.Sprint(n), "a", checkpointstore.DefaultMaxConcurrency), nil)
		return err
	}
	for name, c := range map[string]struct {
		atOnce, maxConcurrency int
		round                  func(*checkpointstore.BlobCheckpointStore, int) error
	}{
		"updates": {partitions, 1, update},
		"claims":  {checkpointstore.DefaultMaxConcurrency, 0, claim},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fake.New()
				service.SetRecording(false)
				var round atomic.Pointer[barrier]
				var opened atomic.Int32
				closed := make(chan struct{}, 2*c.atOnce)
				listener := make(pipes)
				server := &http.Server{
					Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						round.Load().wait()
						service.ServeHTTP(w, req)
					}),
					ConnState: func(_ net.Conn, state http.ConnState) {
						switch state {
						case http.StateNew:
							opened.Add(1)
						case http.StateClosed:
							closed <- struct{}{}
						}
					},
				}
				var serving sync.WaitGroup
				serving.Go(func() { _ = server.Serve(listener) })
				defer serving.Wait()
				defer server.Close()
				store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential("http://account.example/c", &checkpointstore.BlobCheckpointStoreOptions{MaxConcurrency: c.maxConcurrency})
				require.NoError(t, err)
				store.DialWith(listener.dial)
				defer store.Close()
				for n := range rounds {
					round.Store(newBarrier(c.atOnce))
					require.NoError(t, c.round(store, n))
					require.EqualValues(t, c.atOnce, opened.Load(), "after round %d", n)
				}
				require.Empty(t, closed)
				require.NoError(t, store.Close())
				for range c.atOnce {
					<-closed
				}
				require.NoError(t, store.Close(), "twice")
				round.Store(newBarrier(1))
				_, err = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
				require.NoError(t, err, "the store stays usable")
			})
		})
	}
}

// pipes is a listener whose connections are in memory.
type pipes chan net.Conn

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p pipes) Accept() (net.Conn, error) {
	conn, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// barrier lets n requests through when all of them are there.
type barrier struct {
	mu   sync.Mutex
	left int
	open chan struct{}
}

func newBarrier(n int) *barrier { return &barrier{left: n, open: make(chan struct{})} }

func (b *barrier) wait() {
	b.mu.Lock()
	if b.left--; b.left == 0 {
		close(b.open)
	}
	b.mu.Unlock()
	<-b.open
}
