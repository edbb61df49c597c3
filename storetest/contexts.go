package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/ea947076/checkpointstore"
)

// contextCases are about contexts that have ended.
func contextCases() []testCase {
	var cases []testCase
	for _, ended := range []struct {
		what string
		want error
		make func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"that was cancelled", context.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}},
		{"whose deadline has passed", context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Hour))
		}},
	} {
		with := func(run func(*env, context.Context)) func(*env) {
			return func(e *env) {
				ctx, cancel := ended.make(e.ctx())
				defer cancel()
				run(e, ctx)
			}
		}
		cases = append(cases,
			testCase{"ListOwnership gives the error of a context " + ended.what, with(func(e *env, ctx context.Context) {
				_, err := e.store.ListOwnership(ctx, namespace, eventHub, group, nil)
				e.is(err, ended.want)
			})},
			testCase{"ListCheckpoints gives the error of a context " + ended.what, with(func(e *env, ctx context.Context) {
				_, err := e.store.ListCheckpoints(ctx, namespace, eventHub, group, nil)
				e.is(err, ended.want)
			})},
			testCase{"UpdateCheckpoint gives the error of a context " + ended.what, with(func(e *env, ctx context.Context) {
				e.is(e.store.UpdateCheckpoint(ctx, at("0", 5, "50"), nil), ended.want)
				e.update(at("0", 6, "60"))
				e.stored(at("0", 6, "60"))
			})},
			testCase{"ClaimOwnership gives what it won and, for each other partition, the error of a context " + ended.what, with(func(e *env, ctx context.Context) {
				asked := claims("0", "1", "2", "3")
				won, err := e.store.ClaimOwnership(ctx, asked, nil)
				e.is(err, ended.want)
				var failed *checkpointstore.PartitionErrors
				if !errors.As(err, &failed) || len(failed.Errors)+len(won) != len(asked) {
					e.Fatalf("%d partitions were won and the error is %v, want *PartitionErrors for all others", len(won), err)
				}
				listed := e.ownerships()
				for _, o := range won {
					e.sameRecord(listed[o.PartitionID], o)
				}
				for _, f := range failed.Errors {
					e.is(f, ended.want)
					if f.PartitionID == "" {
						e.Fatalf("the error %q does not say of which partition it is", f)
					}
				}
			})},
		)
	}
	return append(cases, testCase{"what cannot be stored is refused whether or not the context has ended", func(e *env) {
		ctx, cancel := context.WithCancel(e.ctx())
		cancel()
		_, err := e.store.ClaimOwnership(ctx, claims(""), nil)
		e.refuses(err)
		e.refuses(e.store.UpdateCheckpoint(ctx, at("", 5, "50"), nil))
	}})
}

func (e *env) is(err, want error) {
	e.Helper()
	if !errors.Is(err, want) {
		e.Fatalf("the call gives %v, want %v", err, want)
	}
}
