package processor_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/processor"
)

var errAway = errors.New("the storage is away")

func TestHandlersEndAfterMaxOutageAndStartAgain(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		causes := make(chan error, 10)
		a := f.start("a", func(s *settings) { s.handler = reporting(causes) })
		pass(opening)
		a.store.set(func(s *faultyStore) { s.list = failing(errAway) })
		pass(5*time.Minute - roundTime)
		require.Empty(t, causes)
		pass(3 * roundTime)
		require.Len(t, causes, 2)
		err := <-causes
		require.ErrorIs(t, err, processor.ErrOutage)
		require.ErrorIs(t, err, errAway)
		require.Empty(t, a.Status().Partitions)
		a.store.set(func(s *faultyStore) { s.list = nil })
		pass(roundTime)
		f.requireBalanced(2, "a")
	})
}

func TestPermanentErrorBeforeTheFirstSuccessEndsRun(t *testing.T) {
	advice := &checkpointstore.Error{Op: "ListOwnership", Kind: checkpointstore.ErrContainerNotFound, Detail: "create the container"}
	for name, change := range map[string]func(*settings){
		"list": func(s *settings) { s.owner.store.list = failing(advice) },
		"claim": func(s *settings) {
			s.owner.store.claim = failing(&checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{advice}})
		},
		"checkpoints": func(s *settings) { s.owner.store.listCheckpoints = failing(advice) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, f *fleet) {
				a := f.start("a", change)
				pass(time.Second)
				<-a.ended
				require.ErrorIs(t, a.err, checkpointstore.ErrContainerNotFound)
				require.ErrorContains(t, a.err, "create the container")
				require.Empty(t, f.owners())
			})
		})
	}
}

func TestEventHubThatRefusesTheCredentialEndsRun(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		refused := &azeventhubs.Error{Code: azeventhubs.ErrorCodeUnauthorizedAccess}
		a := f.start("a", func(s *settings) { s.hub = &failingHub{s.hub, refused} })
		pass(time.Second)
		<-a.ended
		require.ErrorIs(t, a.err, refused)
	})
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		hub := &failingHub{EventHub: f.hub.Client("a"), err: errAway}
		a := f.start("a", func(s *settings) { s.hub = hub })
		pass(time.Minute)
		require.Len(t, a.log.at(slog.LevelWarn), 1)
		require.ErrorIs(t, a.Status().EventHubError, errAway)
		require.NoError(t, a.finish())
	})
}

// failingHub is a hub whose properties cannot be read.
type failingHub struct {
	processor.EventHub
	err error
}

func (h *failingHub) Properties(context.Context) (processor.EventHubProperties, error) {
	return processor.EventHubProperties{}, h.err
}

func TestPassingErrorBeforeTheFirstSuccessIsWarnedOf(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, f *fleet) {
		a := f.start("a", func(s *settings) { s.owner.store.list = failing(errAway) })
		pass(time.Hour)
		require.Len(t, a.log.at(slog.LevelWarn), 1)
		require.Contains(t, a.log.String(), errAway.Error())
		a.store.set(func(s *faultyStore) { s.list = nil })
		pass(roundTime)
		f.requireBalanced(2, "a")
	})
}

func TestPermanentErrorAfterTheFirstSuccessEndsRunAsTheUserChose(t *testing.T) {
	denied := &checkpointstore.Error{Op: "ListOwnership", Kind: checkpointstore.ErrNotAuthorized, Detail: "grant the role"}
	for name, stopOn := range map[string]func(error) bool{"never": nil, "IsPermanent": processor.IsPermanent} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, func(t *testing.T, f *fleet) {
				a := f.start("a", func(s *settings) { s.options.StopOn = stopOn })
				pass(opening)
				a.store.set(func(s *faultyStore) { s.list = failing(denied) })
				pass(roundTime)
				if stopOn == nil {
					require.Equal(t, 2, len(f.hub.Readers()), "reading goes on")
					a.store.set(func(s *faultyStore) { s.list = nil })
					pass(roundTime)
					require.NoError(t, a.finish())
					return
				}
				<-a.ended
				require.ErrorIs(t, a.err, checkpointstore.ErrNotAuthorized)
				require.ErrorContains(t, a.err, "grant the role")
				require.Empty(t, f.owners(), "released")
			})
		})
	}
}

func TestFatalOfAHandlerEndsRun(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, f *fleet) {
		f.send(1, "2")
		bug := errors.New("schema changed")
		a := f.start("a", func(s *settings) {
			s.handler = func(ctx context.Context, p *processor.Partition) error {
				if _, err := p.ReceiveEvents(ctx, 1, nil); err != nil {
					return err
				}
				return processor.Fatal(bug)
			}
		})
		pass(time.Second)
		<-a.ended
		require.ErrorIs(t, a.err, bug)
		require.EqualError(t, a.err, bug.Error())
		require.Empty(t, f.owners())
	})
	require.NoError(t, processor.Fatal(nil))
}

func TestNilLoggerIsTheDefaultOneForWarningsAndErrors(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, f *fleet) {
		text := &logText{}
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug})))
		defer slog.SetDefault(before)
		a := f.start("a", func(s *settings) {
			s.options.Logger = nil
			s.handler = func(context.Context, *processor.Partition) error { panic("a bug in the handler") }
		})
		pass(opening)
		require.NoError(t, a.finish())
		require.NotEmpty(t, text.at(slog.LevelError))
		require.Contains(t, text.String(), "a bug in the handler")
		require.Contains(t, text.String(), "stack=")
		require.Empty(t, text.at(slog.LevelInfo))
		require.Empty(t, text.at(slog.LevelDebug))
	})
}

func TestOptionsAreChecked(t *testing.T) {
	hub, store := newFleet(t, 1).hub.Client("a"), memstore.New()
	handler := func(context.Context, *processor.Partition) error { return nil }
	for name, c := range map[string]struct {
		options *processor.Options
		text    string
	}{
		"negative":   {&processor.Options{MaxBackoff: -1}, "MaxBackoff"},
		"expiration": {&processor.Options{UpdateInterval: time.Minute}, "twice"},
	} {
		_, err := processor.NewWithEventHub(hub, store, handler, c.options)
		require.ErrorContains(t, err, c.text, name)
	}
	_, err := processor.NewWithEventHub(hub, store, nil, nil)
	require.Error(t, err)
	_, err = processor.New(nil, store, handler, nil)
	require.Error(t, err)
}
