package storetest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

// hooked is a store with a defect: the methods that are set stand in for the
// inner store's.
type hooked struct {
	checkpointstore.CheckpointStore
	claim       func(context.Context, []checkpointstore.Ownership) ([]checkpointstore.Ownership, error)
	update      func(context.Context, checkpointstore.Checkpoint, *checkpointstore.UpdateCheckpointOptions) error
	ownerships  func(context.Context, scope) ([]checkpointstore.Ownership, error)
	checkpoints func(context.Context, scope) ([]checkpointstore.Checkpoint, error)
}

func (h *hooked) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, options *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if h.claim != nil {
		return h.claim(ctx, claims)
	}
	return h.CheckpointStore.ClaimOwnership(ctx, claims, options)
}

func (h *hooked) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
	if h.update != nil {
		return h.update(ctx, c, options)
	}
	return h.CheckpointStore.UpdateCheckpoint(ctx, c, options)
}

func (h *hooked) ListOwnership(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if h.ownerships != nil {
		return h.ownerships(ctx, scope{namespace, eventHub, group})
	}
	return h.CheckpointStore.ListOwnership(ctx, namespace, eventHub, group, options)
}

func (h *hooked) ListCheckpoints(ctx context.Context, namespace, eventHub, group string, options *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	if h.checkpoints != nil {
		return h.checkpoints(ctx, scope{namespace, eventHub, group})
	}
	return h.CheckpointStore.ListCheckpoints(ctx, namespace, eventHub, group, options)
}

// inner gives the sound methods short names.
type inner struct{ *memstore.Store }

func (s inner) claim(ctx context.Context, claims ...checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
	return s.ClaimOwnership(ctx, claims, nil)
}

func (s inner) update(ctx context.Context, c checkpointstore.Checkpoint, rewind bool) error {
	return s.UpdateCheckpoint(ctx, c, &checkpointstore.UpdateCheckpointOptions{Rewind: rewind})
}

func (s inner) ownerships(ctx context.Context, in scope) ([]checkpointstore.Ownership, error) {
	return s.ListOwnership(ctx, in.namespace, in.eventHub, in.group, nil)
}

func (s inner) checkpoints(ctx context.Context, in scope) ([]checkpointstore.Checkpoint, error) {
	return s.ListCheckpoints(ctx, in.namespace, in.eventHub, in.group, nil)
}

// current is a partition's record, nil if there is none.
func (s inner) current(ctx context.Context, o checkpointstore.Ownership) *checkpointstore.Ownership {
	list, _ := s.ownerships(ctx, scopeOf(o))
	for _, found := range list {
		if found.PartitionID == o.PartitionID {
			return &found
		}
	}
	return nil
}

func scopeOf(o checkpointstore.Ownership) scope {
	return scope{o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup}
}

// broken is a defect, with some of the cases that must find it.
type broken struct {
	name   string
	found  []string // how the cases' names begin
	breaks func(inner, *hooked)
	alone  bool // not to be used by several goroutines at once, which would be another defect
}

// claimsWith replaces ClaimOwnership.
func claimsWith(f func(context.Context, inner, []checkpointstore.Ownership) ([]checkpointstore.Ownership, error)) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		h.claim = func(ctx context.Context, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			return f(ctx, s, claims)
		}
	}
}

// updatesWith replaces UpdateCheckpoint.
func updatesWith(f func(context.Context, inner, checkpointstore.Checkpoint, *checkpointstore.UpdateCheckpointOptions) error) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			return f(ctx, s, c, options)
		}
	}
}

// ownershipsWith replaces ListOwnership.
func ownershipsWith(f func(context.Context, inner, scope) ([]checkpointstore.Ownership, error)) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		h.ownerships = func(ctx context.Context, in scope) ([]checkpointstore.Ownership, error) { return f(ctx, s, in) }
	}
}

// wonBy changes what claims return.
func wonBy(f func([]checkpointstore.Ownership)) func(inner, *hooked) {
	return claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
		won, err := s.claim(ctx, claims...)
		f(won)
		return won, err
	})
}

// listedBy changes what the lists of ownerships return.
func listedBy(f func([]checkpointstore.Ownership) []checkpointstore.Ownership) func(inner, *hooked) {
	return ownershipsWith(func(ctx context.Context, s inner, in scope) ([]checkpointstore.Ownership, error) {
		list, err := s.ownerships(ctx, in)
		return f(list), err
	})
}

// each changes every record of a list.
func each[T any](f func(*T)) func([]T) []T {
	return func(list []T) []T {
		for i := range list {
			f(&list[i])
		}
		return list
	}
}

// eachWon changes every record that claims return.
func eachWon(f func(*checkpointstore.Ownership)) func(inner, *hooked) {
	return wonBy(func(won []checkpointstore.Ownership) { each(f)(won) })
}

// updatedBy changes each checkpoint before it is stored.
func updatedBy(f func(checkpointstore.Checkpoint, bool) (checkpointstore.Checkpoint, bool)) func(inner, *hooked) {
	return updatesWith(func(ctx context.Context, s inner, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
		c, rewind := f(c, options != nil && options.Rewind)
		return s.update(ctx, c, rewind)
	})
}

// numberedBy changes each valid sequence number before it is stored.
func numberedBy(f func(int64) int64) func(inner, *hooked) {
	return updatedBy(func(c checkpointstore.Checkpoint, rewind bool) (checkpointstore.Checkpoint, bool) {
		if c.SequenceNumber != nil && *c.SequenceNumber != math.MinInt64 {
			c = number(c, f(*c.SequenceNumber))
		}
		return c, rewind
	})
}

// number is the checkpoint at another position.
func number(c checkpointstore.Checkpoint, n int64) checkpointstore.Checkpoint {
	c.SequenceNumber = &n
	return c
}

// readBy changes what the lists of checkpoints return.
func readBy(f func([]checkpointstore.Checkpoint) []checkpointstore.Checkpoint) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		h.checkpoints = func(ctx context.Context, in scope) ([]checkpointstore.Checkpoint, error) {
			list, err := s.checkpoints(ctx, in)
			return f(list), err
		}
	}
}

// claimedBy changes each claim before it is made.
func claimedBy(f func(context.Context, inner, checkpointstore.Ownership) checkpointstore.Ownership) func(inner, *hooked) {
	return claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
		changed := make([]checkpointstore.Ownership, len(claims))
		for i, c := range claims {
			changed[i] = f(ctx, s, c)
		}
		return s.claim(ctx, changed...)
	})
}

// winsIf makes a claim on the record as it is, whatever ETag it has, if the two
// meet a condition.
func winsIf(condition func(claim, now checkpointstore.Ownership) bool) func(inner, *hooked) {
	return claimedBy(func(ctx context.Context, s inner, c checkpointstore.Ownership) checkpointstore.Ownership {
		if now := s.current(ctx, c); now != nil && condition(c, *now) {
			c.ETag = now.ETag
		}
		return c
	})
}

// in moves all records to other names, and spells them as asked.
func in(move func(scope) scope) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		h.claim = func(ctx context.Context, claims []checkpointstore.Ownership) (all []checkpointstore.Ownership, err error) {
			for _, c := range claims {
				as := scopeOf(c)
				rename(&c, move(as))
				won, err := s.claim(ctx, c)
				if err != nil {
					return all, err
				}
				each(func(o *checkpointstore.Ownership) { rename(o, as) })(won)
				all = append(all, won...)
			}
			return all, nil
		}
		h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			renameCheckpoint(&c, move(scope{c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup}))
			return s.UpdateCheckpoint(ctx, c, options)
		}
		h.ownerships = func(ctx context.Context, as scope) ([]checkpointstore.Ownership, error) {
			list, err := s.ownerships(ctx, move(as))
			return each(func(o *checkpointstore.Ownership) { rename(o, as) })(list), err
		}
		h.checkpoints = func(ctx context.Context, as scope) ([]checkpointstore.Checkpoint, error) {
			list, err := s.checkpoints(ctx, move(as))
			return each(func(c *checkpointstore.Checkpoint) { renameCheckpoint(c, as) })(list), err
		}
	}
}

func rename(o *checkpointstore.Ownership, to scope) {
	o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup = to.namespace, to.eventHub, to.group
}

func renameCheckpoint(c *checkpointstore.Checkpoint, to scope) {
	c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup = to.namespace, to.eventHub, to.group
}

// hexed spells names in a way that tells their case.
func hexed(s scope) scope {
	hex := func(name string) string {
		if name == "" || len(name) > 100 {
			return name
		}
		return fmt.Sprintf("%x", name)
	}
	return scope{hex(s.namespace), hex(s.eventHub), hex(s.group)}
}

// repaired is a text that can be stored, made of one that cannot.
func repaired(text, empty string) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, text)
	text = strings.TrimSuffix(text[:min(len(text), 200)], ".")
	if text == "" {
		return empty
	}
	return text
}

// forgetful is a store that is fenced by its own writes only, and forgets them
// when it should not.
func forgetful(when func(h *hooked, s inner, forget func())) func(inner, *hooked) {
	return func(s inner, h *hooked) {
		var mu sync.Mutex
		forgot := false
		h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
			mu.Lock()
			defer mu.Unlock()
			err := s.update(ctx, c, forgot || options != nil && options.Rewind)
			forgot = false
			return err
		}
		when(h, s, func() {
			mu.Lock()
			defer mu.Unlock()
			forgot = true
		})
	}
}
