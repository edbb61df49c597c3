package e2e

import (
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/ea947076/checkpointstore/internal/faults"
)

// network is what lies between stores and their container: the faults that a test
// injects, and a count of the requests.
type network struct {
	*faults.Transport
	client *http.Client

	// seen, if it is set, is told of each request before it is sent.
	seen func(*http.Request)

	// won, if it is set, is told of each claim that took effect.
	won func(partition, owner string)

	mu    sync.Mutex
	begun int64     // rounds
	last  time.Time // when a request about ownerships began or ended

	writes   atomic.Int64 // of ownerships, that took effect
	requests atomic.Int64
	answered atomic.Int64
	lists    atomic.Int64 // of ownerships, answered: one a round
}

var _ policy.Transporter = (*network)(nil)

// The requests that tests ask for.
var (
	aboutOwnerships = faults.NameHas("/ownership/")
	listOwnerships  = faults.All(faults.OpIs(faults.ListBlobs), aboutOwnerships)
	writeOwnership  = faults.All(faults.OpIs(faults.PutBlob, faults.SetMetadata), aboutOwnerships)

	aboutCheckpoints = faults.NameHas("/checkpoint/")
	listCheckpoints  = faults.All(faults.OpIs(faults.ListBlobs), aboutCheckpoints)
	writeCheckpoint  = faults.All(faults.OpIs(faults.PutBlob, faults.SetMetadata), aboutCheckpoints)
)

func newNetwork() *network {
	n := &network{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	n.Transport = faults.New(faults.TransportFunc(n.arrive), rand.Uint64())
	return n
}

// Do counts what the store sees of a request.
func (n *network) Do(req *http.Request) (*http.Response, error) {
	n.requests.Add(1)
	if aboutOwnerships(req) {
		n.note(listOwnerships(req))
		defer n.note(false)
	}
	if n.seen != nil {
		n.seen(req)
	}
	resp, err := n.Transport.Do(req)
	if err != nil {
		return nil, err
	}
	if listOwnerships(req) && resp.StatusCode < 300 {
		n.lists.Add(1)
	}
	n.answered.Add(1) // after the others are counted
	return resp, nil
}

// arrive counts what the container sees of a request.
func (n *network) arrive(req *http.Request) (*http.Response, error) {
	resp, err := n.client.Do(req)
	if err == nil && writeOwnership(req) && resp.StatusCode < 300 {
		n.writes.Add(1)
		if n.won != nil {
			n.won(path.Base(req.URL.Path), ownerOf(req.Header))
		}
	}
	return resp, err
}

// pause is the least time between two rounds, at an interval of a second; within a
// round, requests about ownerships follow each other at a tenth of that.
const pause = 600 * time.Millisecond

// round is how many rounds the owner has begun. It counts lists that come a while
// after all earlier requests about ownerships, and is meant for intervals of a second
// or more.
func (n *network) round() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.begun
}

// note counts rounds.
func (n *network) note(list bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if list && time.Since(n.last) > pause {
		n.begun++
	}
	n.last = time.Now()
}

// close closes the connections that are kept.
func (n *network) close() { n.client.CloseIdleConnections() }

// ownerOf is the owner id of a claim. Names of metadata are sent as they are, so Get
// does not find them.
func ownerOf(h http.Header) string {
	for name, values := range h {
		if strings.EqualFold(name, "x-ms-meta-ownerid") {
			return values[0]
		}
	}
	return ""
}
