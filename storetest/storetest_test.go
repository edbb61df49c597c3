package storetest_test

import (
	"testing"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/storetest"
)

func TestRun(t *testing.T) {
	storetest.Run(t, func(testing.TB) checkpointstore.CheckpointStore { return memstore.New() })
}

func TestRunShared(t *testing.T) {
	storetest.RunShared(t, func(testing.TB) func() checkpointstore.CheckpointStore {
		first := memstore.New()
		return func() checkpointstore.CheckpointStore { return first.Share() }
	})
}
