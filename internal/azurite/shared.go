package azurite

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
)

// shared is the one server of a test binary.
var shared struct {
	sync.Mutex
	tried  bool
	server *Server
	err    error
}

// Shared returns the Azurite of this test binary, which the first call starts and which stays until the binary ends or
// [CloseShared] is called. It skips the test in -short mode and fails it, with one line, if there is no Azurite to be
// had; that is tried once only. It may be called at once by any number of tests, which share the server and must each
// use a container of their own: see [NewContainerName].
func Shared(tb testing.TB) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs Azurite: left out by -short")
	}
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		shared.server, shared.err = Start(context.Background()) // installing and starting have bounds of their own
	}
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.server
}

// CloseShared ends the server of [Shared], if there is one; for a TestMain.
func CloseShared() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Close()
	}
}

// NewContainerName returns a valid name for a blob container that nobody else uses.
func NewContainerName(tb testing.TB) string {
	tb.Helper()
	return "test-" + strings.ToLower(rand.Text())
}
