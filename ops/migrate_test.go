package ops_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

// oldScope has names that Functions escapes.
var oldScope = ops.Scope{FullyQualifiedNamespace: "MyNs.servicebus.windows.net", EventHubName: "My Hub", ConsumerGroup: "$Default"}

// layouts say where each package keeps the checkpoint of partition "0".
var layouts = map[ops.Layout]struct {
	prefix string // as the application gave it
	name   string // of the blobs, without the partition
}{
	ops.LayoutGoTrack1:      {"app-", "app-"},
	ops.LayoutGoTrack1Files: {"", "MyNs.servicebus.windows.net_My Hub_Default_"},
	ops.LayoutDotNetEPH:     {" app- ", "app-$Default/"},
	ops.LayoutJavaEPH:       {"app-", "app-$Default/"},
	ops.LayoutPythonEPH:     {"", ""},
	ops.LayoutFunctions:     {"", "myns.servicebus.windows.net/my:20hub/$Default/"},
	ops.LayoutDapr:          {"", "dapr-My Hub-$Default-"},
}

// legacyBlobs are the contents of testdata by the names that the layout gives them.
func legacyBlobs(t *testing.T, layout ops.Layout) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "legacy", string(layout), "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	blobs := make(map[string][]byte)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		blobs[layouts[layout].name+strings.TrimSuffix(filepath.Base(file), ".json")] = content
	}
	return blobs
}

// memorySource are blobs that nobody has written for an hour.
type memorySource map[string]ops.SourceFile

func memorySourceOf(blobs map[string][]byte) memorySource {
	source := make(memorySource)
	for name, content := range blobs {
		source[name] = ops.SourceFile{Content: content, LastModified: noon, Time: noon.Add(time.Hour)}
	}
	return source
}

func (s memorySource) Names(_ context.Context, prefix string) ([]string, error) {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s)), func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

func (s memorySource) Read(_ context.Context, name string, limit int64) (ops.SourceFile, error) {
	file := s[name]
	if file.Time.IsZero() {
		return file, fs.ErrNotExist
	}
	return file, nil
}

// migrate plans, compares the plan, applies it, and does so again.
func migrate(t *testing.T, source ops.Source, layout ops.Layout) {
	t.Helper()
	store := memstore.New()
	options := ops.MigrateOptions{Layout: layout, Prefix: layouts[layout].prefix, SourceScope: oldScope, Expiration: 1}
	var plan *ops.Plan
	eventually(t, func() bool { // until the source is old enough
		var err error
		plan, err = ops.PlanMigrate(ctx, store, source, scope, options)
		if err != nil {
			require.ErrorIs(t, err, ops.ErrLive)
		}
		return err == nil && len(plan.Warnings) == 0
	})
	golden(t, "migrations/"+string(layout)+".txt", describePlan(plan))
	_, err := ops.Apply(ctx, store, plan, nil)
	require.NoError(t, err)
	again, err := ops.PlanMigrate(ctx, store, source, scope, options)
	require.NoError(t, err)
	require.Empty(t, again.Changes, "a second run changes nothing")
	require.Len(t, again.Skipped, len(plan.Changes)+len(plan.Skipped), "and still has a line for each blob")
}

func TestMigrateEveryLayout(t *testing.T) {
	for layout := range layouts {
		t.Run(string(layout), func(t *testing.T) { migrate(t, memorySourceOf(legacyBlobs(t, layout)), layout) })
	}
	require.Len(t, layouts, len(ops.Layouts())-1, "all but the store's own records")
}

func TestMigrateFromAContainer(t *testing.T) {
	for layout := range layouts {
		if layout == ops.LayoutGoTrack1Files {
			continue
		}
		t.Run(string(layout), func(t *testing.T) {
			client := azuriteContainer(t)
			blobs := legacyBlobs(t, layout)
			for name, content := range blobs {
				putBlob(t, client, name, content, nil)
			}
			before := etags(t, client)
			require.Len(t, before, len(blobs))
			migrate(t, ops.ContainerSource(client), layout)
			require.Equal(t, before, etags(t, client), "the source is as it was")
		})
	}
}

func putBlob(t *testing.T, client *container.Client, name string, content []byte, metadata map[string]*string) *blockblob.Client {
	t.Helper()
	blob := client.NewBlockBlobClient(name)
	_, err := blob.Upload(ctx, streaming.NopCloser(bytes.NewReader(content)), &blockblob.UploadOptions{Metadata: metadata})
	require.NoError(t, err)
	return blob
}

func etags(t *testing.T, client *container.Client) map[string]string {
	t.Helper()
	page, err := client.NewListBlobsFlatPager(nil).NextPage(ctx)
	require.NoError(t, err)
	found := make(map[string]string)
	for _, item := range page.Segment.BlobItems {
		found[*item.Name] = string(*item.Properties.ETag)
	}
	return found
}

func TestMigrateFromAFolder(t *testing.T) {
	folder := make(fstest.MapFS)
	for name, content := range legacyBlobs(t, ops.LayoutGoTrack1Files) {
		folder[name] = &fstest.MapFile{Data: content, ModTime: noon}
	}
	folder["0"] = &fstest.MapFile{Data: []byte("another")}
	folder[layouts[ops.LayoutGoTrack1Files].name+"7/x"] = &fstest.MapFile{Data: []byte("a folder")}
	migrate(t, ops.FolderSource(folder), ops.LayoutGoTrack1Files)

	big := layouts[ops.LayoutGoTrack1Files].name + "5"
	folder[big] = &fstest.MapFile{Data: make([]byte, 64<<10+1), ModTime: noon}
	folder[layouts[ops.LayoutGoTrack1Files].name+"6"] = &fstest.MapFile{Data: []byte(`{"offset":"100","sequenceNumber":1}`), ModTime: time.Now()}
	plan, err := ops.PlanMigrate(ctx, memstore.New(), ops.FolderSource(folder), scope, ops.MigrateOptions{Layout: ops.LayoutGoTrack1Files, SourceScope: oldScope})
	require.NoError(t, err)
	require.Contains(t, describePlan(plan), big+": it has more than 65536 bytes")
	require.Contains(t, describePlan(plan), "make sure that nobody goes on writing it", "a file has no owner to see")
}

// endless is a file that does not end.
type endless struct {
	fstest.MapFS
	read int
}

func (f *endless) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	return endlessFile{file, f}, err
}

type endlessFile struct {
	fs.File
	of *endless
}

func (f endlessFile) Read(p []byte) (int, error) {
	if f.of.read += len(p); f.of.read > 1<<20 {
		return 0, errors.New("it is read on and on")
	}
	return len(p), nil
}

func TestASourceIsReadUpToItsLimit(t *testing.T) {
	folder := &endless{MapFS: fstest.MapFS{"0": &fstest.MapFile{ModTime: noon}}}
	file, err := ops.FolderSource(folder).Read(ctx, "0", 64<<10)
	require.NoError(t, err)
	require.True(t, file.TooLarge)
	require.Empty(t, file.Content)
}

func TestMigrateRefusesASourceInUse(t *testing.T) {
	content := []byte(`{"partitionID":"0","owner":"","checkpoint":{"offset":"100","sequenceNumber":1}}`)
	plan := func(source ops.Source, layout ops.Layout) error {
		_, err := ops.PlanMigrate(ctx, memstore.New(), source, scope, ops.MigrateOptions{Layout: layout})
		return err
	}
	t.Run("leased", func(t *testing.T) {
		client := azuriteContainer(t)
		blob := putBlob(t, client, "0", content, nil)
		require.NoError(t, plan(ops.ContainerSource(client), ops.LayoutGoTrack1))
		leased, err := lease.NewBlobClient(blob, nil)
		require.NoError(t, err)
		_, err = leased.AcquireLease(ctx, -1, nil)
		require.NoError(t, err)
		require.ErrorIs(t, plan(ops.ContainerSource(client), ops.LayoutGoTrack1), ops.ErrLive)
		_, err = leased.ReleaseLease(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, plan(ops.ContainerSource(client), ops.LayoutGoTrack1))
	})
	t.Run("OWNINGHOST", func(t *testing.T) {
		client := azuriteContainer(t)
		putBlob(t, client, "$Default/0", content, map[string]*string{"OWNINGHOST": to.Ptr("host")})
		require.ErrorIs(t, plan(ops.ContainerSource(client), ops.LayoutDotNetEPH), ops.ErrLive)
	})
	for name, c := range map[string]struct {
		file ops.SourceFile
		live bool
	}{
		"an owner that wrote":              {ops.SourceFile{Content: []byte(`{"owner":"a"}`), Time: noon, LastModified: noon.Add(-time.Minute)}, true},
		"an owner that wrote nothing else": {ops.SourceFile{Content: []byte(`{"owner":"a","offset":[]}`), Time: noon, LastModified: noon.Add(-time.Minute)}, true},
		"an owner of before":               {ops.SourceFile{Content: []byte(`{"owner":"a"}`), Time: noon, LastModified: noon.Add(-time.Minute - time.Second)}, false},
		"the host of before":               {ops.SourceFile{Content: []byte(`{"owner":"a"}`), Metadata: map[string]string{"owninghost": ""}, Time: noon, LastModified: noon}, false},
		"a host":                           {ops.SourceFile{Content: []byte(`{}`), Metadata: map[string]string{"owninghost": "h"}, Time: noon, LastModified: noon}, true},
		"a lease on what is no checkpoint": {ops.SourceFile{Content: []byte(`x`), Leased: true, Time: noon}, true},
		"no time":                          {ops.SourceFile{Content: []byte(`{"owner":"a"}`), Time: time.Unix(1, 0), LastModified: noon}, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := plan(memorySource{"0": c.file}, ops.LayoutGoTrack1)
			if c.live {
				require.ErrorIs(t, err, ops.ErrLive)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestMigrateTraps(t *testing.T) {
	content := func(offset, n string) []byte {
		return fmt.Appendf(nil, `{"owner":"","checkpoint":{"offset":%s,"sequenceNumber":%s}}`, offset, n)
	}
	source := memorySourceOf(map[string][]byte{
		"0":                                  content(`"100"`, "1"),
		"1":                                  content(`"-1"`, "0"),
		"2":                                  content(`"200"`, "-1"),
		"3":                                  content(`"None"`, "3"),
		"4":                                  content(`"a  b"`, "4"),
		"5":                                  content(`500`, `"5"`),
		"6":                                  []byte(`{"offset":"1","Offset":"2","sequenceNumber":1}`),
		"07":                                 content(`"700"`, "7"),
		"x":                                  content(`"700"`, "7"),
		"ns/hub/group/checkpoint/0":          nil,
		"-1":                                 content(`"700"`, "7"),
		"99999999999999999999999":            content(`"700"`, "7"),
		"dapr-hub-$Default-0":                content(`"700"`, "7"),
		"dapr-hub-$Default-other-$Default-1": content(`"700"`, "7"),
	})
	source["8"] = ops.SourceFile{} // deleted after it was listed
	source["9"] = ops.SourceFile{TooLarge: true, Time: noon.Add(time.Hour), LastModified: noon}
	store := memstore.New()
	checkpoint(t, store, "5", 6)
	plan := func(o ops.MigrateOptions) *ops.Plan {
		plan, err := ops.PlanMigrate(ctx, store, source, scope, o)
		require.NoError(t, err)
		return plan
	}
	golden(t, "migrations/traps.txt", describePlan(plan(ops.MigrateOptions{Layout: ops.LayoutGoTrack1})))
	golden(t, "migrations/traps-asked-for.txt", describePlan(plan(ops.MigrateOptions{Layout: ops.LayoutGoTrack1, MapStartToEarliest: true, Lower: true})))
	golden(t, "migrations/traps-of-dapr.txt", describePlan(plan(ops.MigrateOptions{Layout: ops.LayoutDapr})))
	golden(t, "migrations/nothing-found.txt", describePlan(plan(ops.MigrateOptions{Layout: ops.LayoutFunctions})))

	_, err := ops.PlanMigrate(ctx, store, source, scope, ops.MigrateOptions{Layout: "ruby"})
	require.ErrorContains(t, err, `unknown layout "ruby"`)
	_, err = ops.PlanMigrate(ctx, store, nil, scope, ops.MigrateOptions{Layout: ops.LayoutDapr})
	require.ErrorContains(t, err, "needs a source")
}

func TestMigrateRefusesALiveTarget(t *testing.T) {
	store := memstore.New()
	claim(t, store, "alice", "0")
	source := memorySourceOf(map[string][]byte{"0": []byte(`{"offset":"100","sequenceNumber":1}`)})
	plan, err := ops.PlanMigrate(ctx, store.Share(), source, scope, ops.MigrateOptions{Layout: ops.LayoutPythonEPH})
	require.NoError(t, err)
	require.Contains(t, plan.Changes[0].Warnings[0], `"alice" is live`)
	_, err = ops.Apply(ctx, store.Share(), plan, nil)
	require.ErrorIs(t, err, ops.ErrLive)
	require.Empty(t, positions(t, store))
}

func TestMigrateTypedNames(t *testing.T) {
	for _, direction := range []struct {
		naming   checkpointstore.BlobNaming
		own, old string
	}{
		{checkpointstore.BlobNamingLowerCase, lowerPrefix, typedPrefix},
		{checkpointstore.BlobNamingVerbatim, typedPrefix, lowerPrefix},
	} {
		t.Run("to "+string(direction.naming), func(t *testing.T) {
			service := fakeblob.New()
			store := blobStore(t, service.Client(), &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: direction.naming})
			service.SetClock(sequence())
			putCheckpoint(service, direction.old, "0", 5) // only there
			putCheckpoint(service, direction.old, "1", 5) // behind
			putCheckpoint(service, direction.own, "1", 7)
			putCheckpoint(service, direction.own, "2", 5) // ahead
			putCheckpoint(service, direction.old, "2", 7)
			putCheckpoint(service, direction.own, "3", 9) // behind, and written later
			putCheckpoint(service, direction.old, "3", 8)
			service.Put(direction.old+"checkpoint/4", map[string]string{"sequencenumber": "4"})
			service.Put(direction.old+"ownership/5", map[string]string{"ownerid": ""})
			putCheckpoint(service, direction.own, "6", 1)
			old := map[string]string{}
			for _, name := range service.Names() {
				if strings.HasPrefix(name, direction.old) {
					b, _ := service.Get(name)
					old[name] = b.ETag
				}
			}
			plan, err := ops.PlanMigrate(ctx, store, nil, scope, ops.MigrateOptions{Layout: ops.LayoutTypedNames})
			require.NoError(t, err)
			golden(t, "migrations/typed-names-to-"+string(direction.naming)+".txt", describePlan(plan))
			result, err := ops.Apply(ctx, store, plan, nil)
			require.NoError(t, err)
			require.Len(t, result.Changes, len(plan.Changes))
			require.Equal(t, map[string]int64{"0": 5, "1": 7, "2": 7, "3": 9, "6": 1}, ownPositions(t, store))
			for name, etag := range old {
				b, _ := service.Get(name)
				require.Equal(t, etag, b.ETag, "the source is as it was")
			}
			plan, err = ops.PlanMigrate(ctx, store, nil, scope, ops.MigrateOptions{Layout: ops.LayoutTypedNames})
			require.NoError(t, err)
			require.Empty(t, plan.Changes, "a second run changes nothing")

			for _, prefix := range []string{direction.own, direction.old} {
				service.Put(prefix+"ownership/1", map[string]string{"ownerid": "alice"})
				_, err = ops.PlanMigrate(ctx, store, nil, scope, ops.MigrateOptions{Layout: ops.LayoutTypedNames})
				require.ErrorIs(t, err, ops.ErrLive)
				service.Delete(prefix + "ownership/1")
			}
		})
	}
	plan, err := ops.PlanMigrate(ctx, memstore.New(), nil, scope, ops.MigrateOptions{Layout: ops.LayoutTypedNames})
	require.NoError(t, err)
	require.Contains(t, plan.Warnings[0], "give the names as they were typed")
}

// ownPositions are those under the store's own spelling.
func ownPositions(t *testing.T, store ops.Store) map[string]int64 {
	t.Helper()
	found := make(map[string]int64)
	for _, p := range read(t, store).Partitions {
		if p.Own != nil {
			found[p.ID] = *p.Own.SequenceNumber
		}
	}
	return found
}
