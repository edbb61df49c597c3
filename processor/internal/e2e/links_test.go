package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// testDroppedConnections: connections that end are opened again, and nobody loses a
// partition by it.
func testDroppedConnections(t *testing.T, _ *report) {
	w := newWorld(t, 8, 20)
	e := w.onEmulator()
	a, b := w.config(0), w.config(1)
	w.start(a, newNetwork())
	w.start(b, newNetwork())
	w.settled(a.Name, b.Name)
	seen := w.watch()
	_, err := e.DropConnections()
	require.NoError(t, err)
	w.hub.appendAll(5)
	w.complete()
	seen.stop()
	changes, back := seen.result()
	require.Zero(t, changes)
	require.Empty(t, back)
}
