package checkpointstore

import "time"

// SetClock replaces the store's clock.
func (s *BlobCheckpointStore) SetClock(now func() time.Time) { s.now = now }

// KnownPartitions is how many partitions the store remembers.
func (s *BlobCheckpointStore) KnownPartitions() int {
	s.partitions.mu.Lock()
	defer s.partitions.mu.Unlock()
	n := 0
	for _, scope := range s.partitions.byScope {
		n += len(scope)
	}
	return n
}
