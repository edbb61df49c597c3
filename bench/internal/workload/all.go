package workload

import (
	"time"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
)

const ms = time.Millisecond

// All is everything: all sizes, latencies and back ends.
func All() []Work {
	sizes, lists := []int{4, 32, 256, 1024}, []int{32, 1024, 6000}
	var all []Work
	all = append(all, claims(backend.InProcess, sizes, 0)...)
	all = append(all, singles(backend.InProcess, 0)...)
	all = append(all, listings(backend.InProcess, lists, 0)...)
	all = append(all, underDefault()...)
	for _, latency := range []time.Duration{0, 5 * ms, 20 * ms} {
		all = append(all, claims(backend.TLS, sizes, latency)...)
		all = append(all, singles(backend.TLS, latency)...)
	}
	all = append(all, handedIn())
	all = append(all, listings(backend.TLS, lists, 5*ms)...)
	all = append(all, claims(backend.Azurite, sizes, 0)...)
	all = append(all, singles(backend.Azurite, 0)...)
	all = append(all, listings(backend.Azurite, lists, 0)...)
	return all
}

// Quick is what tells in half a minute whether the targets that are counts are
// met.
func Quick() []Work {
	var all []Work
	all = append(all, claims(backend.InProcess, []int{4, 256}, 0)...)
	all = append(all, singles(backend.InProcess, 0)...)
	all = append(all, listings(backend.InProcess, []int{32, 1024, 6000}, 0)...)
	all = append(all, underDefault()...)
	all = append(all, claims(backend.TLS, []int{4, 32}, 0)...)
	all = append(all, claims(backend.TLS, []int{256}, 5*ms)...)
	all = append(all, singles(backend.TLS, 5*ms)...)
	all = append(all, listings(backend.TLS, []int{1024}, 5*ms)...)
	all = append(all, claims(backend.Azurite, []int{4}, 0)...)
	all = append(all, singles(backend.Azurite, 0)...)
	all = append(all, listings(backend.Azurite, []int{32}, 0)...)
	return all
}

func claims(on string, sizes []int, latency time.Duration) (all []Work) {
	for _, kind := range []Kind{Claim, Renew} {
		for _, n := range sizes {
			all = append(all, Work{Backend: on, Kind: kind, Records: n, Latency: latency})
		}
	}
	return all
}

func singles(on string, latency time.Duration) (all []Work) {
	for _, kind := range []Kind{Steady, FirstCheckpoint, UnlistedFirst, Get} {
		all = append(all, Work{Backend: on, Kind: kind, Records: 1, Latency: latency})
	}
	return all
}

func listings(on string, sizes []int, latency time.Duration) (all []Work) {
	for _, kind := range []Kind{ListOwnership, ListCheckpoints} {
		for _, n := range sizes {
			all = append(all, Work{Backend: on, Kind: kind, Records: n, Latency: latency})
		}
	}
	return all
}

// underDefault is what the consumer group's name may make a difference to.
func underDefault() []Work {
	w := Work{Backend: backend.InProcess, Default: true}
	var all []Work
	for _, of := range []struct {
		kind    Kind
		records int
	}{{Renew, 32}, {Steady, 1}, {FirstCheckpoint, 1}, {Get, 1}, {ListOwnership, 1024}, {ListCheckpoints, 1024}} {
		w.Kind, w.Records = of.kind, of.records
		all = append(all, w)
	}
	return all
}

func handedIn() Work {
	return Work{Backend: backend.TLS, Kind: Renew, Records: 256, Latency: 5 * ms, Handed: true}
}
