// Package securitytest tests what SECURITY.md says: that secrets stay in requests, that records of others stay data,
// that names stay in their scope, and which permissions each call needs.
package securitytest

import (
	"testing"

	"github.com/ea947076/checkpointstore/internal/blobtest"
)

func TestMain(m *testing.M) { blobtest.Main(m) }
