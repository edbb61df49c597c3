//go:build unix

package measure

import (
	"syscall"
	"time"
)

// cpuTime is the user and system time of the process, all of its threads and the
// garbage collector included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
