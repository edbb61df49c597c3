package e2e

import (
	"context"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noLeaks fails the test if goroutines that it started are left when everything that
// is cleaned up later has been. Scenarios run beside each other, so a label tells whose
// a goroutine is: goroutines inherit it from the one that starts them.
func noLeaks(t *testing.T) {
	const label = "scenario"
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(label, t.Name())))
	t.Cleanup(func() {
		own := `"` + label + `":"` + t.Name() + `"`
		for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			left := labeled(own)
			if len(left) == 0 {
				return
			}
			if time.Since(start) > patience/4 {
				require.FailNow(t, "goroutines are left", strings.Join(left, "\n\n"))
			}
		}
	})
}

// labeled returns the stacks of goroutines with a label, except tests' own, those of
// connections that are kept for later requests, and those that azeventhubs v2.0.2
// itself leaves behind: Close of a client does not end the renewal of management's token.
func labeled(label string) []string {
	var profile strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&profile, 1)
	var found []string
	for _, group := range strings.Split(profile.String(), "\n\n") {
		switch {
		case !strings.Contains(group, label):
		case strings.Contains(group, "testing.tRunner"), strings.Contains(group, "net/http.(*persistConn)"),
			strings.Contains(group, "internal.(*Namespace).startNegotiateClaimRenewer"):
		default:
			found = append(found, group)
		}
	}
	return found
}
