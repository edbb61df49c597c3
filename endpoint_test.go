package checkpointstore_test

import (
	"context"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// storesOfURL makes a store of a container's URL in every way that takes one.
func storesOfURL(t *testing.T) map[string]func(string) error {
	insecure := &checkpointstore.BlobCheckpointStoreOptions{}
	insecure.ClientOptions.InsecureAllowCredentialWithHTTP = true
	return map[string]func(string) error{
		"no credential": func(u string) error {
			_, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(u, nil)
			return err
		},
		"token": func(u string) error {
			_, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(u, token{}, insecure)
			return err
		},
		"shared key": func(u string) error {
			_, err := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(u, sharedKey(t), nil)
			return err
		},
		"client handed in": func(u string) error {
			client, err := container.NewClientWithNoCredential(u, nil)
			require.NoError(t, err)
			_, err = checkpointstore.NewBlobCheckpointStore(client, nil)
			return err
		},
	}
}

func TestURLsOfContainers(t *testing.T) {
	for how, construct := range storesOfURL(t) {
		t.Run(how, func(t *testing.T) {
			for _, u := range []string{
				"https://account.blob.core.windows.net/container",
				"https://account.blob.core.windows.net/container/",
				"HTTPS://ACCOUNT.blob.core.windows.net:443/container",
				"https://account.blob.core.windows.net/$web",
				"https://account.blob.core.chinacloudapi.cn/container",
				"https://account.blob.core.usgovcloudapi.net/container",
				"https://account.privatelink.blob.core.windows.net/container",
				"https://account.z01.blob.storage.azure.net/container",
				"https://account.blob.local.azurestack.external/container",
				"https://account-secondary.blob.core.windows.net/container",
				"http://127.0.0.1:10000/devstoreaccount1/container",
				"http://127.0.0.1:10000/container",
				"http://[::1]:10000/devstoreaccount1/container",
				"https://[2001:db8::1]/container",
				"http://localhost:10000/devstoreaccount1/container",
				"http://azurite:10000/devstoreaccount1/container",
				"http://devstoreaccount1.blob.localhost:10000/container",
				"https://checkpoints.example.com/container",
				"https://files.web.example.com/container",
				"https://blob.storage.example.com/container",
				"https://servicebus.example.com/container",
			} {
				require.NoError(t, construct(u), u)
			}
		})
	}
}

func TestURLsThatAreNotOfAContainer(t *testing.T) {
	const account = "https://account.blob.core.windows.net/"
	for u, says := range map[string]string{
		account + "container/folder":                           "give https://account.blob.core.windows.net/<container>",
		account + "a/b/c":                                      "give https://account.blob.core.windows.net/<container>",
		account + "c/folder/":                                  "has a path below the container",
		account + "/container":                                 "two slashes",
		"https://checkpoints.example.com/c/folder":             "has a path below the container",
		"http://127.0.0.1:10000/devstoreaccount1/c/folder":     "has a path below the container",
		account + "Checkpoints":                                `"Checkpoints": it takes 3 to 63 lower-case letters`,
		account + "my_checkpoints":                             "lower-case letters",
		account + "c ":                                         "has a space in it",
		account + "c?" + signature + " ":                       "has a space in it",
		account + "%24root":                                    "give a container of your own",
		account + "$root":                                      "slashes",
		account + "$logs":                                      "only the service writes to it",
		account + "$blobchangefeed":                            "only the service writes to it",
		"https://account.dfs.core.windows.net/c":               "give its blob endpoint, account.blob.core.windows.net",
		"https://account.DFS.core.chinacloudapi.cn/c":          "account.blob.core.chinacloudapi.cn",
		"https://account.privatelink.dfs.core.windows.net/c":   "account.privatelink.blob.core.windows.net",
		"https://account.queue.core.windows.net/c":             "account.blob.core.windows.net",
		"https://account.table.core.usgovcloudapi.net/c":       "account.blob.core.usgovcloudapi.net",
		"https://account.file.core.windows.net/c":              "account.blob.core.windows.net",
		"https://account.z6.web.core.windows.net/c":            "endpoint, account.blob.core.windows.net",
		"https://account.z01.dfs.storage.azure.net/c":          "account.z01.blob.storage.azure.net",
		"https://mynamespace.servicebus.windows.net/hub":       "names an Event Hubs namespace; give the blob endpoint",
		"https://mynamespace.servicebus.chinacloudapi.cn/hub":  "names an Event Hubs namespace",
		"https://blob.core.windows.net/c":                      "names no account",
		"https://.blob.core.windows.net/c":                     "names no account",
		"https://.blob.local.azurestack.external/c":            "names no account",
		"https://account..blob.local.azurestack.external/c":    "names no account",
		"https://account.blob.core.windows.net":                "has no container",
		"https://account.blob.core.windows.net//?" + signature: "has no container",
	} {
		for how, construct := range storesOfURL(t) {
			t.Run(how+"/"+u, func(t *testing.T) {
				err := construct(u)
				require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
				require.ErrorContains(t, err, says)
				requireNoSecret(t, err)
			})
		}
	}
}

// TestATokenNeedsTLS: azcore would refuse the first request.
func TestATokenNeedsTLS(t *testing.T) {
	const u = "http://127.0.0.1:10000/devstoreaccount1/container"
	_, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(u, token{}, nil)
	require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
	require.ErrorContains(t, err, "give an https:// URL, or set ClientOptions.InsecureAllowCredentialWithHTTP")
	_, err = checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(u, sharedKey(t), nil)
	require.NoError(t, err, "which is not sent itself")
}

func TestConnectionStrings(t *testing.T) {
	const good = "DefaultEndpointsProtocol=https;AccountName=account;AccountKey=" + accountKey + ";EndpointSuffix=core.windows.net"
	const host, path = blobtest.PrimaryHost, "/container"
	for name, c := range map[string]struct{ connection, host, path string }{
		"as it is":                {good, host, path},
		"with a line end":         {good + "\n", host, path},
		"with a DOS line end":     {good + ";\r\n", host, path},
		"with spaces around":      {" \t" + good + " ; ", host, path},
		"in China":                {strings.Replace(good, "windows.net", "chinacloudapi.cn", 1), "account.blob.core.chinacloudapi.cn", path},
		"with an endpoint":        {good + ";BlobEndpoint=https://checkpoints.example.com/", "checkpoints.example.com", path},
		"of an emulator":          {"AccountName=devstoreaccount1;AccountKey=" + accountKey + ";BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;", "127.0.0.1:10000", "/devstoreaccount1/container"},
		"short for Azurite":       {"UseDevelopmentStorage=true", "127.0.0.1:10000", "/devstoreaccount1/container"},
		"short, with a line end":  {"UseDevelopmentStorage=true;\n", "127.0.0.1:10000", "/devstoreaccount1/container"},
		"with a SAS and line end": {"BlobEndpoint=https://account.blob.core.windows.net;SharedAccessSignature=" + signature + "\n", host, path},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &seen{inner: fake.New()}
			o := &checkpointstore.BlobCheckpointStoreOptions{}
			o.ClientOptions.Transport = transport
			o.ClientOptions.Retry.MaxRetries = -1
			store, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(c.connection, "container", o)
			require.NoError(t, err)
			_, _ = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NotNil(t, transport.last)
			require.Equal(t, c.host, transport.last.URL.Host)
			require.Equal(t, c.path, transport.last.URL.Path)
			if sas := transport.last.URL.Query(); sas.Has("sig") {
				require.Equal(t, "c2VjcmV0LXNpZ25hdHVyZQ==", sas.Get("sig"))
			}
		})
	}
}

func TestRefusedConnectionStrings(t *testing.T) {
	const eventHubs = "Endpoint=sb://mynamespace.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=" + accountKey
	const blobs = "https://account.blob.core.windows.net"
	for connection, says := range map[string]string{
		eventHubs:                     "this is an Event Hubs connection string; give that of the storage account",
		eventHubs + ";EntityPath=hub": "this is an Event Hubs connection string",
		"Endpoint=sb://localhost;SharedAccessKeyName=root;SharedAccessKey=" + accountKey + ";UseDevelopmentEmulator=true;": "this is an Event Hubs connection string",
		"Endpoint=sb://mynamespace.servicebus.windows.net/;SharedAccessSignature=SharedAccessSignature sr=x&" + signature:  "this is an Event Hubs connection string",
		"SharedAccessKey=" + accountKey:         "this is an Event Hubs connection string",
		blobs + "/container?" + signature:       "this is a URL",
		blobs:                                   "this is a URL",
		"?" + signature:                         "this is a shared access signature",
		signature + "\n":                        "this is a shared access signature",
		"":                                      "the connection string is empty",
		" ;\n":                                  "the connection string is empty",
		"AccountName=;AccountKey=" + accountKey: "empty AccountName",
		"AccountName=account;AccountKey=":       "empty AccountKey",
		"AccountName=account;AccountKey=" + accountKey + ";EndpointSuffix=":                            "empty EndpointSuffix",
		"BlobEndpoint=;SharedAccessSignature=" + signature:                                             "empty BlobEndpoint",
		"BlobEndpoint=" + blobs + ";SharedAccessSignature=":                                            "empty SharedAccessSignature",
		"BlobEndpoint=" + blobs + ";SharedAccessSignature=?" + signature:                               "question mark",
		"BlobEndpoint=" + blobs + "/container;SharedAccessSignature=" + signature:                      "has a path below the container",
		"BlobEndpoint=https://account.dfs.core.windows.net;SharedAccessSignature=" + signature:         "give its blob endpoint, account.blob.core.windows.net",
		"BlobEndpoint=https://account.queue.core.windows.net/;AccountName=a;AccountKey=" + accountKey:  "give its blob endpoint, account.blob.core.windows.net",
		"BlobEndpoint=https://mynamespace.servicebus.windows.net;SharedAccessSignature=" + signature:   "names an Event Hubs namespace",
		"DefaultEndpointsProtocol=https;AccountKey=" + accountKey + ";EndpointSuffix=core.windows.net": "AccountName or BlobEndpoint",
	} {
		t.Run(says, func(t *testing.T) {
			_, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(connection, "container", nil)
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
			require.ErrorContains(t, err, says)
			requireNoSecret(t, err)
		})
	}
}

func TestRefusedContainerNames(t *testing.T) {
	const good = "AccountName=account;AccountKey=" + accountKey
	for name, says := range map[string]string{
		"$root":              "cannot have slashes",
		"$logs":              "only the service writes to it",
		"ab":                 "3 to 63",
		good:                 "this looks like a connection string",
		"?" + signature:      "this looks like a shared access signature",
		blobtest.PrimaryHost: "lower-case letters, digits and single hyphens",
		"https://" + blobtest.PrimaryHost + "/container?" + signature: "this looks like a URL",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := checkpointstore.NewBlobCheckpointStoreFromConnectionString(good, name, nil)
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
			require.ErrorContains(t, err, says)
			requireNoSecret(t, err)
		})
	}
}

// scopesAsked is a credential that keeps what it was asked for.
type scopesAsked struct {
	token
	scopes *[]string
}

func (c scopesAsked) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	*c.scopes = options.Scopes
	return c.token.GetToken(ctx, options)
}

// TestAudience: whom the tokens are for.
func TestAudience(t *testing.T) {
	for audience, want := range map[string]string{
		"":                                      "https://storage.azure.com/.default",
		"https://account.blob.core.windows.net": "https://account.blob.core.windows.net/.default",
		"https://storage.stack.example/":        "https://storage.stack.example/.default",
	} {
		t.Run(audience, func(t *testing.T) {
			var asked []string
			o := &checkpointstore.BlobCheckpointStoreOptions{}
			o.ClientOptions.Transport = fake.New()
			o.ClientOptions.Audience = audience
			store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(fake.New().URL(), scopesAsked{scopes: &asked}, o)
			require.NoError(t, err)
			_, err = store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NoError(t, err)
			require.Equal(t, []string{want}, asked)
		})
	}
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.Audience = "https://storage.azure.com"
	const connection = "AccountName=account;AccountKey=" + accountKey
	_, withString := checkpointstore.NewBlobCheckpointStoreFromConnectionString(connection, "container", o)
	_, withKey := checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(fake.New().URL(), sharedKey(t), o)
	_, withNone := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), o)
	for how, err := range map[string]error{"connection string": withString, "shared key": withKey, "no credential": withNone} {
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument, how)
		require.ErrorContains(t, err, "Audience has no effect without a token credential", how)
	}
}
