package otel

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
)

// A store that is asked for ever new names must not keep them all.
func TestPlacesAreBounded(t *testing.T) {
	values := newPerPlace(func(p place) string { return p.EventHubName + "/" + p.partitionID })
	kept := func() (n int) {
		for _, of := range *values.of.Load() {
			n += len(of)
		}
		return n
	}
	for i := range maxPlaces + maxPlaces/8 {
		hub, partition := fmt.Sprint("hub", i/32), strconv.Itoa(i%32)
		p := place{checkpointstore.Scope{EventHubName: hub}, partition}
		require.Equal(t, hub+"/"+partition, values.get(p))
		require.Equal(t, hub+"/"+partition, values.get(p), "it is kept")
		require.LessOrEqual(t, kept(), maxPlaces)
	}
	require.Equal(t, maxPlaces/8, kept(), "each once, since there were too many")
}
