package proof

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

// errCrashed is what a process that has crashed sees: nothing, really.
var errCrashed = errors.New("the process has crashed")

// fate is what becomes of the request in which a process crashes.
type fate int

const (
	neverSent fate = iota
	taken
	delayed // applied at a later time
)

// crashing lets requests pass until the one in which its process crashes.
type crashing struct {
	next    *fakeblob.Service
	at      int // the number of that request, from 1
	fate    fate
	lose    int // the number of the request whose answer is lost before
	seen    int
	late    *http.Request // the one that is delayed
	crashed bool
}

func (c *crashing) Do(req *http.Request) (*http.Response, error) {
	c.seen++
	if c.crashed {
		return nil, errCrashed
	}
	if c.seen == c.at {
		c.crashed = true
		switch c.fate {
		case taken:
			_, _ = c.next.Do(req)
		case delayed:
			c.late = req.Clone(context.Background())
			c.late.Body = http.NoBody
		}
		return nil, errCrashed
	}
	resp, err := c.next.Do(req)
	if err == nil && c.seen == c.lose {
		return nil, errors.New("the answer is lost")
	}
	return resp, err
}

// arrive lets the delayed request arrive.
func (c *crashing) arrive(t *testing.T) {
	if c.late == nil {
		return
	}
	resp, err := c.next.Do(c.late)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	c.late = nil
}

// TestAfterACrash lets a process crash at each of its requests, after each of its answers was lost or none; what its last
// request does, it does at once, never, or at each later point.
func TestAfterACrash(t *testing.T) {
	points, lates := 0, 0
	for lose := 0; ; lose++ {
		requests := 0
		for at := 1; ; at++ {
			crashed := false
			for _, fate := range []fate{neverSent, taken, delayed} {
				for arrival := range 4 {
					if fate != delayed && arrival > 0 {
						continue
					}
					c := &crashing{next: fakeblob.New(), at: at, fate: fate, lose: lose}
					name := fmt.Sprintf("crash in request %d, fate %d, arrives at %d, answer %d lost", at, fate, arrival, lose)
					crashAndTakeOver(t, name, c, arrival)
					crashed, requests = c.crashed, c.seen
					points++
					if fate == delayed && c.crashed {
						lates++
					}
				}
			}
			if !crashed {
				break // the process came to its end
			}
		}
		if lose > requests {
			break // there is no such answer
		}
	}
	require.Greater(t, points, 200)
	t.Logf("%d crashes, %d of them with a request that came later", points, lates)
}

// crashAndTakeOver lets one process write until it crashes, and another one take over. After the crash, the checkpoint is
// the one that was acknowledged last, or the one that was on its way; and never one behind those of the next owner.
func crashAndTakeOver(t *testing.T, name string, c *crashing, arrival int) {
	t.Helper()
	ctx := context.Background()
	w := onFake(c.next)
	o := w.options()
	o.ClientOptions.Retry.MaxRetries = -1
	crashes, err := w.newStore(c, o)
	require.NoError(t, err)
	next := w.plain(t)
	position := func() int64 {
		found, err := next.GetCheckpoint(ctx, namespace, eventHub, group, "0", nil)
		if errors.Is(err, checkpointstore.ErrNotFound) {
			return 0
		}
		require.NoError(t, err, name)
		require.Equal(t, fmt.Sprint(*found.SequenceNumber*64), *found.Offset, name)
		return *found.SequenceNumber
	}
	arriveIf := func(point int) {
		if arrival == point {
			c.arrive(t)
		}
	}

	acked, onItsWay := write4(ctx, t, crashes, c)
	arriveIf(0)
	_, err = next.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf("next", "0", etagOf(t, next))}, nil)
	require.NoError(t, err)
	from := position()
	require.Contains(t, []int64{acked, onItsWay}, from, name)
	arriveIf(1)
	for i := range int64(2) {
		require.NoError(t, next.UpdateCheckpoint(ctx, checkpointAt("0", from+100+i), nil), name)
		require.Equal(t, from+100+i, position(), name)
		arriveIf(2 + int(i))
		require.Equal(t, from+100+i, position(), name)
	}
}

// write4 claims, looks and writes four positions, and returns the last one that was acknowledged and the last one that was
// tried.
func write4(ctx context.Context, t *testing.T, s *checkpointstore.BlobCheckpointStore, c *crashing) (acked, tried int64) {
	_, _ = s.ClaimOwnership(ctx, []checkpointstore.Ownership{claimOf("crashes", "0", "")}, nil)
	_, _ = s.ListCheckpoints(ctx, namespace, eventHub, group, nil)
	for position := int64(1); position <= 4 && !c.crashed; position++ {
		tried = position
		if err := s.UpdateCheckpoint(ctx, checkpointAt("0", position), nil); err == nil {
			acked = position
		}
	}
	return acked, tried
}

func etagOf(t *testing.T, s *checkpointstore.BlobCheckpointStore) string {
	r, err := s.GetOwnership(context.Background(), namespace, eventHub, group, "0", nil)
	if errors.Is(err, checkpointstore.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	return string(*r.ETag)
}
