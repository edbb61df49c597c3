package ops_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/ops"
)

// slowHub has n partitions, whose properties take some time.
type slowHub struct {
	ops.EventHub
	n    int
	take func(ctx context.Context, id int) error

	mu     sync.Mutex
	began  []time.Time
	now    int
	atOnce int
}

func (h *slowHub) PartitionIDs(context.Context) ([]string, error) {
	var ids []string
	for i := range h.n {
		ids = append(ids, strconv.Itoa(h.n-1-i))
	}
	return ids, nil
}

func (h *slowHub) PartitionProperties(ctx context.Context, id string) (ops.PartitionProperties, error) {
	h.mu.Lock()
	h.began = append(h.began, time.Now())
	h.now++
	h.atOnce = max(h.atOnce, h.now)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.now--
		h.mu.Unlock()
	}()
	n, _ := strconv.Atoi(id)
	return ops.PartitionProperties{LastEnqueuedSequenceNumber: int64(n)}, h.take(ctx, n)
}

func TestReadHubIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		latency time.Duration
		options *ops.HubOptions
		atOnce  int
		gap     time.Duration
	}{
		"20 per second":          {time.Millisecond, nil, 1, 50 * time.Millisecond},
		"8 at once":              {2 * time.Second, nil, 8, 50 * time.Millisecond},
		"other than the default": {1500 * time.Millisecond, &ops.HubOptions{MaxConcurrency: 3, Interval: time.Second, Timeout: time.Minute}, 2, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := &slowHub{n: 40, take: func(context.Context, int) error { time.Sleep(c.latency); return nil }}
				read, err := ops.ReadHub(t.Context(), hub, c.options)
				require.NoError(t, err)
				require.Len(t, read.Partitions, 40)
				for i, p := range read.Partitions {
					require.NoError(t, p.Err)
					require.Equal(t, int64(i), p.Properties.LastEnqueuedSequenceNumber, "sorted by number")
				}
				require.Equal(t, c.atOnce, hub.atOnce)
				for i := 1; i < len(hub.began); i++ {
					require.GreaterOrEqual(t, hub.began[i].Sub(hub.began[i-1]), c.gap)
				}
			})
		})
	}
}

func TestReadHubKeepsWhatDidNotFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		broken := errors.New("broken")
		hub := &slowHub{n: 12, take: func(ctx context.Context, id int) error {
			switch id {
			case 3:
				return broken
			case 4:
				<-hang // ignores its context
			case 5:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		read, err := ops.ReadHub(t.Context(), hub, nil)
		require.NoError(t, err)
		for i, p := range read.Partitions {
			switch i {
			case 3:
				require.ErrorIs(t, p.Err, broken)
			case 4, 5:
				require.ErrorIs(t, p.Err, context.DeadlineExceeded)
			default:
				require.NoError(t, p.Err)
			}
		}
		close(hang)
	})
}

func TestReadHubEndsThoughNoRequestDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		hub := &slowHub{n: 100, take: func(context.Context, int) error { <-hang; return nil }}
		began := time.Now()
		read, err := ops.ReadHub(t.Context(), hub, nil)
		require.NoError(t, err)
		for _, p := range read.Partitions {
			require.Error(t, p.Err)
		}
		hub.mu.Lock()
		defer hub.mu.Unlock()
		require.Len(t, hub.began, 8, "requests that were left behind count")
		require.Less(t, time.Since(began), 30*time.Second)
		close(hang)
	})
}

func TestReadHubEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		hub := &slowHub{n: 100, take: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}
		_, err := ops.ReadHub(ctx, hub, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestHubPartition(t *testing.T) {
	h := &ops.Hub{Partitions: []ops.HubPartition{{ID: "2"}, {ID: "10"}, {ID: "x"}}}
	for _, id := range []string{"2", "10", "x"} {
		p, found := h.Partition(id)
		require.True(t, found)
		require.Equal(t, id, p.ID)
	}
	_, found := h.Partition("1")
	require.False(t, found)
}
