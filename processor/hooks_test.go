package processor_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// calls notes what hooks are told.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) note(format string, arguments ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, fmt.Sprintf(format, arguments...))
}

// take returns the calls since the last take.
func (c *calls) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (c *calls) hooks() *processor.Hooks {
	kind := func(err error) string {
		for name, kind := range map[string]error{"stopping": processor.ErrStopping, "lost": processor.ErrPartitionLost, "rewound": checkpointstore.ErrRewound, "link": processor.ErrLinkFailed} {
			if errors.Is(err, kind) {
				return name
			}
		}
		if err != nil {
			return "failed"
		}
		return "none"
	}
	return &processor.Hooks{
		RunStart: func(i processor.RunStartInfo) { c.note("run of %s starts", i.EventHub.OwnerID()) },
		RunEnd:   func(i processor.RunEndInfo) { c.note("run ends: %s", kind(i.Err)) },
		Receive: func(i processor.ReceiveInfo) {
			c.note("received %d to %d", i.Events[0].SequenceNumber, i.Events[len(i.Events)-1].SequenceNumber)
		},
		Claim: func(i processor.ClaimInfo) {
			if i.Outcome != processor.ClaimRenewed {
				c.note("claim %s", i.Outcome)
			}
		},
		TenureEnd: func(i processor.TenureEndInfo) { c.note("tenure ends: %s", kind(i.Cause)) },
		Checkpoint: func(i processor.CheckpointInfo) {
			c.note("checkpoint %d for %d: %s", i.SequenceNumber, i.Coalesced+1, kind(i.Err))
		},
		HandlerStart: func(processor.HandlerStartInfo) { c.note("handler starts") },
		HandlerEnd:   func(i processor.HandlerEndInfo) { c.note("handler ends: %s", kind(i.Cause)) },
		BatchEnd: func(i processor.BatchEndInfo) {
			c.note("batch of %d, attempt %d: %s", i.Events, i.Attempt, kind(i.Err))
		},
		Restart: func(i processor.RestartInfo) { c.note("restart %d: %s", i.Failures, kind(i.Err)) },
		Outage:  func(i processor.OutageInfo) { c.note("outage of %s: %s", i.Operation, kind(i.Err)) },
	}
}

func TestHooksTellWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{}
		fail := true
		handle := func(context.Context, *processor.Batch) error {
			if fail {
				fail = false
				return errHandling
			}
			return nil
		}
		p := processortest.Start(t, processor.Batches(handle, nil), &processor.Options{UpdateInterval: 20 * time.Second, Hooks: c.hooks()})
		p.AwaitReading()
		require.Equal(t, []string{"run of owner starts", "claim won", "handler starts"}, c.take())

		p.Send("one", "two", "three")
		p.FailCheckpoints(errors.New("throttled"))
		pass(19 * time.Second)
		require.Equal(t, []string{"received 0 to 0", "received 1 to 2", "batch of 3, attempt 1: failed", "batch of 3, attempt 2: none", "checkpoint 2 for 3: failed"}, slices.Compact(c.take()))
		p.FailCheckpoints(nil)
		p.AwaitCheckpoint(2)
		list := c.take()
		require.Equal(t, "checkpoint 2 for 3: none", list[len(list)-1])

		p.Hub.Deny("0", errors.New("detached"))
		p.Hub.Deny("0", nil)
		pass(time.Second)
		require.Equal(t, []string{"handler ends: link", "restart 1: link", "handler starts"}, c.take())

		p.Rewind(0)
		p.Send("four")
		p.AwaitCheckpoint(3)
		require.Subset(t, c.take(), []string{"batch of 1, attempt 1: none", "checkpoint 3 for 1: rewound", "handler ends: rewound", "tenure ends: rewound", "claim released", "claim won", "handler starts", "batch of 3, attempt 1: none", "checkpoint 3 for 3: none"})

		p.Lose()
		require.Equal(t, []string{"handler ends: lost", "tenure ends: lost"}, c.take())
		p.GiveBack()
		require.Equal(t, []string{"claim won", "handler starts"}, c.take())
		require.NoError(t, p.Stop())
		require.Equal(t, []string{"handler ends: stopping", "tenure ends: stopping", "claim released", "run ends: none"}, c.take())
	})
}

func TestHooksTellOfOutagesAndOfClaimsThatFail(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		c := &calls{}
		a := f.start("a", func(s *settings) { s.options.Hooks = c.hooks() })
		pass(opening)
		c.take()
		down := errors.New("down")
		a.store.set(func(s *faultyStore) { s.list = failing(down) })
		pass(3 * roundTime)
		require.Equal(t, []string{"outage of listing ownerships: failed"}, c.take(), "once")
		a.store.set(func(s *faultyStore) { s.list, s.claim = nil, failing(down) })
		pass(3 * roundTime)
		list := c.take()
		require.Equal(t, "outage of listing ownerships: none", list[0])
		require.Contains(t, list, "outage of claiming: failed")
		require.Contains(t, list, "claim failed")
		a.store.set(func(s *faultyStore) { s.claim = nil })
		pass(2 * roundTime)
		require.Equal(t, []string{"outage of claiming: none"}, c.take())
	})
}

func TestHooksTellOfClaimsThatAreLost(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		c := &calls{}
		once := false
		f.start("a", func(s *settings) {
			s.options.Hooks = c.hooks()
			s.owner.store.claim = func(context.Context) error {
				if !once {
					once = true
					f.claimAs("b", "0")
				}
				return nil
			}
		})
		pass(opening)
		require.Equal(t, []string{"run of a starts", "claim lost"}, c.take())
	})
}

func TestHooksTellOfCheckpointsOfAHandlerOfOnesOwn(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		c := &calls{}
		f.send(2, "0")
		f.start("a", func(s *settings) { s.options.Hooks = c.hooks() })
		pass(opening)
		list := c.take()
		require.Equal(t, []string{"checkpoint 0 for 1: none", "checkpoint 1 for 1: none"}, slices.DeleteFunc(list, func(s string) bool { return s[:5] != "check" }))
	})
}

// everyHook returns hooks that all call f with their name and argument.
func everyHook(f func(hook string, info reflect.Value)) *processor.Hooks {
	var h processor.Hooks
	fields := reflect.ValueOf(&h).Elem()
	for i := range fields.NumField() {
		hook := fields.Type().Field(i)
		fields.Field(i).Set(reflect.MakeFunc(hook.Type, func(arguments []reflect.Value) []reflect.Value {
			f(hook.Name, arguments[0])
			return nil
		}))
	}
	return &h
}

func TestHooksNameTheConsumerGroupAndThePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		called := make(map[string]bool)
		var group checkpointstore.Scope
		hooks := everyHook(func(hook string, info reflect.Value) {
			mu.Lock()
			defer mu.Unlock()
			called[hook] = true
			if hook != "RunStart" && hook != "RunEnd" {
				require.Equal(t, group, info.FieldByName("Scope").Interface(), hook)
			}
			if id := info.FieldByName("PartitionID"); id.IsValid() {
				require.Equal(t, "0", id.String(), hook)
			}
		})
		handle := func(_ context.Context, b *processor.Batch) error {
			require.Equal(t, group, b.Scope)
			return nil
		}
		properties, err := processortest.NewHub(1).Client("").Properties(t.Context())
		require.NoError(t, err)
		group = checkpointstore.Scope{
			FullyQualifiedNamespace: properties.FullyQualifiedNamespace,
			EventHubName:            properties.EventHubName,
			ConsumerGroup:           properties.ConsumerGroup,
		}
		p := processortest.Start(t, processor.Batches(handle, nil), &processor.Options{Hooks: hooks})
		p.AwaitReading()
		require.Equal(t, group, p.Processor.Status().Scope)
		p.Send("one")
		p.AwaitCheckpoint(0)
		p.Hub.Deny("0", errors.New("detached"))
		p.Hub.Deny("0", nil)
		pass(time.Second)
		p.Hub.Hang(true)
		pass(time.Minute)
		p.Hub.Hang(false)
		require.NoError(t, p.Stop())
		for i := range reflect.TypeFor[processor.Hooks]().NumField() {
			require.Contains(t, called, reflect.TypeFor[processor.Hooks]().Field(i).Name)
		}
	})
}

func TestJoinHooksCallsAll(t *testing.T) {
	var called []string
	noting := func(who string) *processor.Hooks {
		return everyHook(func(hook string, _ reflect.Value) { called = append(called, who+hook) })
	}
	joined := reflect.ValueOf(processor.JoinHooks(nil, noting("first "), &processor.Hooks{}, noting("second "))).Elem()
	for i := range joined.NumField() {
		called = nil
		name := joined.Type().Field(i).Name
		joined.Field(i).Call([]reflect.Value{reflect.Zero(joined.Field(i).Type().In(0))})
		require.Equal(t, []string{"first " + name, "second " + name}, called)
	}
	require.Zero(t, *processor.JoinHooks(nil, &processor.Hooks{}), "functions that nobody needs cost nothing")
}
