package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
)

// recorder is a testing.TB that keeps a failure to itself.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) record(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, text)
}

func (r *recorder) Errorf(format string, args ...any) { r.record(fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.record(fmt.Sprint(args...)) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.record(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.record(fmt.Sprint(args...))
	runtime.Goexit()
}

// failures runs one case and returns what it finds.
func failures(t *testing.T, c testCase, store checkpointstore.CheckpointStore, open func() checkpointstore.CheckpointStore) []string {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.record(fmt.Sprint("panic: ", p))
			}
		}()
		c.on(r, store, open)
	}()
	<-done
	return r.failures
}

// TestEveryCaseCanFail runs the suite on stores with one defect each. The cases
// that are named with the defect must find it, and every case of the suite must
// find some defect. In the bubble, a store that sleeps goes on when every other
// goroutine is blocked, so that races between claims have one outcome.
func TestEveryCaseCanFail(t *testing.T) {
	synctest.Test(t, everyCaseCanFail)
}

func everyCaseCanFail(t *testing.T) {
	finds := make(map[string]bool)
	for _, b := range slices.Concat(brokenClaims(), brokenRecords(), brokenCheckpoints(), brokenPositions(), brokenScopes(), brokenRewinds()) {
		var found []string
		for _, c := range allCases() {
			if b.alone && slices.ContainsFunc(raceCases(), func(race testCase) bool { return race.name == c.name }) {
				continue
			}
			sound := inner{memstore.New()}
			h := &hooked{CheckpointStore: sound}
			b.breaks(sound, h)
			share := func() checkpointstore.CheckpointStore { return sound.Share() }
			if len(failures(t, c, h, share)) > 0 {
				found = append(found, c.name)
				finds[c.name] = true
			}
		}
		for _, name := range b.found {
			if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, name) }) {
				t.Errorf("a store in which %s passes %q", b.name, name)
			}
		}
	}
	for _, c := range allCases() {
		if !finds[c.name] {
			t.Errorf("no broken store fails %q", c.name)
		}
	}
}

// TestNamesAreUnique: two cases of one name would hide one another in reports.
func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range allCases() {
		if seen[c.name] {
			t.Errorf("two cases are named %q", c.name)
		}
		seen[c.name] = true
	}
	if len(seen) < 100 {
		t.Errorf("the suite has %d cases", len(seen))
	}
}

func allCases() []testCase { return slices.Concat(cases(), sharedCases()) }
