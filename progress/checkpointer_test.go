package progress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/progress"
)

var errThrottled = errors.New("503 ServerBusy")

// kind is an error as a store returns it.
func kind(err error) error {
	return &checkpointstore.Error{Op: "UpdateCheckpoint", PartitionID: "0", Kind: err}
}

// storage is what a Checkpointer writes to: it keeps every attempt, and answers
// as it is told, at once and well by default.
type storage struct {
	start time.Time

	mu       sync.Mutex
	reply    func(ctx context.Context, p progress.Position) error
	attempts []entry
	under    int // attempts under way
	stored   int64
}

// entry is one attempt, with the time since the start.
type entry struct {
	at       time.Duration
	position int64
}

func newStorage() *storage { return &storage{start: time.Now(), stored: -1} }

func (s *storage) write(ctx context.Context, p progress.Position) error {
	s.mu.Lock()
	s.attempts = append(s.attempts, entry{time.Since(s.start), p.SequenceNumber})
	s.under++
	if s.under > 1 {
		panic("two writes of a partition at once")
	}
	reply := s.reply
	s.mu.Unlock()
	var err error
	if reply != nil {
		err = reply(ctx, p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under--
	if err == nil {
		if p.SequenceNumber <= s.stored {
			panic("written lower than before")
		}
		s.stored = p.SequenceNumber
	}
	return err
}

// replies makes the storage answer the next attempts with errs, and then well.
func (s *storage) replies(errs ...error) {
	s.answers(func(context.Context, progress.Position) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	})
}

func (s *storage) answers(reply func(context.Context, progress.Position) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *storage) log() []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]entry{}, s.attempts...)
}

func (s *storage) last() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored
}

// sleep is time that passes at the storage, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func hangs(ctx context.Context, _ progress.Position) error {
	<-ctx.Done()
	return ctx.Err()
}

// options are those of the tests, where not said otherwise.
func options() *progress.CheckpointerOptions {
	return &progress.CheckpointerOptions{Events: 100, Interval: 5 * time.Second, FlushTimeout: 10 * time.Second, MinBackoff: time.Second, MaxBackoff: 8 * time.Second}
}

// checkpointed runs f in a bubble, with a Checkpointer that f may close. A
// goroutine that is left fails the test.
func checkpointed(t *testing.T, o *progress.CheckpointerOptions, f func(t *testing.T, s *storage, c *progress.Checkpointer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newStorage()
		c := progress.NewCheckpointer(s.write, o)
		defer func() {
			c.Close(context.Background())
			<-c.Stopped()
		}()
		f(t, s, c)
	})
}

type valueKey struct{}

// ended is a context that was cancelled, with a value.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), valueKey{}, "value"))
	cancel()
	return ctx
}

func TestTheLatestPositionIsWrittenAfterTheInterval(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		for i := range int64(99) {
			c.Update(at(i), 1)
		}
		require.Equal(t, 99, c.Stats().Unwritten)
		time.Sleep(4 * time.Second)
		c.Update(at(98), 1) // neither again
		c.Update(at(3), 1)  // nor back
		require.Empty(t, s.log())
		require.Equal(t, 4*time.Second, c.Stats().UnwrittenAge)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []entry{{5 * time.Second, 98}}, s.log())
		require.Equal(t, progress.CheckpointerStats{Written: 1, Coalesced: 100, Last: at(98), LastTime: time.Now()}, c.Stats())
		time.Sleep(time.Hour)
		require.NoError(t, c.Close(context.Background()))
		require.Len(t, s.log(), 1) // once is enough
	})
}

func TestTheLatestPositionIsWrittenAfterEvents(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		for i := range int64(10) {
			synctest.Wait()
			require.Empty(t, s.log())
			c.Update(at(i), 10)
		}
		synctest.Wait()
		require.Equal(t, []entry{{0, 9}}, s.log())
		c.Update(at(20), 250)
		synctest.Wait()
		require.Equal(t, []entry{{0, 9}, {0, 20}}, s.log())
		c.Update(at(21), -1) // counts as one
		require.Equal(t, 1, c.Stats().Unwritten)
	})
}

func TestPositionsOfAWriteUnderWayAreTheNextWrite(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error { return sleep(ctx, 3*time.Second) })
		c.Update(at(1), 100)
		synctest.Wait()
		c.Update(at(2), 500) // due, and waits
		time.Sleep(time.Second)
		require.Len(t, s.log(), 1)
		require.Equal(t, 600, c.Stats().Unwritten)
		require.Equal(t, time.Second, c.Stats().UnwrittenAge)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []entry{{0, 1}, {3 * time.Second, 2}}, s.log())
		require.Equal(t, 500, c.Stats().Unwritten)
		require.Equal(t, 3*time.Second, c.Stats().UnwrittenAge)
	})
}

func TestAFailedPositionIsTriedAgainWithBackoff(t *testing.T) {
	o := options()
	o.Interval = time.Millisecond
	checkpointed(t, o, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(context.Context, progress.Position) error { return errThrottled })
		c.Update(at(1), 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		log := s.log()
		require.Greater(t, len(log), 8)
		for i, e := range log[1:] {
			longest := min(time.Second<<i, 8*time.Second)
			require.GreaterOrEqual(t, e.at-log[i].at, longest/2, "%d", i)
			require.LessOrEqual(t, e.at-log[i].at, longest, "%d", i)
			require.EqualValues(t, 1, e.position)
		}
		require.EqualValues(t, len(log), c.Stats().Failed)
		require.ErrorIs(t, c.Stats().LastErr, errThrottled)

		// Neither Events nor a later position shortens the back-off.
		c.Update(at(2), 1000)
		synctest.Wait()
		require.Len(t, s.log(), len(log))

		s.replies()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 2, s.last())
		require.NoError(t, c.Stats().LastErr)
		require.EqualValues(t, 1, c.Stats().Written)
		require.EqualValues(t, 1, c.Stats().Coalesced)

		// After a success the back-off starts from the beginning.
		n := len(s.log())
		s.replies(errThrottled)
		c.Update(at(3), 1)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		require.Len(t, s.log(), n+2)
	})
}

func TestAWriteThatHangsEndsWithItsTimeout(t *testing.T) {
	o := options()
	o.WriteTimeout = 7 * time.Second
	checkpointed(t, o, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(hangs)
		c.Update(at(1), 100)
		time.Sleep(7*time.Second - time.Nanosecond)
		require.Zero(t, c.Stats().Failed)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.ErrorIs(t, c.Stats().LastErr, context.DeadlineExceeded)
		s.replies()
		time.Sleep(time.Second)
		synctest.Wait()
		require.EqualValues(t, 1, s.last())
	})
}

func TestAStalePositionIsNotTriedAgain(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.replies(kind(checkpointstore.ErrStaleCheckpoint))
		c.Update(at(1), 100)
		time.Sleep(time.Hour)
		require.Len(t, s.log(), 1)
		require.NoError(t, c.Err())
		require.EqualValues(t, 1, c.Stats().Stale)
		require.Zero(t, c.Stats().Unwritten)

		c.Update(at(2), 100) // the owner goes on
		synctest.Wait()
		require.EqualValues(t, 2, s.last())
	})
}

func TestARewindEndsTheWritingAtOnce(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		s.answers(func(ctx context.Context, p progress.Position) error {
			return errors.Join(sleep(ctx, time.Second), kind(checkpointstore.ErrRewound))
		})
		p := begin(t, tracker, 1)
		c.Update(at(0), 100)
		time.Sleep(time.Second / 2)
		p.Done() // given up with the rest
		select {
		case <-c.Stopped():
			t.Fatal("stopped before the answer")
		default:
		}
		<-c.Stopped()
		require.Equal(t, time.Second, time.Since(s.start))
		require.ErrorIs(t, c.Err(), checkpointstore.ErrRewound)
		_, err := tracker.Begin(context.Background(), at(2), 0)
		require.ErrorIs(t, err, checkpointstore.ErrRewound)

		c.Update(at(3), 1000)
		time.Sleep(time.Hour)
		require.Len(t, s.log(), 1)
		require.Zero(t, c.Stats().Unwritten)
		require.EqualValues(t, 1, c.Stats().Stale)
		require.ErrorIs(t, c.Flush(context.Background()), checkpointstore.ErrRewound)
		require.ErrorIs(t, c.Close(context.Background()), checkpointstore.ErrRewound)
		require.ErrorIs(t, c.Close(context.Background()), checkpointstore.ErrRewound)
		require.NoError(t, c.CloseLost(context.Background()))
		require.Len(t, s.log(), 1)
	})
}

func TestFlushWritesAtOnceUnderAContextOfItsOwn(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		require.NoError(t, c.Flush(ended()))
		require.Empty(t, s.log())

		s.answers(func(ctx context.Context, p progress.Position) error {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.Equal(t, 9*time.Second, time.Until(deadline))
			require.Equal(t, "value", ctx.Value(valueKey{}))
			return ctx.Err()
		})
		c.Update(at(1), 1)
		require.NoError(t, c.Flush(ended()))
		require.Equal(t, []entry{{0, 1}}, s.log())
		c.Update(at(2), 1)
		require.NoError(t, c.Close(ended()))
		require.Equal(t, []entry{{0, 1}, {0, 2}}, s.log())
	})
}

func TestFlushTriesAgainWhateverTheBackoffWas(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.replies(errThrottled, errThrottled, errThrottled)
		c.Update(at(1), 100)
		synctest.Wait()
		require.Len(t, s.log(), 1)
		require.NoError(t, c.Flush(ended()))
		log := s.log()
		require.Len(t, log, 4)
		require.Zero(t, log[1].at) // no back-off
		require.Less(t, log[3].at, 7*time.Second)
		require.Greater(t, log[3].at, 2*time.Second)
	})
}

func TestFlushReturnsTheLastErrorWithinItsTimeoutAndKeepsThePosition(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(context.Context, progress.Position) error { return errThrottled })
		c.Update(at(7), 1)
		err := c.Flush(ended())
		require.ErrorIs(t, err, errThrottled)
		require.ErrorContains(t, err, "sequence number 7 was not written")
		require.Equal(t, 9*time.Second, time.Since(s.start)) // exactly: no attempt is left for later
		require.Equal(t, 1, c.Stats().Unwritten)
		s.replies()
		time.Sleep(8 * time.Second)
		synctest.Wait()
		require.EqualValues(t, 7, s.last())
	})
}

func TestFlushSaysThatThePositionOfTheWriteUnderWayIsStale(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error {
			err := sleep(ctx, time.Second)
			if p.SequenceNumber < 3 {
				err = errors.Join(err, kind(checkpointstore.ErrStaleCheckpoint))
			}
			return err
		})
		c.Update(at(1), 100)
		synctest.Wait()
		require.ErrorIs(t, c.Flush(ended()), checkpointstore.ErrStaleCheckpoint)
		c.Update(at(2), 100)
		synctest.Wait()
		c.Update(at(3), 1) // which is not stale
		require.NoError(t, c.Flush(ended()))
		require.Len(t, s.log(), 3)
	})
}

func TestFlushWaitsForAWriteUnderWay(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error { return sleep(ctx, 2*time.Second) })
		c.Update(at(1), 100)
		synctest.Wait()
		require.NoError(t, c.Flush(ended()))
		require.Equal(t, 2*time.Second, time.Since(s.start))
		c.Update(at(2), 100)
		synctest.Wait()
		c.Update(at(3), 1)
		require.NoError(t, c.Flush(ended()))
		require.Equal(t, []entry{{0, 1}, {2 * time.Second, 2}, {4 * time.Second, 3}}, s.log())
	})
}

func TestAWriteThatHangsLeavesAFlushItsTime(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		first := true
		s.answers(func(ctx context.Context, p progress.Position) error {
			if first {
				first = false
				return hangs(ctx, p)
			}
			return nil
		})
		c.Update(at(1), 100)
		time.Sleep(time.Second)
		c.Update(at(2), 1)
		require.NoError(t, c.Close(ended()))
		require.Equal(t, []entry{{0, 1}, {6 * time.Second, 2}}, s.log())
	})
}

func TestCloseReturnsThoughTheWriteIgnoresItsContext(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(context.Context, progress.Position) error {
			time.Sleep(time.Minute)
			return nil
		})
		c.Update(at(1), 100)
		synctest.Wait()
		for _, call := range []func(context.Context) error{c.Close, c.Flush, c.CloseLost} {
			start := time.Now()
			require.ErrorContains(t, call(ended()), "sequence number 1 was not written: a write is still under way")
			require.Equal(t, 10*time.Second, time.Since(start))
		}
		<-c.Stopped() // when the write has returned
		require.Equal(t, time.Minute, time.Since(s.start))
	})
}

func TestCloseTwiceReturnsWhatBecameOfTheLastPosition(t *testing.T) {
	for _, want := range []error{nil, errThrottled, kind(checkpointstore.ErrStaleCheckpoint)} {
		checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
			s.answers(func(context.Context, progress.Position) error { return want })
			c.Update(at(1), 1)
			require.ErrorIs(t, c.Close(ended()), want)
			n := len(s.log())
			c.Update(at(2), 1)
			_, err := c.Admit()
			require.ErrorIs(t, err, progress.ErrClosed)
			require.ErrorIs(t, c.Close(ended()), want)
			require.Len(t, s.log(), n)
			require.NoError(t, c.Err())
		})
	}
}

func TestSeveralFlushesAndClosesAtOnce(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error { return sleep(ctx, time.Second) })
		c.Update(at(1), 1)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if i%2 == 0 {
					require.NoError(t, c.Flush(ended()))
				} else {
					require.NoError(t, c.Close(ended()))
				}
			})
		}
		all.Wait()
		require.Equal(t, []entry{{0, 1}}, s.log())
	})
}

func TestAfterALossThePositionIsTriedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		reply error
		want  error
	}{
		"written":   {nil, nil},
		"stale":     {kind(checkpointstore.ErrStaleCheckpoint), nil},
		"rewound":   {kind(checkpointstore.ErrRewound), nil},
		"throttled": {errThrottled, errThrottled},
	} {
		t.Run(name, func(t *testing.T) {
			checkpointed(t, options(), func(t *testing.T, s *storage, p *progress.Checkpointer) {
				s.answers(func(ctx context.Context, p progress.Position) error {
					require.NoError(t, ctx.Err())
					return c.reply
				})
				p.Update(at(1), 1)
				require.ErrorIs(t, p.CloseLost(ended()), c.want)
				require.Equal(t, []entry{{0, 1}}, s.log())
				require.NoError(t, p.Err()) // nothing that the owner has to act on
				<-p.Stopped()
			})
		})
	}
}

func TestALossDuringAWriteIsNoRewind(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error {
			return errors.Join(sleep(ctx, time.Second), kind(checkpointstore.ErrRewound))
		})
		c.Update(at(1), 100)
		synctest.Wait()
		c.Update(at(2), 1)
		require.NoError(t, c.CloseLost(ended()))
		require.NoError(t, c.Err())
		require.Len(t, s.log(), 1)
	})
}

func TestAFlushDuringARewindReturnsIt(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(ctx context.Context, p progress.Position) error {
			return errors.Join(sleep(ctx, time.Second), kind(checkpointstore.ErrRewound))
		})
		c.Update(at(1), 100)
		synctest.Wait()
		c.Update(at(2), 1)
		require.ErrorIs(t, c.Flush(ended()), checkpointstore.ErrRewound)
		require.Equal(t, []entry{{0, 1}}, s.log())
	})
}

func TestALossEndsTheTriesOfAFlush(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(func(context.Context, progress.Position) error { return errThrottled })
		c.Update(at(1), 1)
		flushed := make(chan error, 1)
		go func() { flushed <- c.Flush(ended()) }()
		synctest.Wait()
		require.Len(t, s.log(), 1)
		require.ErrorIs(t, c.CloseLost(ended()), errThrottled)
		require.ErrorIs(t, <-flushed, errThrottled)
		require.Equal(t, []entry{{0, 1}, {0, 1}}, s.log())
	})
}

func TestEventsIsNeverAboveMaxUnwritten(t *testing.T) {
	checkpointed(t, &progress.CheckpointerOptions{MaxUnwritten: 10}, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		c.Update(at(1), 10)
		synctest.Wait() // for no interval, with the consumer held back
		require.Len(t, s.log(), 1)
	})
}

func TestMaxUnwrittenHoldsEventsBack(t *testing.T) {
	o := options()
	o.MaxUnwritten = 200
	checkpointed(t, o, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		s.answers(func(context.Context, progress.Position) error { return errThrottled })
		for i := range int64(200) {
			begin(t, tracker, i).Done()
		}
		_, err := waits(t, tracker, context.Background(), 200, 0, func() {
			time.Sleep(time.Minute) // through any number of failures
			require.Equal(t, 1, tracker.Stats().Waiting)
			s.replies()
			time.Sleep(8 * time.Second)
		})
		require.NoError(t, err)
		require.EqualValues(t, 199, s.last())

		s.answers(func(ctx context.Context, p progress.Position) error {
			return errors.Join(sleep(ctx, time.Second), kind(checkpointstore.ErrStaleCheckpoint))
		})
		c.Update(at(1000), 200) // as if it were all done
		_, err = waits(t, tracker, context.Background(), 201, 0, func() { time.Sleep(8 * time.Second) })
		require.NoError(t, err)

		s.answers(hangs)
		c.Update(at(2000), 200)
		_, err = waits(t, tracker, context.Background(), 202, 0, func() { c.CloseLost(ended()) })
		require.ErrorIs(t, err, progress.ErrClosed)
	})
}

func TestWithoutMaxUnwrittenAnOutageHoldsNothingBack(t *testing.T) {
	checkpointed(t, options(), func(t *testing.T, s *storage, c *progress.Checkpointer) {
		s.answers(hangs)
		tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
		for i := range int64(100_000) {
			begin(t, tracker, i).Done()
		}
		require.Equal(t, 100_000, c.Stats().Unwritten)
		s.replies()
		require.NoError(t, c.Close(ended()))
		require.EqualValues(t, 99_999, s.last())
	})
}

// While the storage hangs, and while the hook does, everything but the next write
// goes on.
func TestNoLockIsHeldDuringAWriteOrAHook(t *testing.T) {
	o := options()
	var hook chan struct{}
	o.OnWrite = func(progress.Write) { <-hook }
	checkpointed(t, o, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		hook = make(chan struct{})
		goesOn := func(from int64) {
			tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
			start := time.Now()
			for i := range int64(1000) {
				begin(t, tracker, from+i).Done()
			}
			require.Equal(t, 1000, int(tracker.Stats().Prefix))
			require.NotZero(t, c.Stats().Unwritten)
			_, err := c.Admit()
			require.NoError(t, err)
			require.NoError(t, c.Err())
			require.Zero(t, time.Since(start))
		}
		s.answers(func(ctx context.Context, p progress.Position) error { return sleep(ctx, time.Second) })
		c.Update(at(1), 100)
		synctest.Wait()
		goesOn(1000)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, s.log(), 1) // in the hook
		goesOn(2000)
		close(hook)
	})
}

func TestTheHookSeesEachAttempt(t *testing.T) {
	o := options()
	var seen []progress.Write
	o.OnWrite = func(w progress.Write) { seen = append(seen, w) }
	checkpointed(t, o, func(t *testing.T, s *storage, c *progress.Checkpointer) {
		stale := kind(checkpointstore.ErrStaleCheckpoint)
		s.answers(func(ctx context.Context, p progress.Position) error {
			return errors.Join(sleep(ctx, time.Second), map[int64]error{10: errThrottled, 13: stale}[p.SequenceNumber])
		})
		c.Update(at(9), 10)
		c.Update(at(10), 90)
		synctest.Wait()
		c.Update(at(11), 1)
		c.Update(at(12), 1)
		require.NoError(t, c.Flush(ended()))
		c.Update(at(13), 5)
		require.Error(t, c.Flush(ended()))
		require.Len(t, seen, 3) // no later than Flush returns
		for _, w := range seen {
			require.Equal(t, time.Second, w.Duration)
		}
		require.ErrorIs(t, seen[0].Err, errThrottled)
		require.Equal(t, progress.Write{Position: at(10), Events: 100, Coalesced: 1, Duration: time.Second, Err: seen[0].Err}, seen[0])
		require.Equal(t, progress.Write{Position: at(12), Events: 102, Coalesced: 3, Duration: time.Second}, seen[1])
		require.Equal(t, progress.Write{Position: at(13), Events: 5, Duration: time.Second, Err: seen[2].Err}, seen[2])
		require.Equal(t, progress.CheckpointerStats{
			Written: 1, Coalesced: 3, Stale: 1, Failed: 1, LastErr: seen[2].Err,
			Last: at(12), LastTime: s.start.Add(2 * time.Second),
		}, c.Stats())
	})
}

// goroutines counts those that the package started.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "created by github.com/ea947076/checkpointstore/progress.")
}

func TestACheckpointerOwnsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []func(*progress.Checkpointer){
			func(c *progress.Checkpointer) { require.NoError(t, c.Close(ended())) },
			func(c *progress.Checkpointer) { require.NoError(t, c.CloseLost(ended())) },
			func(c *progress.Checkpointer) { c.Update(at(1<<40), 1000) }, // which is rewound
		} {
			s := newStorage()
			s.answers(func(ctx context.Context, p progress.Position) error {
				if p.SequenceNumber == 1<<40 {
					return kind(checkpointstore.ErrRewound)
				}
				return nil
			})
			c := progress.NewCheckpointer(s.write, options())
			tracker := progress.NewTracker(&progress.TrackerOptions{Recorder: c})
			for i := range int64(1000) {
				begin(t, tracker, i).Done()
				if i%100 == 0 {
					require.NoError(t, c.Flush(ended()))
					require.Equal(t, 1, goroutines())
				}
			}
			end(c)
			synctest.Wait()
			require.Zero(t, goroutines())
		}
	})
}

// Whatever is given, whatever the storage answers and whenever somebody flushes:
// attempts go up only, none comes after a higher one was written, each position is
// accounted for, and what Close says is what is stored.
func TestPositionsGoUpAndAreAccountedFor(t *testing.T) {
	total := make(map[string]uint64)
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			ofStorage := rand.New(rand.NewPCG(seed, 3))
			chance := func(p float64) bool { return ofStorage.Float64() < p }
			s := newStorage()
			s.answers(func(ctx context.Context, p progress.Position) error {
				switch {
				case chance(0.1):
					return hangs(ctx, p)
				case chance(0.2):
					return errThrottled
				case chance(0.1):
					return kind(checkpointstore.ErrStaleCheckpoint)
				case chance(0.5):
					return sleep(ctx, time.Second)
				}
				return nil
			})
			o := options()
			o.WriteTimeout = 4 * time.Second
			c := progress.NewCheckpointer(s.write, o)
			given, highest := uint64(0), int64(10)
			for range 200 {
				if r.Float64() < 0.3 {
					time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
				}
				n := highest + r.Int64N(8) - 2
				c.Update(at(n), 1+r.IntN(40))
				given++
				highest = max(highest, n)
				if r.Float64() < 0.05 {
					err := c.Flush(ended())
					if err == nil {
						require.Zero(t, c.Stats().Unwritten)
					}
				}
			}
			err := c.Close(ended())
			<-c.Stopped()
			stats := c.Stats()
			left := uint64(0)
			if stats.Unwritten > 0 {
				left = 1
				require.Error(t, err)
			}
			require.Equal(t, given, stats.Written+stats.Coalesced+stats.Stale+left)
			log := s.log()
			for i, e := range log[1:] {
				require.GreaterOrEqual(t, e.position, log[i].position)
			}
			require.EqualValues(t, len(log), stats.Written+stats.Stale+stats.Failed)
			if err == nil {
				require.Contains(t, []int64{s.last(), log[len(log)-1].position}, highest)
			}
			for what, n := range map[string]uint64{"written": stats.Written, "coalesced": stats.Coalesced, "stale": stats.Stale, "failed": stats.Failed, "left": left} {
				total[what] += n
			}
		})
	}
	t.Log(total)
	for _, what := range []string{"written", "coalesced", "stale", "failed", "left"} {
		require.Positive(t, total[what], what)
	}
}

// keeper is a store that keeps what it is asked to store.
type keeper struct {
	checkpointstore.CheckpointStore
	checkpoints []checkpointstore.Checkpoint
	options     []*checkpointstore.UpdateCheckpointOptions
	err         error
}

func (k *keeper) UpdateCheckpoint(_ context.Context, c checkpointstore.Checkpoint, o *checkpointstore.UpdateCheckpointOptions) error {
	k.checkpoints, k.options = append(k.checkpoints, c), append(k.options, o)
	return k.err
}

func TestToStoreStoresAllThatIsKnownOfAPosition(t *testing.T) {
	k := &keeper{err: errThrottled}
	names := checkpointstore.Checkpoint{FullyQualifiedNamespace: "ns", EventHubName: "hub", ConsumerGroup: "group", PartitionID: "3"}
	old := "old"
	given := names
	given.Offset = &old
	write := progress.ToStore(k, given)
	enqueued := time.Unix(1000, 0)
	require.ErrorIs(t, write(context.Background(), progress.Position{SequenceNumber: 5, Offset: "500", EnqueuedTime: enqueued}), errThrottled)
	require.ErrorIs(t, write(context.Background(), at(6)), errThrottled)

	five, six, offset := int64(5), int64(6), "500"
	first, second := names, names
	first.SequenceNumber, first.Offset, second.SequenceNumber = &five, &offset, &six
	require.Equal(t, []checkpointstore.Checkpoint{first, second}, k.checkpoints)
	require.Equal(t, []*checkpointstore.UpdateCheckpointOptions{{EnqueuedTime: &enqueued}, {}}, k.options)
}

func ExampleCheckpointer_Stats() {
	c := progress.NewCheckpointer(func(context.Context, progress.Position) error { return nil }, nil)
	for i := range int64(1000) {
		c.Update(progress.Position{SequenceNumber: i}, 1)
	}
	c.Close(context.Background())
	s := c.Stats()
	fmt.Println(s.Written, "written,", s.Coalesced, "coalesced, last:", s.Last.SequenceNumber)
	// Output: 1 written, 999 coalesced, last: 999
}
