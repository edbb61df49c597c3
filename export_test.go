package checkpointstore

import "time"

// SetClock replaces the store's clock.
func (s *BlobCheckpointStore) SetClock(now func() time.Time) { s.now = now }
