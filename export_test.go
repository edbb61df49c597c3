package checkpointstore

import "time"

// SetClock replaces the store's clock.
func (s *BlobCheckpointStore) SetClock(now func() time.Time) { s.now = now }

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
