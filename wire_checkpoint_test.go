package checkpointstore_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"

	"github.com/ea947076/checkpointstore"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

var (
	unfenced = checkpointstore.BlobCheckpointStoreOptions{DisableFencing: true}
	verbatim = checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim}
	logged   = checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
)

// at is what a checkpoint blob holds.
func at(sequenceNumber int64) map[string]string {
	return map[string]string{"sequencenumber": fmt.Sprint(sequenceNumber), "offset": fmt.Sprint(sequenceNumber * 64)}
}

// stored puts a checkpoint and lets the store list it, so that there is a baseline.
func stored(sequenceNumber int64, injected ...faults.Fault) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		s.Put(checkpointPrefix+"0", at(sequenceNumber))
		list(store)
		for _, f := range injected {
			s.Inject(f)
		}
	}
}

// wrote lets the store write a checkpoint, and then somebody else do something.
func wrote(sequenceNumber int64, then func(*fake.Service)) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		if err := store.UpdateCheckpoint(context.Background(), checkpoint(group, "0", sequenceNumber), nil); err != nil {
			t.Fatal(err)
		}
		if then != nil {
			then(s)
		}
	}
}

func put(sequenceNumber int64) func(*fake.Service) {
	return func(s *fake.Service) { s.Put(checkpointPrefix+"0", at(sequenceNumber)) }
}

// list lets a store look at the checkpoints of the group. It panics if that fails.
func list(store checkpointstore.CheckpointStore) {
	if _, err := store.ListCheckpoints(context.Background(), namespace, hub, group, nil); err != nil {
		panic(err)
	}
}

// rewound lets the store claim, look and write, and an operator rewind.
func rewound(to int64) func(*testing.T, *fake.Service, *checkpointstore.BlobCheckpointStore) {
	return func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		claimOne(t, store, claim(group, "a", "0", nil))
		list(store)
		wrote(500, nil)(t, s, store)
		if err := newFakeStore(t, s, nil).UpdateCheckpoint(context.Background(), checkpoint(group, "0", to), rewind); err != nil {
			t.Fatal(err)
		}
	}
}

func enqueued(at string) *checkpointstore.UpdateCheckpointOptions {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		panic(err)
	}
	return &checkpointstore.UpdateCheckpointOptions{EnqueuedTime: &t}
}

func updating(sequenceNumber int64, options *checkpointstore.UpdateCheckpointOptions) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return doneText(store.UpdateCheckpoint(ctx, checkpoint(group, "0", sequenceNumber), options))
	}
}

var rewind = &checkpointstore.UpdateCheckpointOptions{Rewind: true}

var updateWires = []wire{
	{name: "steady state", before: wrote(500, nil), call: updating(510, nil)},
	{name: "the same position again", before: wrote(500, nil), call: updating(500, nil)},
	{name: "no baseline, no checkpoint", call: updating(510, nil)},
	{name: "no baseline, a checkpoint", before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) { put(500)(s) }, call: updating(510, nil)},
	{name: "listed, a checkpoint", before: stored(500), call: updating(510, nil)},
	{name: "listed, none", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		claimOne(t, store, claim(group, "a", "0", nil))
		list(store)
	}, call: updating(510, nil)},
	{name: "no offset", call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		c := checkpoint(group, "0", 1)
		c.Offset = nil
		return doneText(store.UpdateCheckpoint(ctx, c, nil))
	}},
	{name: "somebody else is behind", before: wrote(500, put(505)), call: updating(510, nil)},
	{name: "somebody else is at the same position", before: wrote(500, put(510)), call: updating(510, nil)},
	{name: "somebody else is ahead", before: wrote(500, put(800)), call: updating(510, nil)},
	{name: "somebody else is ahead, rewind", before: wrote(500, put(800)), call: updating(510, rewind)},
	{name: "somebody else wrote no sequence number", before: wrote(500, func(s *fake.Service) { s.Put(checkpointPrefix+"0", map[string]string{"offset": "1"}) }), call: updating(510, nil)},
	{name: "behind what this store wrote", before: wrote(500, nil), call: updating(490, nil)},
	{name: "behind what this store wrote, rewind", before: wrote(500, nil), call: updating(490, rewind)},
	{name: "behind what was only seen", before: stored(500), call: updating(3, nil)},
	{name: "rewound since, ahead", before: rewound(10), call: updating(510, nil)},
	{name: "rewound since, behind", before: rewound(600), call: updating(510, nil)},
	{name: "rewound since, behind what this store wrote", before: rewound(10), call: updating(490, nil)},
	{name: "rewound since, rewind", before: rewound(10), call: updating(20, rewind)},
	{name: "rewind, answer dropped, retry meets it", before: wrote(500, func(s *fake.Service) { s.Inject(faults.LoseResponse().Once()) }), call: updating(10, rewind)},
	{name: "rewind, answer dropped, rewound again since", before: wrote(500, func(s *fake.Service) {
		s.Inject(faults.LoseResponse().Once())
		s.Inject(faults.RunBefore(func() {
			s.Put(checkpointPrefix+"0", map[string]string{"sequencenumber": "5", "offset": "320", "generation": "2"})
		}).On(faults.OpIs(faults.GetProperties)).Once())
	}), call: updating(10, rewind)},
	{name: "the same sequence number, another offset, rewind", before: wrote(510, put(500)), call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		c := checkpoint(group, "0", 500)
		c.Offset = to.Ptr("other")
		return doneText(store.UpdateCheckpoint(ctx, c, rewind))
	}},
	{name: "with an enqueued time, by an owner", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		claimOne(t, store, claim(group, "a", "0", nil))
		list(store)
	}, call: updating(510, enqueued("2026-02-03T06:05:06.7894+02:00"))},
	{name: "an enqueued time that cannot be written", call: updating(510, enqueued("9999-12-31T23:59:59-12:00"))},
	{name: "$Default, nobody looked, ahead under the verbatim name", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		s.Put("ns.example/hub/$Default/checkpoint/0", at(900))
		claimOne(t, store, claim("$Default", "a", "0", nil))
	}, call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return doneText(store.UpdateCheckpoint(ctx, checkpoint("$Default", "0", 10), nil))
	}},
	{name: "$Default, nobody looked, behind under the verbatim name", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		s.Put("ns.example/hub/$Default/checkpoint/0", at(900))
		claimOne(t, store, claim("$Default", "a", "0", nil))
	}, call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return doneText(store.UpdateCheckpoint(ctx, checkpoint("$Default", "0", 901), nil))
	}},
	{name: "unfenced, rewind", options: unfenced, before: wrote(800, nil), call: updating(510, rewind)},
	{name: "deleted meanwhile", before: wrote(500, func(s *fake.Service) { s.Delete(checkpointPrefix + "0") }), call: updating(510, nil)},
	{name: "deleted meanwhile, answered with 412 as Azurite does", before: wrote(500, func(s *fake.Service) {
		s.Delete(checkpointPrefix + "0")
		s.Inject(faults.Status(412, "ConditionNotMet").On(faults.OpIs(faults.SetMetadata)).Once())
	}), call: updating(510, nil)},
	{name: "created by somebody else meanwhile, behind", before: func(t *testing.T, s *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		claimOne(t, store, claim(group, "a", "0", nil))
		list(store)
		put(505)(s)
	}, call: updating(510, nil)},
	{name: "answer dropped, retry meets it", before: wrote(500, func(s *fake.Service) { s.Inject(faults.LoseResponse().Once()) }), call: updating(510, nil)},
	{name: "every answer dropped", before: wrote(500, func(s *fake.Service) { s.Inject(faults.LoseResponse().On(faults.OpIs(faults.SetMetadata))) }), call: updating(510, nil)},
	{name: "every request reset", before: wrote(500, func(s *fake.Service) { s.Inject(faults.LoseRequest().On(faults.OpIs(faults.SetMetadata))) }), call: updating(510, nil)},
	{name: "first checkpoint, answer dropped, retry meets it", before: owned("a", 0, faults.LoseResponse().On(faults.OpIs(faults.PutBlob)).Once()), call: updating(510, nil)},
	{name: "leased", before: wrote(500, func(s *fake.Service) { s.Lease(checkpointPrefix + "0") }), call: updating(510, nil)},
	{name: "the container is missing", before: withoutContainer, call: updating(510, nil)},
	{name: "the container is deleted meanwhile", before: wrote(500, func(s *fake.Service) { s.DeleteContainer() }), call: updating(510, nil)},
	{name: "not authorized to write", before: wrote(500, func(s *fake.Service) { s.Inject(faults.Forbidden()) }), call: updating(510, nil)},
	{name: "not authorized to read", before: owned("a", 0, faults.Forbidden()), call: updating(510, nil)},
	{name: "without a sequence number", call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		c := checkpoint(group, "0", 1)
		c.SequenceNumber = nil
		return doneText(store.UpdateCheckpoint(ctx, c, nil))
	}},
	{name: "unfenced, no checkpoint", options: unfenced, call: updating(510, nil)},
	{name: "unfenced, first checkpoint, answer dropped, retry meets it", options: unfenced, before: owned("a", 0, faults.LoseResponse().On(faults.OpIs(faults.PutBlob)).Once()), call: updating(510, nil)},
	{name: "unfenced, behind", options: unfenced, before: wrote(800, nil), call: updating(510, nil)},
	{name: "unfenced, created by somebody else meanwhile", options: unfenced, before: whileCreating(put(800)), call: updating(510, nil)},
}

var checkpointWires = []wire{
	{name: "ListCheckpoints", before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.Put(checkpointPrefix+"0", at(500))
		s.Put(checkpointPrefix+"1", map[string]string{"sequencenumber": "7", "offset": "", "clientidentifier": "c"})
		s.Put(checkpointPrefix+"2", map[string]string{"SequenceNumber": "", "Offset": "64"})
		s.Put(checkpointPrefix+"3", map[string]string{"sequencenumber": "twelve"})
		s.Put(checkpointPrefix+"4", nil)
		s.Put(checkpointPrefix+"5/extra", at(1))
		s.PutDirectory(checkpointPrefix + "6")
	}, call: listingCheckpoints(group)},
	{name: "ListCheckpoints of nothing", call: listingCheckpoints(group)},
	{name: "ListCheckpoints, $Default", sorted: true, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.Put("ns.example/hub/$Default/checkpoint/0", at(500))
		s.Put("ns.example/hub/$default/checkpoint/1", at(600))
	}, call: listingCheckpoints("$Default")},
	{name: "ListCheckpoints, $Default, verbatim names ignored", options: checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingLowerCaseOnly}, call: listingCheckpoints("$Default")},
	{name: "ListCheckpoints, $Default, verbatim", options: verbatim, call: listingCheckpoints("$Default")},
	{name: "ListCheckpoints, the container is missing", before: withoutContainer, call: listingCheckpoints(group)},
	{name: "GetCheckpoint", before: stored(500), call: gettingCheckpoint(group)},
	{name: "GetCheckpoint, absent", call: gettingCheckpoint(group)},
	{name: "GetCheckpoint, $Default", sorted: true, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.Put("ns.example/hub/$Default/checkpoint/0", at(500))
	}, call: gettingCheckpoint("$Default")},
	{name: "ListCheckpoints, $Default, twice: an empty verbatim spelling is not read again so soon", sorted: true, call: func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		return listingCheckpoints("$Default")(ctx, store) + "\n=> " + listingCheckpoints("$Default")(ctx, store)
	}},
	{name: "ListCheckpoints never goes to the secondary", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Put(checkpointPrefix+"0", at(500))
		s.Inject(faults.Busy(0).On(faults.Host(primaryHost)))
	}, call: listingCheckpoints(group)},
	{name: "GetCheckpoint, the secondary has what the primary cannot serve", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Put(checkpointPrefix+"0", at(500))
		s.Inject(faults.Busy(0).On(faults.Host(primaryHost)))
	}, call: gettingCheckpoint(group)},
	{name: "GetCheckpoint, the primary is busy and the secondary has none", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Inject(faults.Busy(0).On(faults.Host(primaryHost)))
	}, call: gettingCheckpoint(group)},
	{name: "GetCheckpoint, absent at the secondary proves nothing", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Put(checkpointPrefix+"0", at(500))
		s.Inject(faults.Busy(0).Once())
		s.Inject(faults.Status(404, "BlobNotFound").On(faults.Host(secondaryHost)))
	}, call: gettingCheckpoint(group)},
	{name: "ListOwnership never goes to the secondary", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Inject(faults.Busy(0).On(faults.Host(primaryHost)))
	}, call: listingOwnership(group)},
	{name: "UpdateCheckpoint never goes to the secondary", options: secondaryOption, before: func(_ *testing.T, s *fake.Service, _ *checkpointstore.BlobCheckpointStore) {
		s.ServeSecondary(secondaryHost)
		s.Inject(faults.Busy(0).Limit(1))
	}, call: updating(510, nil)},
}

const (
	primaryHost   = "account.blob.core.windows.net"
	secondaryHost = "account-secondary.blob.core.windows.net"
)

var secondaryOption = checkpointstore.BlobCheckpointStoreOptions{SecondaryHost: secondaryHost}

func listingCheckpoints(group string) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		all, err := store.ListCheckpoints(ctx, namespace, hub, group, nil)
		text := fmt.Sprintf("%d checkpoints", len(all))
		for _, c := range all {
			text += " " + positionText(c)
		}
		return text + errorText(err)
	}
}

func gettingCheckpoint(group string) func(context.Context, *checkpointstore.BlobCheckpointStore) string {
	return func(ctx context.Context, store *checkpointstore.BlobCheckpointStore) string {
		c, err := store.GetCheckpoint(ctx, namespace, hub, group, "0", nil)
		return positionText(c) + errorText(err)
	}
}

func positionText(c checkpointstore.Checkpoint) string {
	sequenceNumber, offset := "none", "none"
	if c.SequenceNumber != nil {
		sequenceNumber = fmt.Sprint(*c.SequenceNumber)
	}
	if c.Offset != nil {
		offset = fmt.Sprintf("%q", *c.Offset)
	}
	return fmt.Sprintf("%s:%s/%s", c.PartitionID, sequenceNumber, offset)
}
