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

// Looking reports whether a look for live owners under verbatim names is on its way.
func (s *BlobCheckpointStore) Looking() bool {
	s.spellings.mu.Lock()
	defer s.spellings.mu.Unlock()
	for _, v := range s.spellings.scopes {
		if v.looking {
			return true
		}
	}
	return false
}
