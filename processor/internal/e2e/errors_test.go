package e2e

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/emulator"
	"github.com/ea947076/checkpointstore/processor"
)

// testPermanentErrors: what will not pass ends an owner that never worked, with what
// to do about it.
func testPermanentErrors(t *testing.T, _ *report) {
	for _, v := range []variant{variants[0], variants[1]} {
		for name, s := range map[string]struct {
			change func(w *world, c *config)
			is     error
			says   string
		}{
			"no container": {func(_ *world, c *config) { c.Container = "missing" }, checkpointstore.ErrContainerNotFound, "missing"},
			"wrong key": {func(_ *world, c *config) {
				c.Storage = replaceKey(c.Storage)
			}, checkpointstore.ErrNotAuthorized, ""},
			"no hub": {func(_ *world, c *config) { c.Hub = strings.Replace(c.Hub, "EntityPath=Hub", "EntityPath=other", 1) }, nil, "no entity other"},
			"hub not authorized": {func(w *world, _ *config) {
				require.NoError(w.t, w.onEmulator().Deny(emulator.Management, emulator.UnauthorizedAccess))
			}, nil, "amqp:unauthorized-access"},
		} {
			t.Run(name+", "+v.name, func(t *testing.T) {
				w := newWorld(t, 2, 20)
				w.onEmulator()
				a := w.config(0).as(v)
				a.Once = true
				s.change(w, &a)
				o := w.start(a, newNetwork())
				<-o.done
				require.Error(t, o.err)
				if s.is != nil {
					require.ErrorIs(t, o.err, s.is)
				}
				require.ErrorContains(t, o.err, s.says)
				require.True(t, processor.IsPermanent(o.err))
				require.NotContains(t, o.err.Error(), "\n")
			})
		}
	}
}

// replaceKey is a connection string with another account key.
func replaceKey(connection string) string {
	before, after, _ := strings.Cut(connection, "AccountKey=")
	_, rest, _ := strings.Cut(after, ";")
	return before + "AccountKey=" + strings.Repeat("A", 86) + "==;" + rest
}

// testErrorsLater: after a success, errors end Run as the user chose.
func testErrorsLater(t *testing.T, _ *report) {
	t.Run("container deleted, StopOn", func(t *testing.T) {
		w := newWorld(t, 2, 20)
		a := w.config(0)
		a.Tune = func(o *processor.Options) { o.StopOn = processor.IsPermanent }
		o := w.start(a, newNetwork())
		w.complete()
		_, err := w.client.Delete(t.Context(), nil)
		require.NoError(t, err)
		<-o.done
		require.ErrorIs(t, o.err, checkpointstore.ErrContainerNotFound)
	})
	t.Run("container deleted and made again", func(t *testing.T) {
		w := newWorld(t, 2, 20)
		o := w.start(w.config(0), newNetwork())
		w.complete()
		_, err := w.client.Delete(t.Context(), nil)
		require.NoError(t, err)
		eventually(t, "the warning", func() bool { return strings.Contains(strings.Join(o.Journal.warned(), "\n"), "container") })
		eventually(t, "the container", func() bool { return w.eye.EnsureContainer(t.Context(), nil) == nil })
		w.hub.appendAll(5)
		w.complete()
		w.settled(o.Name)
	})
	t.Run("link not authorized, StopOn", func(t *testing.T) {
		w := newWorld(t, 2, 20)
		e := w.onEmulator()
		a := w.config(0)
		a.Tune = func(o *processor.Options) { o.StopOn = processor.IsPermanent }
		o := w.start(a, newNetwork())
		w.complete()
		require.NoError(t, e.Deny(emulator.Partition("1"), emulator.UnauthorizedAccess))
		_, err := e.Steal("1")
		require.NoError(t, err)
		<-o.done
		var hub *azeventhubs.Error
		require.ErrorAs(t, o.err, &hub)
		require.Equal(t, azeventhubs.ErrorCodeUnauthorizedAccess, hub.Code)
		require.ErrorContains(t, o.err, "partition 1")
		require.Empty(t, w.owners(), "released")
	})
}
