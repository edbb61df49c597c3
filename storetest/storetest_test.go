package storetest_test

import (
	"testing"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/storetest"
)

// TestRun: package memstore's own test calls RunShared.
func TestRun(t *testing.T) {
	storetest.Run(t, func(testing.TB) checkpointstore.CheckpointStore { return memstore.New() })
}
