package azurite

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
)

// shared is the one server of a test binary.
var shared sharedServer

type sharedServer struct {
	mu     sync.Mutex
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
	server, err := shared.get()
	if err != nil {
		tb.Fatal(err)
	}
	return server
}

// CloseShared ends the server of [Shared], if there is one; for a TestMain. The next call of Shared starts another.
func CloseShared() {
	shared.close()
}

// NewContainerName returns a valid name for a blob container that nobody else uses.
func NewContainerName(tb testing.TB) string {
	tb.Helper()
	return "test-" + strings.ToLower(rand.Text())
}

func (s *sharedServer) get() (*Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tried {
		s.tried = true
		s.server, s.err = Start(context.Background()) // installing and starting have bounds of their own
	}
	return s.server, s.err
}

func (s *sharedServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.Close()
	}
	s.tried, s.server, s.err = false, nil, nil
}
