// Package e2e runs real Processors over real stores, with Azurite and the Event
// Hubs emulator or, where EVENTHUB_CONNECTION_STRING and
// AZURE_STORAGE_CONNECTION_STRING are set, with the services. It keeps a ledger of
// every event that is handled, and prints a table of what it measured.
package e2e

import (
	"os"
	"testing"

	"github.com/ea947076/checkpointstore/internal/azurite"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childVariable); config != "" {
		os.Exit(child(config))
	}
	code := m.Run()
	azurite.CloseShared()
	os.Exit(code)
}
