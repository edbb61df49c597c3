package fakeblob

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Blob is a copy of one blob's state.
type Blob struct {
	Name string
	// Metadata has the names in the case in which they were written. It is never nil.
	Metadata map[string]string
	// ETag is in the quoted form of the ETag header.
	ETag         string
	LastModified time.Time
	Created      time.Time
	Leased       bool
}

// blob is the state of one blob. The metadata map is never changed in place, so readers may keep it.
type blob struct {
	metadata     map[string]string
	etag         string // quoted
	lastModified time.Time
	created      time.Time
	leased       bool
	leaseBroken  bool
}

// Put writes a blob without a request, whatever its ETag or lease, and returns its new ETag in quoted form. It
// panics after DeleteContainer: create the container with a request first.
func (s *Service) Put(name string, metadata map[string]string) (etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.containerGone {
		panic("fakeblob: Put: the container was deleted")
	}
	return s.write(name, maps.Clone(metadata)).etag
}

// PutDirectory writes the stub by which an account with hierarchical namespace shows a directory in flat listings:
// an empty blob with the metadata hdi_isfolder=true. The name has no trailing slash on such accounts.
func (s *Service) PutDirectory(name string) (etag string) {
	return s.Put(name, map[string]string{"hdi_isfolder": "true"})
}

// Delete removes a blob without a request, leased or not. An absent blob is not an error.
func (s *Service) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.blobs, name)
}

// Get returns a copy of a blob's state; false if the blob is absent.
func (s *Service) Get(name string) (Blob, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[name]
	if !ok {
		return Blob{}, false
	}
	metadata := maps.Clone(b.metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	return Blob{
		Name: name, Metadata: metadata, ETag: b.etag,
		LastModified: b.lastModified, Created: b.created, Leased: b.leased,
	}, true
}

// Names returns the names of all blobs in order.
func (s *Service) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.blobs))
}

// SetLastModified sets the time of a blob's last change, cut to whole seconds, and keeps its ETag. It panics if the
// blob is absent.
func (s *Service) SetLastModified(name string, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustHave("SetLastModified", name).lastModified = t.UTC().Truncate(time.Second)
}

// Lease gives a blob an infinite lease that no request can name, so that writes to it are refused. Its ETag stays.
// It panics if the blob is absent.
func (s *Service) Lease(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mustHave("Lease", name)
	b.leased, b.leaseBroken = true, false
}

// Break ends a blob's lease. Its ETag stays. It panics if the blob is absent.
func (s *Service) Break(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.mustHave("Break", name)
	b.leaseBroken = b.leased || b.leaseBroken
	b.leased = false
}

// DeleteContainer removes the container with all its blobs. A Create Container request brings it back at once,
// without the pause that Azure makes (409 ContainerBeingDeleted).
func (s *Service) DeleteContainer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containerGone = true
	clear(s.blobs)
}

// mustHave returns a blob. The caller holds s.mu.
func (s *Service) mustHave(method, name string) *blob {
	b, ok := s.blobs[name]
	if !ok {
		panic("fakeblob: " + method + ": no blob " + strconv.Quote(name))
	}
	return b
}

// write replaces a blob's metadata, gives it a new ETag and the time of now. The caller holds s.mu.
func (s *Service) write(name string, metadata map[string]string) *blob {
	now := s.now()
	b, ok := s.blobs[name]
	if !ok {
		b = &blob{created: now}
		s.blobs[name] = b
	}
	b.metadata = metadata
	b.etag = fmt.Sprintf(`"0x%X"`, s.writes.Add(1))
	b.lastModified = now
	return b
}
