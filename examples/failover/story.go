package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

// events are how many there are in each partition.
const events = 120

// story is the three owners and what happens to them.
type story struct {
	newStore func() (checkpointstore.CheckpointStore, error)
	hub      *hub
	hubName  string
	pace     pace
	log      *timeline

	owners map[string]*owner
	end    map[string]context.CancelCauseFunc
	wg     sync.WaitGroup
	failed chan error
}

func newStory(newStore func() (checkpointstore.CheckpointStore, error), partitions int, p pace, log *timeline) *story {
	return &story{
		newStore: newStore, hub: newHub(partitions, events), hubName: hubName(), pace: p, log: log,
		owners: make(map[string]*owner), end: make(map[string]context.CancelCauseFunc), failed: make(chan error, 3),
	}
}

// tell lets it happen, and returns an error if an event was lost.
func (s *story) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer s.wg.Wait()
	defer cancel()
	for _, id := range []string{"alice", "bob", "carol"} {
		if err := s.start(ctx, id); err != nil {
			return err
		}
	}
	if err := s.until(ctx, func() bool { return s.balanced("alice", "bob", "carol") && s.past("carol", 12) }); err != nil {
		return err
	}

	carol := s.owners["carol"]
	hers := carol.partitions()
	s.log.printf("carol is killed; she had partitions %v", hers)
	s.end["carol"](errKilled)
	if err := s.until(ctx, func() bool { return s.balanced("alice", "bob") && s.pastAll(hers, carol) }); err != nil {
		return err
	}

	late := carol.position(hers[0]) - 1
	err := carol.checkpoint(ctx, hers[0], late)
	if !errors.Is(err, checkpointstore.ErrStaleCheckpoint) {
		return fmt.Errorf("carol's late checkpoint was not refused: %v", err)
	}
	s.log.printf("carol wakes up and checkpoints event %d of partition %s: refused, the partition has gone on without her", late, hers[0])

	s.end["bob"](nil)
	if err := s.until(ctx, func() bool { return s.balanced("alice") && s.pastAll(s.hub.partitions, nil) }); err != nil {
		return err
	}
	s.end["alice"](nil)
	s.wg.Wait()
	return s.verdict(context.WithoutCancel(ctx))
}

// start lets an owner work until its end is called.
func (s *story) start(ctx context.Context, id string) error {
	store, err := s.newStore()
	if err != nil {
		return err
	}
	ctx, s.end[id] = context.WithCancelCause(ctx)
	o := &owner{id: id, store: store, hub: s.hub, hubName: s.hubName, pace: s.pace, log: s.log, next: make(map[string]int64)}
	s.owners[id] = o
	s.wg.Go(func() {
		if err := o.run(ctx); err != nil {
			s.failed <- err
		}
	})
	return nil
}

// until waits for something to be so.
func (s *story) until(ctx context.Context, so func() bool) error {
	for !so() {
		select {
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.pace.interval / 4):
		}
	}
	return nil
}

// balanced reports whether these owners have all partitions, each its share.
func (s *story) balanced(ids ...string) bool {
	total := 0
	for _, id := range ids {
		n := len(s.owners[id].partitions())
		if n < len(s.hub.partitions)/len(ids) {
			return false
		}
		total += n
	}
	return total == len(s.hub.partitions)
}

// past reports whether an owner has come to event n in each of its partitions.
func (s *story) past(id string, n int64) bool {
	for _, partition := range s.owners[id].partitions() {
		if s.owners[id].position(partition) < n {
			return false
		}
	}
	return true
}

// pastAll reports whether somebody has a checkpoint's worth of events more than
// before in each of the partitions, or, without before, has come to the end.
func (s *story) pastAll(partitions []string, before *owner) bool {
	for _, partition := range partitions {
		goal := s.hub.events
		if before != nil {
			goal = before.position(partition) + 2*checkpointEach
		}
		reached := false
		for _, o := range s.owners {
			reached = reached || (o != before && o.position(partition) >= goal)
		}
		if !reached {
			return false
		}
	}
	return true
}

// verdict compares what was handled and what is stored with what there was.
func (s *story) verdict(ctx context.Context) error {
	never, again := s.hub.count()
	checkpoints, err := s.owners["alice"].store.ListCheckpoints(ctx, namespace, s.hubName, consumerGroup, nil)
	if err != nil {
		return err
	}
	atEnd := 0
	for _, c := range checkpoints {
		if c.SequenceNumber != nil && *c.SequenceNumber == s.hub.events-1 {
			atEnd++
		}
	}
	s.log.printf("%d events: %d never handled, %d handled again after a take-over; %d of %d checkpoints at the last event",
		int64(len(s.hub.partitions))*s.hub.events, never, again, atEnd, len(s.hub.partitions))
	if never > 0 || atEnd != len(s.hub.partitions) {
		return errors.New("events were lost")
	}
	return nil
}
