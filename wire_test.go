package checkpointstore_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

var update = flag.Bool("update", false, "write testdata/wire anew")

const (
	ownershipPrefix  = "ns.example/hub/group/ownership/"
	checkpointPrefix = "ns.example/hub/group/checkpoint/"
)

// wire is one public call with the exact requests that it sends.
type wire struct {
	name    string
	options checkpointstore.BlobCheckpointStoreOptions
	before  func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore)
	call    func(context.Context, *checkpointstore.BlobCheckpointStore) string
	sorted  bool // the requests go out at the same time
}

// TestWire compares every call's requests and outcome with testdata/wire. A
// difference there is a change of behaviour; go test -run TestWire -update .
// writes the files anew.
func TestWire(t *testing.T) {
	var names []string
	for file, cases := range map[string][]wire{
		"claim": claimWires, "ownership": ownershipWires, "update": updateWires, "checkpoints": checkpointWires, "container": containerWires,
	} {
		names = append(names, file+".txt")
		t.Run(file, func(t *testing.T) {
			var got strings.Builder
			for _, c := range cases {
				result := c.run(t, newFakeStore)
				fmt.Fprintf(&got, "# %s\n%s\n", c.name, result)
				if o := c.options; o.APIVersion == "" && o.SecondaryHost == "" {
					require.Equal(t, result, c.run(t, newStoreOfClient), "%s, with a client of the caller's, whose lists azblob decodes", c.name)
				}
			}
			path := filepath.Join("testdata", "wire", file+".txt")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
	files, err := os.ReadDir(filepath.Join("testdata", "wire"))
	require.NoError(t, err)
	for _, f := range files {
		require.Contains(t, names, f.Name(), "a golden file without cases")
	}
}

func (c wire) run(t *testing.T, open func(testing.TB, *fake.Service, *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore) string {
	service := fake.New()
	service.SetClock(func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })
	options := c.options
	if options.MaxConcurrency == 0 {
		options.MaxConcurrency = 1
	}
	store := open(t, service, &options)
	if c.before != nil {
		c.before(t, service, store)
	}
	service.Reset()
	result := c.call(context.Background(), store)
	lines := strings.Split(strings.TrimSpace(service.Transcript()), "\n")
	if c.sorted {
		slices.Sort(lines)
	}
	return strings.TrimPrefix(strings.Join(lines, "\n")+"\n=> "+result+"\n", "\n")
}

func wonText(won []checkpointstore.Ownership, err error) string {
	text := "won"
	for _, o := range won {
		text += fmt.Sprintf(" %s=%s at %s", o.PartitionID, *o.ETag, o.LastModifiedTime.Format(time.RFC3339))
	}
	return text + errorText(err)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "\n=> " + err.Error()
}

func doneText(err error) string {
	if err == nil {
		return "done"
	}
	return err.Error()
}

func claiming(all ...checkpointstore.Ownership) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return wonText(store.ClaimOwnership(ctx, all, nil))
	}
}

func etag(s string) *azcore.ETag { return to.Ptr(azcore.ETag(s)) }

// owned puts ownership blobs of the partitions 0 to n-1, with the ETags "0x1" on.
func owned(owner string, n int, injected ...faults.Fault) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(t *testing.T, service *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		for i := range n {
			service.Put(ownershipPrefix+fmt.Sprint(i), map[string]string{"ownerid": owner})
		}
		for _, f := range injected {
			service.Inject(f)
		}
	}
}

var claimWires = []wire{
	{name: "no claims", call: claiming()},
	{name: "first claim", call: claiming(claim(group, "a", "0", nil))},
	{name: "first claim, lost", before: owned("b", 1), call: claiming(claim(group, "a", "0", nil))},
	{name: "renewal, on the ETag of a list", before: owned("a", 1), call: claiming(claim(group, "a", "0", etag("0x1")))},
	{name: "renewal, on the ETag of a claim", before: owned("a", 1), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "take-over", before: owned("b", 1), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "take-over, lost", before: owned("b", 1), call: claiming(claim(group, "a", "0", etag(`"0x9"`)))},
	{name: "relinquish", before: owned("a", 1), call: claiming(claim(group, "", "0", etag(`"0x1"`)))},
	{name: "relinquish, lost", before: owned("b", 1), call: claiming(claim(group, "", "0", etag(`"0x9"`)))},
	{name: "several, one lost", before: owned("b", 2), call: claiming(claim(group, "a", "1", etag(`"0x2"`)), claim(group, "a", "0", nil), claim(group, "a", "2", nil))},
	{name: "the blob was deleted", call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{
		name:   "the blob was deleted, and created by somebody else meanwhile",
		before: whileCreating(func(s *fake.Service) { s.Put(ownershipPrefix+"0", map[string]string{"ownerid": "b"}) }),
		call:   claiming(claim(group, "a", "0", etag(`"0x1"`))),
	},
	{name: "first claim, answer dropped, retry meets it", before: owned("", 0, faults.LoseResponse().Once()), call: claiming(claim(group, "a", "0", nil))},
	{name: "renewal, answer dropped, retry meets it", before: owned("a", 1, faults.LoseResponse().Once()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "relinquish, answer dropped, retry meets it", before: owned("a", 1, faults.LoseResponse().Once()), call: claiming(claim(group, "", "0", etag(`"0x1"`)))},
	{name: "take-over, request reset, somebody else wins before the retry", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		reset := faults.LoseRequest().Once()
		reset = reset.Before(func() { s.Put(ownershipPrefix+"0", map[string]string{"ownerid": "c"}) })
		owned("b", 1, reset)(t, s, store)
	}, call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "renewal, every answer dropped", before: owned("a", 1, faults.LoseResponse().On(faults.OpIs(faults.SetMetadata))), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "renewal, every request reset", before: owned("a", 1, faults.LoseRequest().On(faults.OpIs(faults.SetMetadata))), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "renewal, 500 after it took effect", before: owned("a", 1, faults.ApplyThenStatus(500, "InternalError").Once()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "renewal, 500 after it took effect, without retries", options: noRetries, before: owned("a", 1, faults.ApplyThenStatus(500, "InternalError").Once()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "renewal, an answer without an ETag", before: owned("a", 1, faults.WithoutHeaders("ETag").On(faults.OpIs(faults.SetMetadata))), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "no connection", before: owned("a", 1, faults.RefuseConnection()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "a bare 412", before: owned("a", 1, faults.Status(412, "").Once()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "a bare 404 to a renewal: the blob was deleted", before: owned("a", 1, faults.Status(404, "").Once()), call: claiming(claim(group, "a", "1", etag(`"0x1"`)))},
	{name: "a bare 409", before: owned("a", 1, faults.Status(409, "").Once()), call: claiming(claim(group, "a", "1", nil))},
	{name: "one is leased, the others go on", before: leased("1"), call: claiming(claim(group, "a", "0", etag(`"0x1"`)), claim(group, "a", "1", etag(`"0x2"`)), claim(group, "a", "2", etag(`"0x3"`)))},
	{name: "not authorized", before: owned("a", 1, faults.Forbidden()), call: claiming(claim(group, "a", "0", etag(`"0x1"`)), claim(group, "a", "1", nil))},
	{name: "wrong key or expired SAS", before: owned("a", 1, faults.AuthenticationFailed("Signature not valid in the specified time frame")), call: claiming(claim(group, "a", "0", nil))},
	{name: "busy, then not", before: owned("a", 1, faults.Busy(0).Limit(2)), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "busy all the time", before: owned("a", 1, faults.Busy(0).On(faults.OpIs(faults.SetMetadata))), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "throttled, without retries", options: noRetries, before: owned("a", 1, faults.Status(429, "TooManyRequests")), call: claiming(claim(group, "a", "0", etag(`"0x1"`)))},
	{name: "the container is missing", before: withoutContainer, call: claiming(claim(group, "a", "0", nil), claim(group, "a", "1", etag(`"0x1"`)))},
	{name: "asked for twice", call: claiming(claim(group, "a", "0", nil), claim("GROUP", "a", "0", nil))},
}

// noRetries sends every request once.
var noRetries = checkpointstore.BlobCheckpointStoreOptions{ClientOptions: container.ClientOptions{ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1, RetryDelay: time.Millisecond}}}}

func withoutContainer(_ *testing.T, service *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
	service.DeleteContainer()
}

func leased(partition string) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(t *testing.T, service *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		owned("a", 3)(t, service, store)
		service.Lease(ownershipPrefix + partition)
	}
}

// whileCreating lets somebody else write just before the first Put Blob.
func whileCreating(other func(*fake.Service)) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(_ *testing.T, service *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		service.Inject(faults.RunBefore(func() { other(service) }).On(faults.OpIs(faults.PutBlob)).Once())
	}
}

var ownershipWires = []wire{
	{name: "ListOwnership", before: owned("a", 2), call: listingOwnership(group)},
	{name: "ListOwnership of nothing", call: listingOwnership(group)},
	{name: "ListOwnership, two pages and an empty one", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		owned("a", 3)(t, s, store)
		s.SetPageSize(2)
		s.SetEmptyPages(true)
	}, call: listingOwnership(group)},
	{name: "ListOwnership with odd blobs", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		owned("", 1)(t, s, store)
		s.Put(ownershipPrefix+"1", nil)
		s.Put(ownershipPrefix+"2", map[string]string{"OwnerId": "cpp"})
		s.Put(ownershipPrefix+"3/extra", map[string]string{"ownerid": "deeper"})
		s.PutDirectory(ownershipPrefix + "4")
		s.Put("ns.example/hub/group/ownership-old/0", map[string]string{"ownerid": "sibling"})
	}, call: listingOwnership(group)},
	{name: "ListOwnership, $Default, with a logger: one look under the verbatim spelling", options: logged, sorted: true, before: func(_ *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		letLooksEnd(s, store)
	}, call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return listingOwnership("$Default")(ctx, store) + "\n=> " + listingOwnership("$Default")(ctx, store)
	}},
	{name: "ListOwnership, $Default, silent", call: listingOwnership("$Default")},
	{name: "ListOwnership, verbatim", options: verbatim, call: listingOwnership("$Default")},
	{name: "ListOwnership, the container is missing", before: withoutContainer, call: listingOwnership(group)},
	{name: "ListOwnership, not authorized", before: owned("a", 1, faults.Forbidden()), call: listingOwnership(group)},
	{name: "ListOwnership, busy then not", before: owned("a", 1, faults.Busy(0).Once()), call: listingOwnership(group)},
	{name: "GetOwnership", before: owned("a", 1), call: gettingOwnership("0")},
	{name: "GetOwnership, absent", before: owned("a", 1), call: gettingOwnership("1")},
	{name: "GetOwnership, the container is missing", before: withoutContainer, call: gettingOwnership("0")},
}

func listingOwnership(group string) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		all, err := store.ListOwnership(ctx, namespace, hub, group, nil)
		text := fmt.Sprintf("%d records", len(all))
		for _, o := range all {
			text += fmt.Sprintf(" %s:%q%s", o.PartitionID, o.OwnerID, *o.ETag)
		}
		return text + errorText(err)
	}
}

func gettingOwnership(partition string) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		o, err := store.GetOwnership(ctx, namespace, hub, group, partition, nil)
		return fmt.Sprintf("%s:%q", o.PartitionID, o.OwnerID) + errorText(err)
	}
}

var containerWires = []wire{
	{name: "EnsureContainer, missing", before: withoutContainer, call: ensuring},
	{name: "EnsureContainer, there", call: ensuring},
	{name: "EnsureContainer, not authorized", before: owned("a", 0, faults.Forbidden()), call: ensuring},
	{name: "EnsureContainer, being deleted", before: owned("a", 0, faults.Status(409, "ContainerBeingDeleted")), call: ensuring},
}

func ensuring(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
	return doneText(store.EnsureContainer(ctx, nil))
}
