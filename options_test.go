package checkpointstore_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// TestOptionsWithoutEffect: what could not take effect is refused.
func TestOptionsWithoutEffect(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*checkpointstore.BlobCheckpointStoreOptions)
		says string
	}{
		"SecondaryHost without retries": {func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.SecondaryHost = blobtest.SecondaryHost
			o.ClientOptions.Retry.MaxRetries = -1
		}, "SecondaryHost has no effect without retries"},
		"SecondaryHost that is the primary": {func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.SecondaryHost = strings.ToUpper(blobtest.PrimaryHost)
		}, "SecondaryHost is the host of the container URL"},
		"Audience without a token": {func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.ClientOptions.Audience = "https://storage.azure.com"
		}, "ClientOptions.Audience has no effect without a token credential"},
		"ExpectContinueBehavior": {func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.ClientOptions.ExpectContinueBehavior.Mode = container.ExpectContinueModeOff
		}, "ClientOptions.ExpectContinueBehavior has no effect"},
		"azcore's APIVersion": {func(o *checkpointstore.BlobCheckpointStoreOptions) {
			o.ClientOptions.APIVersion = "2019-07-07"
		}, "set APIVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			o := &checkpointstore.BlobCheckpointStoreOptions{}
			c.set(o)
			_, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), o)
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestSecondaryHost(t *testing.T) {
	construct := func(host string) error {
		_, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), &checkpointstore.BlobCheckpointStoreOptions{SecondaryHost: host})
		return err
	}
	for _, host := range []string{
		blobtest.SecondaryHost, blobtest.SecondaryHost + ":443", blobtest.SecondaryHost + ".", "localhost", "azurite:10000", "azurite_secondary:10000",
		"127.0.0.1", "127.0.0.1:10000", "[::1]", "[::1]:10000", "checkpoints-secondary.example.com",
	} {
		require.NoError(t, construct(host), host)
	}
	for host, says := range map[string]string{
		"exa\nmple":                         "not a host name",
		blobtest.SecondaryHost + "\n":       "not a host name",
		" " + blobtest.SecondaryHost:        "not a host name",
		"a b":                               "not a host name",
		"a\x00b":                            "not a host name",
		"é.example":                         "not a host name",
		"host,other":                        "not a host name",
		"a..b":                              "not a host name",
		".a":                                "not a host name",
		"-a":                                "not a host name",
		"%41":                               "not a host name",
		"user@host":                         "not a host name",
		"host/path":                         "not a host name",
		"host:":                             "not a host name",
		"host:0":                            "not a host name",
		"host:65536":                        "not a host name",
		"host:http":                         "not a host name",
		"::1":                               "not a host name",
		"[::1":                              "not a host name",
		"[::1:80":                           "not a host name",
		"[host]":                            "not a host name",
		"[127.0.0.1]":                       "not a host name",
		strings.Repeat("a", 254):            "not a host name",
		"https://" + blobtest.SecondaryHost: "not a host name",
		blobtest.SecondaryHost + "?sig=" + accountKey:  "this looks like a shared access signature",
		"AccountName=account;AccountKey=" + accountKey: "this looks like a connection string",
		"account-secondary.dfs.core.windows.net":       "give its blob endpoint, account-secondary.blob.core.windows.net",
		"mynamespace.servicebus.windows.net":           "names an Event Hubs namespace",
	} {
		t.Run(host, func(t *testing.T) {
			err := construct(host)
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "\n")
			requireNoSecret(t, err)
		})
	}
}

// TestOddNamespacesAreWarnedOfOnce: they work, as emulators have them.
func TestOddNamespacesAreWarnedOfOnce(t *testing.T) {
	const warning = "the namespace has no dot or has a port"
	for namespace, odd := range map[string]bool{
		"localhost": true, "emulator": true, "LocalHost": true, "emulator:5672": true, "127.0.0.1:5672": true, "ns.servicebus.windows.net:5671": true,
		"ns.servicebus.windows.net": false, "ns.example": false, "127.0.0.1": false,
	} {
		for method, call := range blobtest.RecordCalls(namespace, blobtest.Hub, "$Default", "0", "a") {
			if strings.HasPrefix(method, "Delete") {
				continue // it takes the names of a record as they are
			}
			t.Run(method+"/"+namespace, func(t *testing.T) {
				var log bytes.Buffer
				store := blobtest.NewStore(t, fake.New(), &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				for range 3 {
					if err := call(t.Context(), store); !strings.HasPrefix(method, "Get") {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, checkpointstore.ErrNotFound)
					}
				}
				want := 0
				if odd {
					want = 1
					require.Contains(t, log.String(), "namespace="+strings.ToLower(namespace))
				}
				require.Equal(t, want, strings.Count(log.String(), warning), log.String())

				for _, other := range blobtest.RecordCalls(namespace, blobtest.Hub, "$default", "1", "a") {
					_ = other(t.Context(), store)
				}
				require.Equal(t, want, strings.Count(log.String(), warning), "the same scope, in another method")
				require.NoError(t, blobtest.RecordCalls(namespace, "other", blobtest.Group, "0", "a")["ListOwnership"](t.Context(), store))
				require.Equal(t, 2*want, strings.Count(log.String(), warning), "another scope")
			})
		}
	}
}
