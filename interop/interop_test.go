// Package interop_test runs the blob store beside the stores of other SDKs, in one container of a real Azurite.
package interop_test

import (
	"os"
	"testing"

	"github.com/ea947076/checkpointstore/internal/azurite"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, d := range drivers() {
		d.stop()
	}
	azurite.CloseShared()
	os.Exit(code)
}
