package checkpointstore_test

import (
	"bytes"
	"context"
	"fmt"
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

// recordCalls are the methods that read or write records of a scope.
func recordCalls(namespace, hub, group, partition, owner string) map[string]func(*checkpointstore.BlobCheckpointStore) error {
	ctx := context.Background()
	n := int64(1)
	return map[string]func(*checkpointstore.BlobCheckpointStore) error{
		"ListOwnership": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListOwnership(ctx, namespace, hub, group, nil)
			return err
		},
		"ListCheckpoints": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ListCheckpoints(ctx, namespace, hub, group, nil)
			return err
		},
		"GetOwnership": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetOwnership(ctx, namespace, hub, group, partition, nil)
			return err
		},
		"GetCheckpoint": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.GetCheckpoint(ctx, namespace, hub, group, partition, nil)
			return err
		},
		"ClaimOwnership": func(s *checkpointstore.BlobCheckpointStore) error {
			_, err := s.ClaimOwnership(ctx, []checkpointstore.Ownership{{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, OwnerID: owner,
			}}, nil)
			return err
		},
		"UpdateCheckpoint": func(s *checkpointstore.BlobCheckpointStore) error {
			return s.UpdateCheckpoint(ctx, checkpointstore.Checkpoint{
				FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: partition, SequenceNumber: &n,
			}, nil)
		},
	}
}

// TestOddNamespacesAreWarnedOfOnce: they work, as emulators have them.
func TestOddNamespacesAreWarnedOfOnce(t *testing.T) {
	const warning = "the namespace has no dot or has a port"
	for namespace, odd := range map[string]bool{
		"localhost": true, "emulator": true, "LocalHost": true, "emulator:5672": true, "127.0.0.1:5672": true, "ns.servicebus.windows.net:5671": true,
		"ns.servicebus.windows.net": false, "ns.example": false, "127.0.0.1": false,
	} {
		for method, call := range recordCalls(namespace, blobtest.Hub, "$Default", "0", "a") {
			t.Run(method+"/"+namespace, func(t *testing.T) {
				var log bytes.Buffer
				store := blobtest.NewStore(t, fake.New(), &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				for range 3 {
					if err := call(store); !strings.HasPrefix(method, "Get") {
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

				for _, other := range recordCalls(namespace, blobtest.Hub, "$default", "1", "a") {
					_ = other(store)
				}
				require.Equal(t, want, strings.Count(log.String(), warning), "the same scope, in another method")
				require.NoError(t, recordCalls(namespace, "other", blobtest.Group, "0", "a")["ListOwnership"](store))
				require.Equal(t, 2*want, strings.Count(log.String(), warning), "another scope")
			})
		}
	}
}

// TestCredentialsAreNoNames gives each method a credential in place of a name.
// The store sends nothing, and neither an error nor the log repeats it.
func TestCredentialsAreNoNames(t *testing.T) {
	const key = secretOfClient
	for secret, looksLike := range map[string]string{
		"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=" + key: "this looks like a connection string",
		"SharedAccessKey=" + key:                "this looks like a connection string",
		"AccountName=a;AccountKey=" + key:       "this looks like a connection string",
		"sharedaccesskey=" + key + "/":          "this looks like a connection string",
		"?sig=" + key:                           "this looks like a shared access signature",
		"sv=2021-06-08&sp=r&sig=" + key:         "this looks like a shared access signature",
		"sig%3D" + key:                          "this looks like a shared access signature",
		"https://account.example/c?code=" + key: "this looks like a URL",
		"Bearer " + secretToken:                 "this looks like a credential",
		secretToken:                             "this looks like a credential",
		"password: " + key:                      "this looks like a credential",
	} {
		for what, calls := range map[string]map[string]func(*checkpointstore.BlobCheckpointStore) error{
			"fully qualified namespace": recordCalls(secret, blobtest.Hub, blobtest.Group, "0", "a"),
			"event hub name":            recordCalls(blobtest.Namespace, secret, blobtest.Group, "0", "a"),
			"consumer group":            recordCalls(blobtest.Namespace, blobtest.Hub, secret, "0", "a"),
			"partition id":              recordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, secret, "a"),
			"owner id":                  recordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", secret),
		} {
			for method, call := range calls {
				if what == "partition id" && strings.HasPrefix(method, "List") || what == "owner id" && method != "ClaimOwnership" {
					continue // not told of it
				}
				t.Run(fmt.Sprintf("%s/%s/%s", method, what, looksLike), func(t *testing.T) {
					all := &sink{}
					service := fake.New()
					err := call(blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: all.logger()}))
					require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
					require.ErrorContains(t, err, looksLike)
					require.ErrorContains(t, err, "the "+what)
					require.Empty(t, service.Transcript())
					all.error(err)
					require.Empty(t, all.leaks(key, secretToken))
				})
			}
		}
	}
}

// TestCredentialsInRefusedNames: a name that is refused for another reason is
// quoted without the credential in it.
func TestCredentialsInRefusedNames(t *testing.T) {
	const name = "Bearer\t" + secretOfClient
	all := &sink{}
	for _, calls := range []map[string]func(*checkpointstore.BlobCheckpointStore) error{
		recordCalls(name, blobtest.Hub, blobtest.Group, "0", "a"), recordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, name, "a"), recordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", name),
	} {
		err := calls["ClaimOwnership"](blobtest.NewStore(t, fake.New(), nil))
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
		require.ErrorContains(t, err, "Bearer REDACTED")
		all.error(err)
	}
	require.Empty(t, all.leaks(secretOfClient))
}
