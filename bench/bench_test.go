package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/workload"
)

// BenchmarkStores measures the works of the command as Go benchmarks, to compare two revisions with benchstat, or the
// stores with one another:
//
//	go test -run '^$' -bench Stores/in-process -count 6 . >new.txt
//	go tool benchstat old.txt new.txt
//	go tool benchstat -col /store new.txt
func BenchmarkStores(b *testing.B) {
	var backends backend.Backends
	b.Cleanup(backends.Close)
	for _, w := range workload.All() {
		b.Run(w.Name(), func(b *testing.B) {
			on, err := backends.Get(b.Context(), w.Backend)
			require.NoError(b, err)
			workload.Benchmark(b, w, on)
		})
	}
}
