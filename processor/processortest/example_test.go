package processortest_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/processor"
	"github.com/ea947076/checkpointstore/processor/processortest"
)

// count counts events by their bodies.
type count map[string]int

func (c count) handle(_ context.Context, b *processor.Batch) error {
	for _, e := range b.Events {
		c[string(e.Body)]++
	}
	return nil
}

func TestHandlerCountsEachEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its waits take no time
		counted := count{}
		p := processortest.Start(t, processor.Batches(counted.handle, nil), nil)
		p.Send("apple", "pear", "apple")
		p.AwaitCheckpoint(2) // of the third event
		p.Rewind(0)          // all but the first event again
		p.AwaitCheckpoint(2)
		require.Equal(t, count{"apple": 3, "pear": 2}, counted)
	})
}
