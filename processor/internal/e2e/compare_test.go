package e2e

import (
	"os"
	"testing"
)

// compare runs the official store beside ours where the outcome differs.
func compare() bool { return os.Getenv("E2E_COMPARE") != "" }

// eachStore runs a test on our store and, to compare, on the official one.
func eachStore(t *testing.T, test func(t *testing.T, official bool)) {
	for _, official := range []bool{false, true} {
		if official && !compare() {
			continue
		}
		t.Run(storeName(official), func(t *testing.T) { test(t, official) })
	}
}

func storeName(official bool) string {
	if official {
		return "official store"
	}
	return "this store"
}
