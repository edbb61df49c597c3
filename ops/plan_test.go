package ops_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/ops"
)

// describePlan is a plan as text.
func describePlan(p *ops.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s/%s/%s", p.Kind, p.Scope.FullyQualifiedNamespace, p.Scope.EventHubName, p.Scope.ConsumerGroup)
	if p.Rewind {
		b.WriteString(", rewinds")
	}
	b.WriteString("\n")
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "partition %s:", c.PartitionID)
		switch at := c.Before.Position(); {
		case c.Before.Checkpoint == nil:
			b.WriteString(" no checkpoint")
		case at == nil:
			b.WriteString(" not readable")
		default:
			fmt.Fprintf(&b, " %s", at)
		}
		if c.After != nil {
			fmt.Fprintf(&b, " -> %s", c.After)
			if c.After.EnqueuedTime != nil {
				fmt.Fprintf(&b, ", enqueued %s", c.After.EnqueuedTime.Format(time.TimeOnly))
			}
		}
		if c.Release {
			b.WriteString(" -> free")
		}
		if o := c.DeleteOwnership; o != nil {
			fmt.Fprintf(&b, ", delete the ownership of %q in %s", o.OwnerID, o.ConsumerGroup)
		}
		if d := c.DeleteCheckpoint; d != nil {
			fmt.Fprintf(&b, ", delete the checkpoint in %s", d.ConsumerGroup)
		}
		fmt.Fprintf(&b, "\n  why: %s\n", c.Why)
		for _, w := range c.Warnings {
			fmt.Fprintf(&b, "  warning: %s\n", w)
		}
	}
	for _, s := range p.Skipped {
		fmt.Fprintf(&b, "skipped %s: %s\n", s.Name, s.Why)
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}

// planned is a hub and a group with every case of a partition.
func planned(t *testing.T) (*memstore.Store, *fakeHub) {
	t.Helper()
	now := noon.Add(10 * time.Minute)
	store := memstore.NewWithClock(func() time.Time { return now })
	hub := newHub(map[string]fakePartition{
		"0": {first: 10, last: 99},                                                                     // handled to 50
		"1": {first: 10, last: 99},                                                                     // without checkpoint
		"2": {first: 0, last: -1},                                                                      // never an event
		"3": {first: 100, last: 99},                                                                    // all expired
		"4": {first: 10, last: 99, missing: func(n int64) bool { return n > 20 && n < 90 && n != 30 }}, // compacted
		"5": {first: 10, last: 99},                                                                     // past the end
		"6": {first: 10, last: 99},                                                                     // live
		"7": {first: 60, last: 99, missing: func(n int64) bool { return n == 60 }},                     // checkpoint expired, the oldest compacted away
	})
	claim(t, store, "dead", "0")
	checkpoint(t, store, "0", 50)
	checkpoint(t, store, "3", 99)
	checkpoint(t, store, "4", 95)
	checkpoint(t, store, "5", 5000)
	checkpoint(t, store, "7", 20)
	now = now.Add(time.Hour)
	claim(t, store, "alice", "6")
	checkpoint(t, store, "6", 70)
	now = noon.Add(10*time.Minute + time.Hour)
	return store, hub
}

func TestPlansOfResets(t *testing.T) {
	at := func(n int64) time.Time { return event(n).EnqueuedTime }
	export := &ops.Export{Time: noon, Checkpoints: []ops.ExportCheckpoint{
		exported("0", 40), exported("1", 5000), exported("4", 3), exported("5", 50), {PartitionID: "7"},
	}}
	for name, target := range map[string]ops.Target{
		"earliest":                   ops.ToEarliest(),
		"latest":                     ops.ToLatest(),
		"sequence-number":            ops.ToSequenceNumber(60),
		"sequence-number-too-low":    ops.ToSequenceNumber(-100),
		"sequence-number-too-high":   ops.ToSequenceNumber(1000),
		"sequence-number-of-the-end": ops.ToSequenceNumber(100),
		"offset":                     ops.ToOffset("6000"),
		"offset-without-event":       ops.ToOffset("6050"),
		"offset-too-high":            ops.ToOffset("99999999"),
		"offset-of-the-start":        ops.ToOffset("-1"),
		"offset-of-the-end":          ops.ToOffset("@latest"),
		"time":                       ops.ToTime(at(60)),
		"time-between-events":        ops.ToTime(at(60).Add(time.Millisecond)),
		"time-before-retention":      ops.ToTime(noon.Add(-time.Hour)),
		"time-after-the-end":         ops.ToTime(noon.Add(24 * time.Hour)),
		"ago":                        ops.Ago(time.Hour + 9*time.Minute), // noon and one minute
		"shift-back":                 ops.ShiftBy(-10),
		"shift-forward":              ops.ShiftBy(10),
		"position":                   ops.ToPosition(ops.Position{SequenceNumber: 5, Offset: "500"}),
		"export":                     ops.ToExport(export),
	} {
		t.Run(name, func(t *testing.T) {
			store, hub := planned(t)
			plan, err := ops.PlanReset(ctx, store, hub, scope, target, &ops.ResetOptions{Hub: ops.HubOptions{Interval: 1}})
			require.NoError(t, err)
			for _, c := range plan.Changes {
				require.NotEmpty(t, c.After.Offset)
				require.NoError(t, record(c.PartitionID, c.After.SequenceNumber).Validate())
			}
			golden(t, "plans/"+name+".txt", describePlan(plan))
			// A second run of the same plan changes nothing.
			_, err = ops.Apply(ctx, store, plan, &ops.ApplyOptions{Release: true})
			require.NoError(t, err)
			if !strings.HasPrefix(name, "shift") {
				again, err := ops.PlanReset(ctx, store, hub, scope, target, &ops.ResetOptions{Hub: ops.HubOptions{Interval: 1}})
				require.NoError(t, err)
				require.Empty(t, again.Changes)
			}
		})
	}
}

func exported(partition string, n int64) ops.ExportCheckpoint {
	offset := offsetOf(n)
	return ops.ExportCheckpoint{PartitionID: partition, SequenceNumber: &n, Offset: &offset}
}

func TestEveryNumberOfACompactedPartition(t *testing.T) {
	holes := func(n int64) bool { return n < 5 || n%7 < 4 || n > 100 && n < 900 && n != 500 }
	hub := newHub(map[string]fakePartition{"0": {first: 3, last: 950, missing: holes}})
	options := &ops.ResetOptions{Hub: ops.HubOptions{Interval: 1}}
	for n := int64(0); n <= 955; n += 1 + n%13 {
		plan, err := ops.PlanReset(ctx, memstore.New(), hub, scope, ops.ToSequenceNumber(n), options)
		require.NoError(t, err)
		want := int64(-1) // the last event before n
		for m := range min(n, 951) {
			if !holes(m) {
				want = m
			}
		}
		if after := plan.Changes[0].After; want >= 0 && n <= 950 {
			require.Equal(t, want, after.SequenceNumber, "event %d", n)
			require.Equal(t, offsetOf(want), after.Offset)
		} else if n <= 950 {
			require.Equal(t, ops.Position{SequenceNumber: 2, Offset: "-1"}, *after, "event %d", n)
		}
	}
}

func TestAResetReadsLittle(t *testing.T) {
	for name, c := range map[string]struct {
		target ops.Target
		reads  int
	}{
		"earliest":        {ops.ToEarliest(), 0},
		"latest":          {ops.ToLatest(), 0},
		"sequence number": {ops.ToSequenceNumber(50), 1},
		"time":            {ops.ToTime(event(50).EnqueuedTime), 2},
		"compacted":       {ops.ToSequenceNumber(9000), 30},
	} {
		t.Run(name, func(t *testing.T) {
			hub := newHub(map[string]fakePartition{"0": {first: 0, last: 99}})
			if name == "compacted" {
				hub.partitions["0"] = fakePartition{first: 0, last: 9999, missing: func(n int64) bool { return n > 10 && n < 9999 }}
			}
			_, err := ops.PlanReset(ctx, memstore.New(), hub, scope, c.target, &ops.ResetOptions{Hub: ops.HubOptions{Interval: 1}})
			require.NoError(t, err)
			if name == "compacted" {
				require.LessOrEqual(t, hub.reads, c.reads)
			} else {
				require.Equal(t, c.reads, hub.reads)
			}
		})
	}
}

func TestPlansThatCannotBeMade(t *testing.T) {
	store, hub := planned(t)
	plan := func(target ops.Target, hub ops.EventHub, partitions ...string) error {
		_, err := ops.PlanReset(ctx, store, hub, scope, target, &ops.ResetOptions{Partitions: partitions, Hub: ops.HubOptions{Interval: 1}})
		return err
	}
	require.ErrorContains(t, plan(ops.ToEarliest(), nil), "needs the event hub")
	require.ErrorContains(t, plan(ops.ToEarliest(), hub, "0", "99"), "partition 99: the event hub has no such partition")
	for _, offset := range []string{"", "None", "no offset"} {
		require.ErrorContains(t, plan(ops.ToPosition(ops.Position{SequenceNumber: 5, Offset: offset}), nil), "no offset")
	}
	require.ErrorIs(t, plan(ops.ToPosition(ops.Position{SequenceNumber: 5, Offset: "a  b"}), nil), checkpointstore.ErrInvalidArgument)
	broken := errors.New("broken")
	hub.fail = map[string]error{"3": broken}
	require.ErrorIs(t, plan(ops.ToEarliest(), hub), broken)
	require.NoError(t, plan(ops.ToEarliest(), hub, "0", "1"), "other partitions are not asked for")
	_, err := ops.PlanReset(ctx, store, hub, ops.Scope{}, ops.ToEarliest(), nil)
	require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
}

func TestAPlanOfSomePartitions(t *testing.T) {
	store, _ := planned(t)
	plan, err := ops.PlanReset(ctx, store, nil, scope, ops.ToPosition(ops.Position{SequenceNumber: 5, Offset: "500"}),
		&ops.ResetOptions{Partitions: []string{"10", "4", "0", "4"}})
	require.NoError(t, err)
	var ids []string
	for _, c := range plan.Changes {
		ids = append(ids, c.PartitionID)
	}
	require.Equal(t, []string{"0", "4", "10"}, ids)
	require.True(t, plan.Rewind)
}
