package securitytest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
)

// What each call needs, as SECURITY.md has it, against a service that checks.

// A need is met by any one of its permissions; named is how an error tells of it.
type need struct{ anyOf, named string }

var (
	toRead   = need{"r", "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (SAS: r)"}
	toList   = need{"l", "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (SAS: l)"}
	toWrite  = need{"w", "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write (SAS: w)"}
	toCreate = need{"wc", toWrite.named}
	toDelete = need{"d", "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete (SAS: d)"}
	never    = need{"", "action Microsoft.Storage/storageAccounts/blobServices/containers/write (account SAS: w or c)"}
)

// permissionCall is a call with what it needs, in the order of its requests.
type permissionCall struct {
	name  string
	needs []need
	call  func(store *checkpointstore.BlobCheckpointStore, fresh string) error
}

// withoutFence is in the name of a call on a store with that option.
const withoutFence = "unfenced"

// permissionCalls are all calls, on the partition "0", which has records, or on a
// fresh one, which has none. Azurite says of a blob that does not exist that the
// condition was not met, so to delete none takes a read.
func permissionCalls(owned checkpointstore.Ownership) []permissionCall {
	ctx := context.Background()
	ignore := func(_ any, err error) error { return err }
	return []permissionCall{
		{"EnsureContainer", []need{never}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return s.EnsureContainer(ctx, nil)
		}},
		{"ListOwnership", []need{toList}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil))
		}},
		{"ListCheckpoints", []need{toList}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.ListCheckpoints(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil))
		}},
		{"GetOwnership", []need{toRead}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.GetOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil))
		}},
		{"GetCheckpoint", []need{toRead}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.GetCheckpoint(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil))
		}},
		{"ClaimOwnership, first", []need{toCreate}, func(s *checkpointstore.BlobCheckpointStore, fresh string) error {
			return ignore(s.ClaimOwnership(ctx, []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", fresh, nil)}, nil))
		}},
		{"ClaimOwnership, renewal", []need{toWrite}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.ClaimOwnership(ctx, []checkpointstore.Ownership{owned}, nil)) // lost, if it was renewed before
		}},
		{"UpdateCheckpoint, rewind", []need{toRead, toWrite}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return s.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 1), &checkpointstore.UpdateCheckpointOptions{Rewind: true})
		}},
		{"UpdateCheckpoint, first", []need{toRead, toCreate}, func(s *checkpointstore.BlobCheckpointStore, fresh string) error {
			return s.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, fresh, 1), nil)
		}},
		{"UpdateCheckpoint, first of a tenure", []need{toRead, toWrite}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return s.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", time.Now().UnixNano()), nil)
		}},
		{"UpdateCheckpoint, " + withoutFence, []need{toWrite}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return s.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, "0", 1), nil)
		}},
		{"UpdateCheckpoint, first, " + withoutFence, []need{toWrite}, func(s *checkpointstore.BlobCheckpointStore, fresh string) error {
			return s.UpdateCheckpoint(ctx, blobtest.Checkpoint(blobtest.Group, fresh, 1), nil)
		}},
		{"ListRecords", []need{toList}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.ListRecords(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil))
		}},
		{"ListScopes", []need{toList}, func(s *checkpointstore.BlobCheckpointStore, _ string) error {
			return ignore(s.ListScopes(ctx, nil))
		}},
		{"DeleteOwnership, of none", []need{toDelete, toRead}, func(s *checkpointstore.BlobCheckpointStore, fresh string) error {
			return s.DeleteOwnership(ctx, blobtest.Claim(blobtest.Group, "", fresh+"-none", owned.ETag), nil)
		}},
		{"DeleteCheckpoint, of none", []need{toDelete, toRead}, func(s *checkpointstore.BlobCheckpointStore, fresh string) error {
			return s.DeleteCheckpoint(ctx, checkpointstore.CheckpointRecord{Checkpoint: blobtest.Checkpoint(blobtest.Group, fresh+"-none", 1), ETag: owned.ETag}, nil)
		}},
	}
}

// allPermissions are all sets of the five permissions that matter.
func allPermissions() []string {
	var all []string
	for i := range 32 {
		set := ""
		for j, p := range "rwcld" {
			if i&(1<<j) != 0 {
				set += string(p)
			}
		}
		all = append(all, set)
	}
	return all
}

// signed is the container's URL with a SAS of these permissions, and that to
// delete former versions, as a SAS must have one.
func signed(t *testing.T, client *container.Client, permissions string) string {
	t.Helper()
	has := func(p string) bool { return strings.Contains(permissions, p) }
	u, err := client.GetSASURL(sas.ContainerPermissions{
		Read: has("r"), Write: has("w"), Create: has("c"), List: has("l"), Delete: has("d"), DeletePreviousVersion: true,
	}, time.Now().Add(time.Hour), nil)
	require.NoError(t, err)
	return u
}

// signedByAccount is the same with a SAS of the account, for these types of
// resource.
func signedByAccount(t *testing.T, client *container.Client, key *container.SharedKeyCredential, permissions string, types sas.AccountResourceTypes) string {
	t.Helper()
	has := func(p string) bool { return strings.Contains(permissions, p) }
	account, err := service.NewClientWithSharedKeyCredential(azurite.Shared(t).Endpoint(), key, nil)
	require.NoError(t, err)
	u, err := account.GetSASURL(types, sas.AccountPermissions{
		Read: has("r"), Write: has("w"), Create: has("c"), List: has("l"), Delete: has("d"), DeletePreviousVersion: true,
	}, time.Now().Add(time.Hour), nil)
	require.NoError(t, err)
	_, query, found := strings.Cut(u, "?")
	require.True(t, found)
	return client.URL() + "?" + query
}

// opened is a store of a URL with a SAS, for a call.
func opened(t *testing.T, url, call string) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	options := &checkpointstore.BlobCheckpointStoreOptions{DisableFencing: strings.Contains(call, withoutFence)}
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(url, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// seeded is a container with records of the partition "0".
func seeded(t *testing.T) (*container.Client, *container.SharedKeyCredential, checkpointstore.Ownership) {
	t.Helper()
	client, key := blobtest.NewAzuriteContainer(t)
	store, err := checkpointstore.NewBlobCheckpointStore(client, nil)
	require.NoError(t, err)
	owned := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
	require.NoError(t, store.UpdateCheckpoint(context.Background(), blobtest.Checkpoint(blobtest.Group, "0", 1), nil))
	return client, key, owned
}

// requirePermissions makes every call and checks that it works if its needs are
// met, and otherwise names the first that is not.
func requirePermissions(t *testing.T, url, permissions string, calls []permissionCall) {
	t.Helper()
	for i, c := range calls {
		t.Run(fmt.Sprintf("%s/%s", permissions, c.name), func(t *testing.T) {
			err := c.call(opened(t, url, c.name), fmt.Sprintf("%s-%d", permissions, i))
			for _, n := range c.needs {
				if !strings.ContainsAny(permissions, n.anyOf) {
					require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
					require.ErrorContains(t, err, "403 AuthorizationPermissionMismatch")
					require.ErrorContains(t, err, "the request needs "+n.named+",")
					return
				}
			}
			require.NoError(t, err)
		})
	}
}

// TestPermissionsOfACall gives a SAS of the container every set of permissions.
func TestPermissionsOfACall(t *testing.T) {
	client, _, owned := seeded(t)
	for _, permissions := range allPermissions() {
		requirePermissions(t, signed(t, client, permissions), permissions, permissionCalls(owned))
	}
}

// TestPermissionsOfACallByTheAccount does so with a SAS of the account, which can
// create containers as well.
func TestPermissionsOfACallByTheAccount(t *testing.T) {
	client, key, owned := seeded(t)
	calls := permissionCalls(owned)
	calls[0].needs = []need{{"wc", never.named}}
	for _, permissions := range allPermissions() {
		requirePermissions(t, signedByAccount(t, client, key, permissions, sas.AccountResourceTypes{Container: true, Object: true}), permissions, calls)
	}
}

// TestTheLeastPermissions: read, write and list are enough for everything that a
// consumer does. (That none of them can be left out, the tests above have shown.)
func TestTheLeastPermissions(t *testing.T) {
	for _, permissions := range []string{"rwl", "rwcl"} {
		client, key := blobtest.NewAzuriteContainer(t)
		blobtest.RoundTrip(t, opened(t, signed(t, client, permissions), ""))
		client, _ = blobtest.NewAzuriteContainer(t)
		blobtest.RoundTrip(t, opened(t, signedByAccount(t, client, key, permissions, sas.AccountResourceTypes{Container: true, Object: true}), ""))
	}
}

// TestSignaturesThatDoNotFit are refused whatever they permit.
func TestSignaturesThatDoNotFit(t *testing.T) {
	client, key, owned := seeded(t)
	other, _ := blobtest.NewAzuriteContainer(t)
	times := func(start, expiry time.Duration) string {
		from := time.Now().Add(start)
		u, err := client.GetSASURL(sas.ContainerPermissions{Read: true, Write: true, Create: true, List: true}, time.Now().Add(expiry), &container.GetSASURLOptions{StartTime: &from})
		require.NoError(t, err)
		return u
	}
	_, query, _ := strings.Cut(signed(t, other, "rwcl"), "?")
	forged := strings.Replace(signed(t, client, "rl"), "sp=rxl", "sp=rwxl", 1)
	require.Contains(t, forged, "sp=rwxl")
	for name, c := range map[string]struct {
		url, code string
		works     string // the calls that work all the same
	}{
		"expired":                  {times(-2*time.Hour, -time.Hour), "403 AuthorizationFailure", ""}, // Azure: AuthenticationFailed
		"not valid yet":            {times(time.Hour, 2*time.Hour), "403 AuthorizationFailure", ""},   // Azure: AuthenticationFailed
		"of another container":     {client.URL() + "?" + query, "403 ", ""},
		"with a permission added":  {forged, "403 ", ""},
		"none":                     {client.URL(), "", ""}, // Azure: 401 or 409, see errors_refused.go
		"of the account, no blobs": {signedByAccount(t, client, key, "rwcl", sas.AccountResourceTypes{Container: true}), "403 AuthorizationResourceTypeMismatch", "EnsureContainer ListOwnership ListCheckpoints ListRecords ListScopes"},
		"of the account, no list":  {signedByAccount(t, client, key, "rwcld", sas.AccountResourceTypes{Object: true}), "403 AuthorizationResourceTypeMismatch", "Get Claim Update Delete"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range permissionCalls(owned) {
				err := call.call(opened(t, c.url, call.name), "fresh")
				if works(call.name, c.works) {
					require.NoError(t, err, call.name)
					continue
				}
				require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized, call.name)
				require.ErrorContains(t, err, c.code, call.name)
				require.ErrorContains(t, err, call.needs[0].named, call.name)
			}
		})
	}
}

// works reports whether a call begins with one of the words.
func works(call, words string) bool {
	for _, word := range strings.Fields(words) {
		if strings.HasPrefix(call, word) {
			return true
		}
	}
	return false
}
