package checkpointstore

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// How names are spelled: the store's own spelling, and the verbatim names, which
// consumers of other packages write. The store reads checkpoints under both, and
// warns of live owners under the verbatim names.

// scope returns the caller's names as the store writes them. Every method that
// reads or writes records calls it, so it also warns of odd namespaces.
func (s *BlobCheckpointStore) scope(verbatim layout.Scope) layout.Scope {
	scope := verbatim
	if s.settings.BlobNaming != BlobNamingVerbatim {
		scope = verbatim.Lower()
	}
	if isOddNamespace(scope.Namespace) {
		s.warnOfNamespace(scope)
	}
	return scope
}

// otherScope returns the verbatim names, which official Go, Java and Rust stores
// write, and whether the store has to read them: if they differ from its own
// spelling.
func (s *BlobCheckpointStore) otherScope(verbatim layout.Scope) (layout.Scope, bool) {
	return verbatim, s.settings.BlobNaming == BlobNamingLowerCase && verbatim != s.scope(verbatim)
}

// isOddNamespace reports whether a name is not a fully qualified namespace of
// Azure: it has no dot, or it has a port.
func isOddNamespace(namespace string) bool {
	return !strings.Contains(namespace, ".") || strings.Contains(namespace, ":")
}

// warnOfNamespace warns, once per scope, that consumers with the fully qualified
// namespace do not share the scope. Emulators have such namespaces.
func (s *BlobCheckpointStore) warnOfNamespace(scope layout.Scope) {
	if !s.settings.Logger.Enabled(context.Background(), slog.LevelWarn) || !s.oddScopes.add(scope) {
		return
	}
	s.settings.Logger.LogAttrs(context.Background(), slog.LevelWarn,
		"the namespace has no dot or has a port, which is right for an emulator only; consumers that use the fully qualified namespace, such as mynamespace.servicebus.windows.net, do not see these records",
		slog.String("namespace", scope.Namespace),
		slog.String("eventHub", scope.EventHub),
		slog.String("consumerGroup", scope.ConsumerGroup))
}

// maxWarnedScopes limits how many scopes a store remembers to have warned of. It
// does not warn of later ones.
const maxWarnedScopes = 256

// scopeSet is a set of scopes of bounded size. The zero value is empty.
type scopeSet struct {
	mu   sync.Mutex
	seen map[layout.Scope]struct{}
}

// add reports whether the scope is new and was added.
func (w *scopeSet) add(scope layout.Scope) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.seen[scope]; known || len(w.seen) >= maxWarnedScopes {
		return false
	}
	if w.seen == nil {
		w.seen = make(map[layout.Scope]struct{})
	}
	w.seen[scope] = struct{}{}
	return true
}

const (
	// lookEvery is how often the store looks for live owners under the verbatim
	// names of a scope, and for checkpoints after it found none there.
	lookEvery = 5 * time.Minute

	// liveFor is how long the Event Hubs processors consider an ownership live by
	// default.
	liveFor = time.Minute
)

// spellingWatch remembers for each scope what the store found under the verbatim
// names. The zero value is empty.
type spellingWatch struct {
	mu     sync.Mutex
	scopes map[layout.Scope]*verbatimNames
}

// verbatimNames is the entry of one scope.
type verbatimNames struct {
	looking bool      // a look for live owners is on its way
	looked  time.Time // when the last such look that was completed began

	listed time.Time // when the last list of the checkpoints began
	empty  bool      // it found none
}

// of returns the entry of a scope. The caller holds w.mu.
func (w *spellingWatch) of(verbatim layout.Scope) *verbatimNames {
	v := w.scopes[verbatim]
	if v == nil {
		if w.scopes == nil {
			w.scopes = make(map[layout.Scope]*verbatimNames)
		}
		v = &verbatimNames{}
		w.scopes[verbatim] = v
	}
	return v
}

// beginLook reports whether a check for live owners is due. If so, the caller ends
// it with endLook.
func (w *spellingWatch) beginLook(verbatim layout.Scope, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	if v.looking || now.Sub(v.looked) < lookEvery {
		return false
	}
	v.looking = true
	return true
}

// endLook ends a check. If it was not completed, the next one is due at once.
func (w *spellingWatch) endLook(verbatim layout.Scope, began time.Time, completed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	v.looking = false
	if completed {
		v.looked = began
	}
}

// mayHaveCheckpoints reports whether a list has to read the verbatim names. It need
// not if a list that began less than [lookEvery] ago found nothing there.
func (w *spellingWatch) mayHaveCheckpoints(verbatim layout.Scope, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.of(verbatim)
	return !v.empty || now.Sub(v.listed) >= lookEvery
}

// listedCheckpoints records the result of a list. Of concurrent lists, the one that
// began last counts.
func (w *spellingWatch) listedCheckpoints(verbatim layout.Scope, began time.Time, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.of(verbatim); !began.Before(v.listed) {
		v.listed, v.empty = began, empty
	}
}

// besideLook calls list and, if a check for live owners under the verbatim names is
// due, makes it at the same time. The check is canceled when the list is done, so
// it delays nothing; if it was not completed, it is due again.
func (s *BlobCheckpointStore) besideLook(ctx context.Context, verbatim layout.Scope, list func()) {
	_, differs := s.otherScope(verbatim)
	began := s.now()
	if !differs || !s.settings.Logger.Enabled(ctx, slog.LevelWarn) || !s.spellings.beginLook(verbatim, began) {
		list()
		return
	}
	looking, stop := context.WithCancel(ctx)
	var listing sync.WaitGroup
	listing.Go(func() {
		defer stop()
		list()
	})
	completed := s.warnOfVerbatimOwners(looking, verbatim)
	s.spellings.endLook(verbatim, began, completed)
	listing.Wait()
}

// warnOfVerbatimOwners logs a warning if somebody owns partitions of the scope
// under the verbatim names, where this store does not see them. It reports whether
// the check was completed, successfully or not, before its context ended.
func (s *BlobCheckpointStore) warnOfVerbatimOwners(ctx context.Context, verbatim layout.Scope) (completed bool) {
	found, err := s.list(ctx, verbatim, layout.Ownership)
	if err != nil && ctx.Err() != nil {
		return false
	}
	prefix := verbatim.Prefix(layout.Ownership)
	if err != nil {
		s.settings.Logger.LogAttrs(ctx, slog.LevelDebug, "could not check for live owners under the verbatim names",
			slog.String("prefix", prefix), slog.String("error", describe(s.secrets(), err)))
		return true
	}
	var live int
	var owner, partition string
	for _, r := range found {
		if id := r.values.OwnerID(); id != "" && s.now().Sub(r.lastModified) < liveFor {
			live++
			owner, partition = id, r.partitionID
		}
	}
	if live == 0 {
		return true
	}
	s.settings.Logger.LogAttrs(ctx, slog.LevelWarn,
		"a consumer that writes verbatim names (the official Go, Java or Rust store) owns partitions that this store hands out too: both read them; stop it, or set BlobNamingVerbatim here",
		slog.String("theirs", prefix),
		slog.String("ours", s.scope(verbatim).Prefix(layout.Ownership)),
		slog.Int("partitions", live),
		slog.String("partition", oneLine(partition)),
		slog.String("owner", oneLine(owner)))
	return true
}
