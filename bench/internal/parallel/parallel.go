// Package parallel runs functions side by side.
package parallel

import (
	"sync"
	"sync/atomic"
)

// Do calls do for 0 to n-1, at most limit at once, and returns when all have
// returned.
func Do(n, limit int, do func(int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, limit) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}
