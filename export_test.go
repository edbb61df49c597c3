package checkpointstore

import (
	"context"
	"net"
)

// DialWith makes the store's own transport connect through dial. Call it before the first request.
func (s *BlobCheckpointStore) DialWith(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.transport.DialContext = dial
}
