//go:build !unix

package e2e

import "testing"

func testPausedOwner(t *testing.T, _ *report) {
	t.Skip("needs SIGSTOP")
}
