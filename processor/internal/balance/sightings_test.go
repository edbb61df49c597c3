package balance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// store is the service as one owner sees it: its clock runs ahead of the owner's
// wall clock by ahead.
type store struct {
	Sightings
	now     time.Duration // since the beginning
	ahead   time.Duration
	records map[string]checkpointstore.Ownership
	writes  int
}

var beginning = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newStore(ahead time.Duration) *store {
	return &store{
		Sightings: Sightings{UpdateInterval: updateInterval, Expiration: expiration, MaxOutage: maxOutage},
		ahead:     ahead,
		records:   make(map[string]checkpointstore.Ownership),
	}
}

func (s *store) clock() time.Time { return beginning.Add(s.now) }

// put writes a record as it was written some time ago.
func (s *store) put(p, ownerID string, age time.Duration) checkpointstore.Ownership {
	return s.putAt(p, ownerID, s.clock().Add(s.ahead-age).Truncate(time.Second))
}

func (s *store) putAt(p, ownerID string, modified time.Time) checkpointstore.Ownership {
	s.writes++
	etag := azcore.ETag(fmt.Sprint("0x", s.writes))
	s.records[p] = checkpointstore.Ownership{PartitionID: p, OwnerID: ownerID, ETag: &etag, LastModifiedTime: modified}
	return s.records[p]
}

// win is a claim of the owner that looks.
func (s *store) win(p string) { s.Won(s.clock(), s.put(p, "me", 0)) }

// list lists, which takes no time.
func (s *store) list() { s.listFor(0) }

func (s *store) listFor(took time.Duration) {
	asked := s.clock()
	s.now += took
	var records []checkpointstore.Ownership
	for _, o := range s.records {
		records = append(records, o)
	}
	s.Listed(asked, s.clock(), records)
}

// rounds lists every ten seconds, for a time.
func (s *store) rounds(d time.Duration) {
	for end := s.now + d; s.now < end; {
		s.now += updateInterval
		s.list()
	}
}

// of is what the view says about a partition.
func (s *store) of(p string) Record {
	for _, r := range s.View(s.clock(), "me", []string{p}).Records {
		return r
	}
	return Record{}
}

// clocks are how far the service's clock is ahead of the machine's. None of the
// tests that range over them may depend on it.
var clocks = []time.Duration{0, 10 * time.Minute, -10 * time.Minute, 3 * time.Hour}

func eachClock(t *testing.T, test func(t *testing.T, s *store)) {
	for _, ahead := range clocks {
		t.Run(ahead.String(), func(t *testing.T) { test(t, newStore(ahead)) })
	}
}

func TestWinTellsTheTime(t *testing.T) {
	eachClock(t, func(t *testing.T, s *store) {
		s.put("dead", "other", 2*time.Hour)
		s.put("live", "other", 20*time.Second)
		s.list()
		require.False(t, s.of("dead").Expired, "nothing is known of the service's time")
		s.win("mine")
		require.Equal(t, 2*time.Hour-resolution, s.of("dead").Age)
		require.True(t, s.of("dead").Expired)
		require.Equal(t, 20*time.Second-resolution, s.of("live").Age)

		s.put("late", "other", 30*time.Second)
		s.rounds(10 * time.Second)
		require.Equal(t, 40*time.Second-resolution, s.of("late").Age, "the win still tells the time")
	})
}

func TestUnchangedRecordExpires(t *testing.T) {
	eachClock(t, func(t *testing.T, s *store) {
		s.put("0", "other", 5*time.Minute)
		s.list()
		s.rounds(expiration)
		require.Equal(t, expiration, s.of("0").Age)
		require.False(t, s.of("0").Expired)
		s.rounds(updateInterval)
		require.True(t, s.of("0").Expired)

		s.put("0", "other", 0)
		s.list()
		require.False(t, s.of("0").Expired, "it was renewed")
	})
}

// An owner that renews is never taken for expired, and one that does not is, as
// soon as it can be.
func TestOnlyTheDeadExpire(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 6))
		s := newStore(time.Duration(r.Int64N(int64(time.Hour))) - 30*time.Minute)
		wrote := make(map[string]time.Duration)
		for range 100 {
			for _, p := range []string{"0", "1", "2", "3"} {
				if s.now-wrote[p] > expiration/3 && r.IntN(12) > 0 || wrote[p] == 0 {
					s.put(p, "other", 0)
					wrote[p] = s.now + 1
				}
			}
			s.listFor(time.Duration(r.Int64N(int64(time.Second))))
			if r.IntN(3) == 0 {
				s.win("mine")
			}
			for p, at := range wrote {
				age := s.now - at
				rec := s.of(p)
				require.LessOrEqual(t, rec.Age, age+1, "seed %d", seed)
				require.Equal(t, rec.Age > expiration, rec.Expired)
				if age > expiration+30*time.Second {
					require.True(t, rec.Expired, "seed %d: age %v is proved to be %v", seed, age, rec.Age)
				}
			}
			s.now += 8*time.Second + time.Duration(r.Int64N(int64(5*time.Second)))
		}
	}
}

func TestOutageDoesNotCount(t *testing.T) {
	eachClock(t, func(t *testing.T, s *store) {
		s.win("mine")
		s.put("old", "other", 20*time.Second)
		s.list()
		s.now += 5 * time.Second
		s.put("new", "other", 0) // not seen before the outage
		s.now += 5 * time.Second
		s.Unreachable(s.clock())
		s.now += 2 * time.Minute
		s.Unreachable(s.clock())
		s.now += 2 * time.Minute
		s.list()
		require.Equal(t, 30*time.Second-resolution, s.of("old").Age)
		require.LessOrEqual(t, s.of("new").Age, 5*time.Second)
		require.Greater(t, s.of("mine").Age, 4*time.Minute, "own renewals are due after an outage")
		s.rounds(40 * time.Second)
		require.True(t, s.of("old").Expired)
		require.False(t, s.of("new").Expired)
	})
}

// Others may have failed to renew since this owner's last win, though all lists were
// good.
func TestWritesThatFailed(t *testing.T) {
	eachClock(t, func(t *testing.T, s *store) {
		s.put("old", "other", 25*time.Second)
		s.put("free", "", 0)
		s.list()
		s.win("mine")
		s.rounds(updateInterval)
		s.put("new", "other", 0)
		s.rounds(2 * updateInterval)
		require.Equal(t, 55*time.Second-resolution, s.of("old").Age)
		require.Equal(t, 2*updateInterval-resolution, s.of("new").Age)
		for range 10 {
			s.Unwritable()
			s.rounds(updateInterval)
		}
		require.Equal(t, 25*time.Second-resolution, s.of("old").Age)
		require.LessOrEqual(t, s.of("new").Age, updateInterval)
		require.Equal(t, 2*time.Minute+10*time.Second, s.of("mine").Age, "own renewals are due")
		s.win("mine")
		s.rounds(40 * time.Second)
		require.True(t, s.of("old").Expired)
		require.False(t, s.of("new").Expired)
	})
	t.Run("an owner that seldom writes", func(t *testing.T) {
		s := newStore(0)
		s.put("0", "other", 0)
		s.win("mine")
		s.list()
		s.rounds(expiration)
		require.False(t, s.of("0").Expired)
		s.Unwritable()
		s.rounds(updateInterval)
		require.Equal(t, expiration-expiration/3-updateInterval*6/5, s.of("0").Age, "one renewal's time does not count")
		s.Unwritable()
		s.rounds(2 * updateInterval)
		require.Equal(t, expiration-expiration/3-updateInterval*6/5+updateInterval, s.of("0").Age, "the time before is counted once")
	})
	t.Run("the others are not blamed", func(t *testing.T) {
		s := newStore(0)
		for i := range 4 {
			s.win(fmt.Sprint(i))
		}
		s.put("4", "other", 0)
		require.Empty(t, watched(s, takePatience, nil).LeaveFree)
		s.Unwritable()
		require.Empty(t, watched(s, takePatience, nil).LeaveFree)
		require.Len(t, watched(s, 1, nil).LeaveFree, 1)
	})
}

// However often lists fail, a record expires when it is older than the
// expiration and MaxOutage, at the next good list.
func TestOutagesAreBounded(t *testing.T) {
	for name, cycle := range map[string]func(s *store){
		"seven failed lists for each good one": func(s *store) {
			for range 7 {
				s.Unreachable(s.clock())
				s.now += 30 * time.Second
			}
			s.now += updateInterval
			s.list()
		},
		"every other list fails": func(s *store) {
			s.Unreachable(s.clock())
			s.now += 30 * time.Second
			s.list()
			s.now += time.Second
		},
		"lists are slow":  func(s *store) { s.listFor(2 * time.Minute); s.now += updateInterval },
		"rounds are slow": func(s *store) { s.now += 3 * time.Minute; s.list() },
		"one long outage": func(s *store) { s.Unreachable(s.clock()); s.now += maxOutage + expiration + 1; s.list() },
		"writes all fail": func(s *store) { s.Unwritable(); s.now += updateInterval; s.list() },
		"every third round's writes fail": func(s *store) {
			s.rounds(2 * updateInterval)
			s.Unwritable()
			s.rounds(updateInterval)
		},
		"nothing is wrong": func(s *store) { s.now += updateInterval; s.list() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, wins := range []bool{true, false} {
				s := newStore(0)
				if wins {
					s.win("mine")
				}
				s.put("0", "other", 0)
				s.list()
				died, cycles := s.now, 0
				for !s.of("0").Expired {
					before := s.now
					cycle(s)
					cycles++
					require.LessOrEqual(t, before-died, expiration+maxOutage, "not expired after %d cycles", cycles)
				}
			}
		})
	}
}

func TestPauseCountsLittle(t *testing.T) {
	s := newStore(0)
	s.win("mine")
	s.put("old", "other", 30*time.Second)
	s.list()
	s.put("new", "other", 0)
	s.now += 4 * time.Minute
	s.list()
	require.Equal(t, 35*time.Second-resolution, s.of("old").Age)
	require.LessOrEqual(t, s.of("new").Age, 5*time.Second, "it may have been held up as well")
}

// What a list that hung does not show yet may have been written before it hung.
func TestListThatHung(t *testing.T) {
	s := newStore(0)
	s.win("mine")
	s.rounds(updateInterval)
	asked := s.clock()
	s.put("0", "other", 0)
	s.now += 3 * time.Minute
	s.Listed(asked, s.clock(), []checkpointstore.Ownership{s.records["mine"]})
	s.rounds(updateInterval)
	require.LessOrEqual(t, s.of("0").Age, updateInterval)
	s.rounds(expiration)
	require.True(t, s.of("0").Expired)
}

// A time that no store stamps does no harm: not that the record expires at once,
// nor that it never does, nor that others do.
func TestNonsenseTimes(t *testing.T) {
	for name, at := range map[string]time.Time{
		"zero":       {},
		"Unix epoch": time.Unix(0, 0),
		"future":     beginning.AddDate(80, 0, 0),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(0)
			s.win("mine")
			s.putAt("odd", "other", at)
			s.put("live", "other", 0)
			s.Won(s.clock(), s.putAt("mine too", "me", at))
			s.list()
			require.False(t, s.of("odd").Expired)
			require.False(t, s.of("live").Expired)
			s.put("live", "other", 0)
			s.rounds(expiration)
			require.False(t, s.of("odd").Expired)
			s.put("live", "other", 0)
			s.rounds(updateInterval)
			require.True(t, s.of("odd").Expired)
			require.False(t, s.of("live").Expired)
			require.False(t, s.of("mine too").Age < expiration, "it is due")
		})
	}
}

func TestOldWinTellsNothing(t *testing.T) {
	s := newStore(0)
	s.win("mine")
	s.rounds(winCounts + updateInterval)
	s.put("0", "other", 5*time.Minute)
	s.list()
	require.Zero(t, s.of("0").Age, "the clocks may have drifted apart")
	s.win("mine")
	require.Greater(t, s.of("0").Age, 4*time.Minute)
}

// A machine that slept, with its monotonic clock, finds the service's time ahead
// of what it thought. Records that it knew do not become older by that.
func TestClockThatStoodStill(t *testing.T) {
	s := newStore(0)
	s.win("mine")
	s.put("0", "other", 10*time.Second)
	s.list()
	s.ahead += time.Hour
	s.now += updateInterval
	s.list()
	s.win("mine")
	require.Equal(t, 20*time.Second-resolution, s.of("0").Age)
	s.put("1", "other", 20*time.Second)
	s.list()
	require.Equal(t, 20*time.Second-resolution, s.of("1").Age)
}

func TestQuotedETag(t *testing.T) {
	s := newStore(0)
	s.list()
	o := s.put("0", "me", 0)
	quoted := azcore.ETag(`"` + string(*o.ETag) + `"`)
	won := o
	won.ETag = &quoted
	s.Won(s.clock(), won)
	s.rounds(30 * time.Second)
	require.Equal(t, 30*time.Second, s.Age(s.clock(), o), "the list leaves the quotes out")
	require.Equal(t, 30*time.Second, s.Age(s.clock(), won))
	other := s.put("0", "other", 0)
	require.Zero(t, s.Age(s.clock(), other), "not in the last list")
}

// watched runs rounds on a hub of 8 partitions, or as many as there are records,
// and returns the last view.
func watched(s *store, rounds int, each func(round int)) View {
	var hub []string
	var v View
	for i := range rounds {
		if each != nil {
			each(i)
		}
		hub = hub[:0]
		for p := range max(8, len(s.records)) {
			hub = append(hub, fmt.Sprint(p))
		}
		s.list()
		v = s.View(s.clock(), "me", hub)
		s.now += updateInterval
	}
	return v
}

func TestOwnerThatKeepsItsSurplus(t *testing.T) {
	fill := func(s *store, n int) {
		s.win("0")
		for i := 1; i <= n; i++ {
			s.put(fmt.Sprint(i), "other", 0)
		}
	}
	t.Run("is known after three rounds", func(t *testing.T) {
		s := newStore(0)
		fill(s, 7)
		require.Empty(t, watched(s, patience, nil).KeepSurplus)
		require.Equal(t, []string{"other"}, watched(s, 1, nil).KeepSurplus)
	})
	t.Run("not one whose share becomes smaller and smaller", func(t *testing.T) {
		s := newStore(0)
		fill(s, 7)
		require.Empty(t, watched(s, 5, func(round int) {
			// Newcomers join in each round, after it came down to its share.
			held, newcomers := []int{15, 8, 6, 4, 3}[round], []int{0, 1, 2, 4, 6}[round]
			for i := 1; i <= held; i++ {
				s.put(fmt.Sprint(i), "other", 0)
			}
			for i := held + 1; i < 16; i++ {
				s.put(fmt.Sprint(i), "", 0)
			}
			for i := range newcomers {
				s.put(fmt.Sprint(15-i), fmt.Sprint("newcomer", i), 0)
			}
		}).KeepSurplus)
	})
	t.Run("not during an outage", func(t *testing.T) {
		s := newStore(0)
		fill(s, 7)
		require.Empty(t, watched(s, 2, func(round int) {
			if round == 1 {
				s.Unreachable(s.clock())
				s.now += 2 * time.Minute
			}
		}).KeepSurplus)
	})
	t.Run("not by an owner that nobody sees", func(t *testing.T) {
		s := newStore(0)
		fill(s, 7)
		s.put("0", "", 0)
		require.Empty(t, watched(s, 5, nil).KeepSurplus)
	})
}

func TestOwnerThatLeavesPartitionsFree(t *testing.T) {
	fill := func(s *store) {
		for i := range 4 {
			s.win(fmt.Sprint(i))
		}
		s.put("4", "other", 0)
	}
	t.Run("is known after two rounds, until it has its share", func(t *testing.T) {
		s := newStore(0)
		fill(s)
		require.Empty(t, watched(s, takePatience, nil).LeaveFree)
		v := watched(s, 1, nil)
		require.Equal(t, []string{"other"}, v.LeaveFree)
		require.Len(t, v.Decide(rand.New(rand.NewPCG(1, 1))).Claim, 3, "what it leaves is claimed")
		for i := 5; i < 8; i++ {
			require.Len(t, watched(s, 1, nil).LeaveFree, 1)
			s.put(fmt.Sprint(i), "other", 0)
		}
		require.Empty(t, watched(s, 1, nil).LeaveFree)
	})
	t.Run("not one that does not renew", func(t *testing.T) {
		s := newStore(0)
		fill(s)
		s.put("4", "other", expiration/2)
		v := watched(s, 3, nil)
		require.Empty(t, v.LeaveFree)
		require.False(t, slices.ContainsFunc(v.Records, func(r Record) bool { return r.Expired }))
	})
	t.Run("not one whose share becomes larger and larger", func(t *testing.T) {
		s := newStore(0)
		require.NotContains(t, watched(s, 4, func(round int) {
			if round == 0 {
				for i := range 16 {
					s.put(fmt.Sprint(i), "", 0)
				}
			}
			// Owners go in each round, after it came up to its share.
			for i := range 4 {
				s.win(fmt.Sprint(i))
			}
			held, others := []int{1, 2, 3, 4}[round], []int{6, 3, 2, 1}[round]
			for i := 4; i < 4+held; i++ {
				s.put(fmt.Sprint(i), "other", 0)
			}
			for i := range 6 {
				owner := fmt.Sprint("leaving", i)
				if i >= others {
					owner = ""
				}
				s.put(fmt.Sprint(8+i), owner, 0)
			}
		}).LeaveFree, "other")
	})
}
