package processor_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// rounds calls an adapted store as an azeventhubs Processor does: a list and a claim
// in each round, and a claim in the end.
type rounds struct {
	*fleet
	owner string
	store *faultyStore
	azeventhubs.CheckpointStore
	log  *logText
	last []azeventhubs.Ownership // of the last finished round
}

func adaptedIn(f *fleet, owner string, options *processor.AdaptOptions) *rounds {
	return adaptedOn(&faultyStore{CheckpointStore: f.eye.Share()}, f, owner, options)
}

func adaptedOn(store *faultyStore, f *fleet, owner string, options *processor.AdaptOptions) *rounds {
	r := &rounds{fleet: f, owner: owner, store: store, log: &logText{}}
	if options == nil {
		options = &processor.AdaptOptions{}
	}
	options.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	r.CheckpointStore = processor.Adapt(r.store, options)
	return r
}

func (r *rounds) list() (map[string]azeventhubs.Ownership, error) {
	list, err := r.ListOwnership(r.t.Context(), processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup, nil)
	byID := make(map[string]azeventhubs.Ownership)
	for _, o := range list {
		byID[o.PartitionID] = o
	}
	return byID, err
}

// round claims partitions as the owner, and returns those won.
func (r *rounds) round(ctx context.Context, ids ...string) ([]string, error) {
	records, err := r.list()
	if err != nil {
		return nil, err
	}
	var claims []azeventhubs.Ownership
	for _, id := range ids {
		o := records[id]
		o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup = processortest.FullyQualifiedNamespace, processortest.EventHubName, processortest.ConsumerGroup
		o.PartitionID, o.OwnerID = id, r.owner
		claims = append(claims, o)
	}
	won, err := r.ClaimOwnership(ctx, claims, nil)
	if err != nil {
		return nil, err
	}
	r.last = won
	var wonIDs []string
	for _, o := range won {
		wonIDs = append(wonIDs, o.PartitionID)
	}
	return wonIDs, nil
}

func (r *rounds) mustRound(ids ...string) {
	r.t.Helper()
	won, err := r.round(r.t.Context(), ids...)
	require.NoError(r.t, err)
	require.ElementsMatch(r.t, ids, won)
}

// close is the end of a Processor.
func (r *rounds) close() error {
	for i := range r.last {
		r.last[i].OwnerID = ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := r.ClaimOwnership(ctx, r.last, nil)
	return err
}

func TestAdaptReleasesWhatItsProcessorOwns(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		a := adaptedIn(f, "a", nil)
		b := adaptedOn(a.store, f, "b", nil)
		a.mustRound("0", "1")
		b.mustRound("2")
		require.NoError(t, a.close())
		require.Equal(t, map[string]string{"2": "b"}, f.owners())
		a.mustRound("0") // of the next Processor
		require.NoError(t, a.close())
		require.Equal(t, map[string]string{"2": "b"}, f.owners())
	})
}

func TestAdaptReleasesWhatAnInterruptedRoundWon(t *testing.T) {
	for name, first := range map[string][]string{"nothing named": nil, "everything named was stolen": {"0"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 4, func(t *testing.T, f *fleet) {
				a := adaptedIn(f, "a", nil)
				if len(first) > 0 {
					a.mustRound(first...)
					f.claimAs("b", first...)
				}
				real := a.store.CheckpointStore
				ctx, stop := context.WithCancel(t.Context())
				a.store.set(func(s *faultyStore) { s.CheckpointStore = interrupted{real, stop} })
				_, err := a.round(ctx, "1", "2")
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, []string{"1", "2"}, f.of("a"))
				a.store.set(func(s *faultyStore) { s.CheckpointStore = real })
				require.NoError(t, a.close())
				require.Empty(t, f.of("a"))
				require.ElementsMatch(t, first, f.of("b"))
			})
		})
	}
}

// interrupted is a store whose first claims of several partitions are stored and not
// answered, because the owner is told to stop.
type interrupted struct {
	checkpointstore.CheckpointStore
	stop func()
}

func (i interrupted) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	won, err := i.CheckpointStore.ClaimOwnership(ctx, claims, options)
	if len(claims) > 1 && claims[0].OwnerID != "" {
		i.stop()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return won, err
}

func TestAdaptIsForOneOwner(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := adaptedIn(f, "a", nil)
		a.mustRound("0")
		a.owner = "b"
		_, err := a.round(t.Context(), "1")
		require.ErrorContains(t, err, `"a"`)
		require.ErrorContains(t, err, `"b"`)
		require.Equal(t, map[string]string{"0": "a"}, f.owners())
	})
}

// A second Processor on the adapter is refused, and ends. Its release is not that of
// the first one, which goes on.
func TestAdaptDoesNotReleaseForAnotherProcessor(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, a, b *rounds){
		"refused": func(t *testing.T, _, b *rounds) {
			_, err := b.round(t.Context(), "1")
			require.Error(t, err)
		},
		"refused in a round of the first one": func(t *testing.T, a, b *rounds) {
			records, err := a.list()
			require.NoError(t, err)
			_, err = b.round(t.Context(), "1")
			require.Error(t, err)
			won, err := a.ClaimOwnership(t.Context(), []azeventhubs.Ownership{records["0"]}, nil)
			require.NoError(t, err)
			require.Len(t, won, 1)
		},
		"stopped before it claimed": func(t *testing.T, _, b *rounds) {
			_, err := b.list()
			require.NoError(t, err)
		},
		"with nothing to claim": func(t *testing.T, _, b *rounds) { b.mustRound() },
		"without a round":       func(*testing.T, *rounds, *rounds) {},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, f *fleet) {
				a := adaptedIn(f, "a", nil)
				b := &rounds{fleet: f, owner: "b", store: a.store, CheckpointStore: a.CheckpointStore, log: a.log}
				a.mustRound("0")
				before(t, a, b)
				require.Equal(t, map[string]string{"0": "a"}, f.owners())
				require.NoError(t, b.close())
				require.Equal(t, map[string]string{"0": "a"}, f.owners())
				a.mustRound("0", "1")
				require.Equal(t, ids(2), f.of("a"))
				require.NoError(t, a.close())
				require.Empty(t, f.owners())
			})
		})
	}
}

// The release of a Processor is its release though another one was refused meanwhile.
func TestAdaptReleasesThoughAnotherProcessorListed(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := adaptedIn(f, "a", nil)
		a.mustRound("0")
		_, err := a.list() // of the other one
		require.NoError(t, err)
		require.NoError(t, a.close())
		require.Empty(t, f.owners())
	})
}

func TestAdaptKeepsPassingErrorsOfClaimsAway(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := adaptedIn(f, "a", nil)
		a.store.claim = failing(errAway)
		won, err := a.round(t.Context(), "0")
		require.NoError(t, err)
		require.Empty(t, won)
		require.NotEmpty(t, a.log.at(slog.LevelWarn))
		denied := &checkpointstore.Error{Kind: checkpointstore.ErrNotAuthorized}
		a.store.set(func(s *faultyStore) { s.claim = failing(denied) })
		_, err = a.round(t.Context(), "0")
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	})
}

func TestAdaptServesTheLastListInAnOutage(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := adaptedIn(f, "a", nil)
		f.claimAs("b", "1")
		a.mustRound("0")
		a.store.list = failing(errAway)
		for range 25 { // four minutes
			pass(interval)
			records, err := a.list()
			require.NoError(t, err)
			_, _ = a.ClaimOwnership(t.Context(), nil, nil)
			require.Less(t, time.Since(records["1"].LastModifiedTime), expiration, "looks alive")
		}
		require.Len(t, a.log.at(slog.LevelWarn), 1)
		a.store.set(func(s *faultyStore) { s.list = nil })
		records, err := a.list()
		require.NoError(t, err)
		require.Less(t, time.Since(records["1"].LastModifiedTime), expiration, "an outage is no expiry")
		a.store.set(func(s *faultyStore) { s.list = failing(errAway) })
		pass(6 * time.Minute)
		_, err = a.list()
		require.ErrorIs(t, err, errAway, "not for ever")
	})
}

func TestAdaptLetsNobodyExpireWhileClaimsFail(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.claimAs("b", "1")
		a := adaptedIn(f, "a", nil)
		a.mustRound("0")
		pass(interval)
		a.store.set(func(s *faultyStore) { s.claim = failing(errAway) })
		for range 20 {
			_, err := a.round(t.Context(), "0")
			require.NoError(t, err)
			pass(interval)
		}
		a.store.set(func(s *faultyStore) { s.claim = nil })
		records, err := a.list()
		require.NoError(t, err)
		require.Less(t, time.Since(records["1"].LastModifiedTime), expiration/2, "b could not renew either")
		a.mustRound("0")
		for range 5 {
			pass(interval)
			a.mustRound("0")
		}
		records, err = a.list()
		require.NoError(t, err)
		require.Greater(t, time.Since(records["1"].LastModifiedTime), expiration/2, "it has not renewed since")
	})
}

func TestAdaptHidesRecordsOfOtherPartitions(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.claimAs("old", "0", "7", "readme")
		a := adaptedIn(f, "a", nil)
		records, err := a.list()
		require.NoError(t, err)
		require.Len(t, records, 2, "not the one that is no number")
		b := adaptedIn(f, "b", &processor.AdaptOptions{PartitionIDs: ids(2)})
		records, err = b.list()
		require.NoError(t, err)
		require.Len(t, records, 1)
		require.Contains(t, records, "0")
	})
}

func TestAdaptWithoutALoggerWarnsTheDefaultOne(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		text := &logText{}
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(text, nil)))
		defer slog.SetDefault(before)
		s := &faultyStore{CheckpointStore: f.eye}
		a := &rounds{fleet: f, owner: "a", store: s, CheckpointStore: processor.Adapt(s, nil)}
		s.claim = failing(errAway)
		_, err := a.round(t.Context(), "0")
		require.NoError(t, err)
		require.NotEmpty(t, text.at(slog.LevelWarn))
	})
}
