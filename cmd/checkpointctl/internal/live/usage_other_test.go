//go:build !unix

package live_test

import (
	"testing"
	"time"
)

// processorTime is how long this process has used a processor, at most: the time.
func processorTime(testing.TB) time.Duration { return time.Since(begun) }

var begun = time.Now()
