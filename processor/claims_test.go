package processor_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
)

// The owner's first win tells it the service's time. Without it, it would have to
// watch a dead owner's record for a whole expiration.
func TestOwnerThatStartsTakesWhatHasExpiredInItsSecondRound(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"same clock": 0, "service ahead": 10 * time.Minute, "service behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 3)
				f.eye = memstore.NewWithClock(func() time.Time { return time.Now().Add(ahead) })
				f.claimAs("dead", "0")
				pass(2 * expiration)
				f.claimAs("live", "1")
				f.start("a")
				pass(roundTime)
				require.Equal(t, map[string]string{"0": "a", "1": "live", "2": "a"}, f.owners())
			})
		})
	}
}

// Half of the time between two good lists is outage. The other half counts.
func TestPartitionOfADeadOwnerIsTakenThoughEverySecondListFails(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		f.claimAs("dead", "0")
		lists := 0
		f.start("a", func(s *settings) {
			s.options.Rand = rand.NewPCG(1, 1)
			s.owner.store.list = func(context.Context) error {
				if lists++; lists%2 == 0 {
					return errAway
				}
				return nil
			}
		})
		pass(expiration)
		require.Equal(t, "dead", f.owners()["0"])
		pass(2 * expiration)
		require.Equal(t, "a", f.owners()["0"])
	})
}

// While claims fail, the others cannot renew either: nobody expires, whenever the
// failures begin between the renewals of the one and the other.
func TestNobodyStealsWhenClaimsHaveFailed(t *testing.T) {
	for seed := uint64(260); seed < 290; seed++ { // with 278, one fails long before the other
		inBubble(t, 8, func(t *testing.T, f *fleet) {
			random := func(s *settings) { s.options.Rand = rand.NewPCG(seed, uint64(s.owner.name[0])) }
			a, b := f.start("a", random), f.start("b", random)
			pass(5 * roundTime)
			f.requireBalanced(8, "a", "b")
			owned := f.owners()
			for _, o := range []*owner{a, b} {
				o.store.set(func(s *faultyStore) { s.claim = failing(errAway) })
			}
			pass(4 * expiration)
			a.store.set(func(s *faultyStore) { s.claim = nil }) // a reaches the store first
			pass(roundTime)
			b.store.set(func(s *faultyStore) { s.claim = nil })
			pass(5 * roundTime)
			require.Equal(t, owned, f.owners(), "seed %d", seed)
			for _, id := range ids(8) {
				require.Equal(t, 1, f.hub.Links(id), "seed %d: partition %s was read on", seed, id)
			}
		})
	}
}

// What the service says of one blob says nothing of the others: what the dead had is
// taken in time. Other failures may be everybody's.
func TestOneBlobIsNoOutage(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		outage bool
	}{
		"leased":         {&azcore.ResponseError{StatusCode: 412, ErrorCode: "LeaseIdMissing"}, false},
		"refused":        {&azcore.ResponseError{StatusCode: 400, ErrorCode: "InvalidHeaderValue"}, false},
		"key is wrong":   {&azcore.ResponseError{StatusCode: 401}, true},
		"may only read":  {&azcore.ResponseError{StatusCode: 403}, true},
		"timeout":        {&azcore.ResponseError{StatusCode: 408}, true},
		"throttled":      {&azcore.ResponseError{StatusCode: 429}, true},
		"internal error": {&azcore.ResponseError{StatusCode: 500}, true},
		"busy":           {&azcore.ResponseError{StatusCode: 503}, true},
		"no answer":      {errAway, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, func(t *testing.T, f *fleet) {
				f.claimAs("dead", "0")
				f.start("a", func(s *settings) {
					s.options.Rand = rand.NewPCG(1, 1)
					s.owner.store.CheckpointStore = oneFails{s.owner.store.CheckpointStore, "1", c.err}
				})
				pass(expiration + 2*roundTime)
				owner := "a"
				if c.outage {
					owner = "dead"
				}
				require.Equal(t, map[string]string{"0": owner, "2": "a"}, f.owners())
			})
		})
	}
}

// oneFails is a store in which the claims of one partition fail.
type oneFails struct {
	checkpointstore.CheckpointStore
	partition string
	err       error
}

func (s oneFails) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	others := slices.DeleteFunc(slices.Clone(claims), func(c checkpointstore.Ownership) bool { return c.PartitionID == s.partition })
	won, err := s.CheckpointStore.ClaimOwnership(ctx, others, options)
	if err == nil && len(others) < len(claims) {
		err = &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{Op: "ClaimOwnership", PartitionID: s.partition, Err: s.err}}}
	}
	return won, err
}

// A lost claim makes the owner look again in the same round. One whose outcome is
// unknown does not: the store that did not answer it is not asked at once again.
func TestClaimWithUnknownOutcomeWaitsForTheNextRound(t *testing.T) {
	failed := &checkpointstore.Error{Op: "ClaimOwnership", PartitionID: "0"}
	for name, err := range map[string]error{
		"of the call":       errAway,
		"of each partition": &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{failed}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, f *fleet) {
				a := f.start("a", func(s *settings) { s.owner.store.claim = failing(err) })
				pass(opening)
				require.Equal(t, 1, a.store.count())
				pass(roundTime)
				require.Equal(t, 2, a.store.count())
			})
		})
	}
}

func TestStopDuringAReleaseClaimsNothingMore(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.claimAs("a", "0") // of an earlier process
		a := f.start("a", func(s *settings) {
			s.owner.store.claim = func(context.Context) error {
				s.owner.stop()
				return errAway
			}
		})
		<-a.ended
		require.NoError(t, a.err)
		require.Equal(t, 2, a.store.count(), "the release in the round, and the one of the stop")
		require.Len(t, f.records(), 1, "nothing else was claimed")
	})
}

// The end of a handler that outlasts its tenure is waited for without renewals: a
// claim on the changed record would begin a tenure in which it could still write.
func TestRecordThatSomebodyChangedIsNotRenewed(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		end := make(chan struct{})
		f.start("a", func(s *settings) {
			s.handler = func(context.Context, *processor.Partition) error { <-end; return nil }
		})
		pass(opening)
		f.claimAs("a", "0")
		changed := f.records()["0"]
		pass(expiration)
		require.Equal(t, changed, f.records()["0"])
		close(end)
	})
}

// A stop after a write with an unknown outcome looks for records that it may have
// left. Those of others are not its own.
func TestStopAfterAFailedRenewalReleasesOnlyItsOwn(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		a := f.start("a")
		f.start("b")
		pass(3 * roundTime)
		f.requireBalanced(4, "a", "b")
		owned := f.of("b")
		failed := make(chan struct{})
		a.store.set(func(s *faultyStore) {
			s.claim = func(context.Context) error { close(failed); return errAway }
		})
		<-failed
		a.store.set(func(s *faultyStore) { s.claim = nil })
		require.NoError(t, a.finish())
		require.Equal(t, owned, f.of("b"))
		require.Empty(t, f.of("a"))
	})
}

func TestListThatHangsIsGivenUp(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		causes := make(chan error, 1)
		a := f.start("a", func(s *settings) { s.handler = reporting(causes) })
		pass(opening)
		a.store.set(func(s *faultyStore) { s.list = hanging })
		pass(5*time.Minute + 3*roundTime)
		require.Len(t, causes, 1)
		require.ErrorIs(t, <-causes, processor.ErrOutage)
		a.store.set(func(s *faultyStore) { s.list = nil })
		pass(2 * roundTime)
		f.requireBalanced(1, "a")
	})
}

func TestFleetIsBalancedWithinThreeRounds(t *testing.T) {
	inBubble(t, 32, func(t *testing.T, f *fleet) {
		for _, name := range []string{"a", "b", "c"} {
			f.start(name)
		}
		pass(3 * roundTime)
		f.requireBalanced(32, "a", "b", "c")
		d := f.start("d")
		pass(3 * roundTime)
		f.requireBalanced(32, "a", "b", "c", "d")
		require.NoError(t, d.finish())
		pass(3 * roundTime)
		f.requireBalanced(32, "a", "b", "c")
	})
}

func TestSteadyRoundCostsOneListAndFewWrites(t *testing.T) {
	inBubble(t, 16, func(t *testing.T, f *fleet) {
		a := f.start("a")
		f.start("b")
		pass(5 * roundTime)
		f.requireBalanced(16, "a", "b")
		a.store.set(func(s *faultyStore) { s.lists, s.written = 0, 0 })
		const minutes = 60
		pass(minutes * time.Minute)
		require.InDelta(t, minutes*6, a.store.lists, minutes, "a list each 10 seconds")
		require.LessOrEqual(t, a.store.written, 8*minutes*3, "at most three renewals of a partition a minute")
		require.Greater(t, a.store.written, 8*minutes, "more than one, so that none expires")
		for _, id := range ids(16) {
			require.Equal(t, 1, f.hub.Links(id), "partition %s does not move", id)
		}
	})
}
