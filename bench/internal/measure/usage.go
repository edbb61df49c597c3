package measure

import (
	"runtime"
	"time"
)

// usage is what the process has used up so far.
type usage struct {
	at             time.Time
	cpu            time.Duration
	mallocs, bytes uint64
}

func usageBefore() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{mallocs: m.Mallocs, bytes: m.TotalAlloc, cpu: cpuTime(), at: time.Now()}
}

func usageAfter() usage {
	u := usage{at: time.Now(), cpu: cpuTime()}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.mallocs, u.bytes = m.Mallocs, m.TotalAlloc
	return u
}
