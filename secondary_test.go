package checkpointstore_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// geoRedundant is an account with two hosts that differ. It records where the
// requests go.
type geoRedundant struct {
	primary, secondary *fake.Service
	tryTimeout         time.Duration

	mu    sync.Mutex
	hosts string // P or S for each request
}

func newGeoRedundant() *geoRedundant {
	g := &geoRedundant{primary: fake.New(), secondary: fake.New()}
	g.secondary.ServeSecondary(blobtest.SecondaryHost)
	return g
}

func (g *geoRedundant) Do(req *http.Request) (*http.Response, error) {
	host, service := "P", g.primary
	if req.URL.Host == blobtest.SecondaryHost {
		host, service = "S", g.secondary
	}
	g.mu.Lock()
	g.hosts += host
	g.mu.Unlock()
	return service.Do(req)
}

// open makes a store with a token credential.
func (g *geoRedundant) open(t *testing.T) *checkpointstore.BlobCheckpointStore {
	t.Helper()
	o := checkpointstore.BlobCheckpointStoreOptions{SecondaryHost: blobtest.SecondaryHost}
	o.ClientOptions.Transport = g
	o.ClientOptions.Retry = policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond, TryTimeout: g.tryTimeout}
	store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(g.primary.URL(), token{}, &o)
	require.NoError(t, err)
	return store
}

// get reads the checkpoint of partition 0.
func (g *geoRedundant) get(t *testing.T) (checkpointstore.Checkpoint, error) {
	t.Helper()
	return g.open(t).GetCheckpoint(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
}

// requireBusy requires the error of a primary that is busy.
func requireBusy(t *testing.T, err error) {
	t.Helper()
	var resp *azcore.ResponseError
	require.ErrorAs(t, err, &resp)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.ErrorContains(t, err, "503 ServerBusy")
	require.NotErrorIs(t, err, checkpointstore.ErrNotFound)
}

// After a failure of the primary, and only then, the next try goes to the
// secondary; the one after that to the primary.
func TestGetCheckpointGoesToTheSecondaryAfterAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		fault faults.Fault
		hosts string
	}{
		"408":               {faults.Status(408, ""), "PS"},
		"429":               {faults.Status(429, "TooManyRequests"), "PS"},
		"500":               {faults.Status(500, "InternalError"), "PS"},
		"502":               {faults.Status(502, ""), "PS"},
		"503":               {faults.Busy(0), "PS"},
		"504":               {faults.Status(504, ""), "PS"},
		"no connection":     {faults.RefuseConnection(), "PS"},
		"a lost connection": {faults.LoseRequest(), "PS"},
		"a lost response":   {faults.LoseResponse(), "PS"},
		"a try that hangs":  {faults.HangWithoutApplying(), "PS"},
		"none":              {faults.Fault{}, "P"},
		"404":               {faults.Status(404, "BlobNotFound"), "P"},
		"403":               {faults.Forbidden(), "P"},
		"401":               {faults.Status(401, "NoAuthenticationInformation"), "P"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGeoRedundant()
				g.primary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(900))
				g.secondary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(800))
				g.primary.Inject(c.fault)
				if c.fault.String() == faults.HangWithoutApplying().String() {
					g.tryTimeout = 500 * time.Millisecond
				}
				got, err := g.get(t)
				require.Equal(t, c.hosts, g.hosts)
				switch {
				case c.hosts == "PS":
					require.NoError(t, err)
					require.EqualValues(t, 800, *got.SequenceNumber, "which is behind")
				case name == "none":
					require.NoError(t, err)
					require.EqualValues(t, 900, *got.SequenceNumber)
				default:
					require.Error(t, err)
				}
			})
		})
	}
}

// Whatever the secondary responds but a record, the primary is tried again; and if
// it stays down, the error is the primary's.
func TestTheSecondaryIsOnlyAFallback(t *testing.T) {
	for name, fault := range map[string]faults.Fault{
		"has no such record": {},
		"404":                faults.Status(404, ""),
		"403":                faults.Forbidden(),
		"400":                faults.Status(400, "InvalidUri"),
		"301":                faults.Status(301, ""),
		"500":                faults.Status(500, "InternalError"),
		"no connection":      faults.RefuseConnection(),
		"a lost response":    faults.LoseResponse(),
	} {
		t.Run(name, func(t *testing.T) {
			g := newGeoRedundant()
			g.primary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(900))
			g.primary.Inject(faults.Busy(0).Once())
			g.secondary.Inject(fault)
			got, err := g.get(t)
			require.NoError(t, err)
			require.EqualValues(t, 900, *got.SequenceNumber)
			require.Equal(t, "PSP", g.hosts)

			g.hosts = ""
			g.primary.Inject(faults.Busy(0))
			_, err = g.get(t)
			requireBusy(t, err)
			require.Equal(t, "PSPS", g.hosts)
		})
	}
}

// The error is that of the primary's last failure, whatever that was.
func TestTheErrorIsThePrimarysLast(t *testing.T) {
	g := newGeoRedundant()
	g.primary.Inject(faults.Busy(0).Once())
	g.primary.Inject(faults.LoseRequest())
	_, err := g.get(t)
	require.ErrorContains(t, err, "connection reset")
	require.Equal(t, "PSPS", g.hosts)
}

// What the primary does not have does not exist, whatever it said before.
func TestAbsenceAtThePrimaryCounts(t *testing.T) {
	g := newGeoRedundant()
	g.primary.Inject(faults.Busy(0).Once())
	_, err := g.get(t)
	require.ErrorIs(t, err, checkpointstore.ErrNotFound)
	require.Equal(t, "PSP", g.hosts)
}

// A context that ends while the secondary is read is that context's error.
func TestAContextThatEndsAtTheSecondary(t *testing.T) {
	g := newGeoRedundant()
	g.primary.Inject(faults.Busy(0))
	ctx, cancel := context.WithCancel(t.Context())
	g.secondary.Inject(faults.RunBefore(cancel))
	_, err := g.open(t).GetCheckpoint(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "PS", g.hosts)
}

// challenge asks for a token of a tenant, once.
func challenge(next policy.Transporter, host string) policy.Transporter {
	var once sync.Once
	return faults.TransportFunc(func(req *http.Request) (resp *http.Response, err error) {
		if req.URL.Host == host {
			once.Do(func() {
				resp = &http.Response{
					StatusCode: http.StatusUnauthorized, Request: req, Body: io.NopCloser(strings.NewReader("")),
					Header: http.Header{"Www-Authenticate": {`Bearer authorization_uri="https://login.microsoftonline.com/t/oauth2/authorize" resource_id="https://storage.azure.com"`}},
				}
			})
		}
		if resp != nil {
			return resp, nil
		}
		return next.Do(req)
	})
}

// A challenge is not a failure: the request that answers it stays where it is.
func TestAChallengeIsAnsweredAtItsHost(t *testing.T) {
	open := func(t *testing.T, g *geoRedundant, host string) *checkpointstore.BlobCheckpointStore {
		o := checkpointstore.BlobCheckpointStoreOptions{SecondaryHost: blobtest.SecondaryHost}
		o.ClientOptions.Transport = challenge(g, host)
		o.ClientOptions.Retry = policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: 2 * time.Millisecond}
		store, err := checkpointstore.NewBlobCheckpointStoreWithTokenCredential(g.primary.URL(), token{}, &o)
		require.NoError(t, err)
		return store
	}
	for name, c := range map[string]struct {
		challenged string
		busy       int
		hosts      string // without the request that is challenged
		want       int
	}{
		"the primary, which is up":      {blobtest.PrimaryHost, 0, "P", 900},
		"the primary, which then fails": {blobtest.PrimaryHost, 1, "PS", 800},
		"the secondary":                 {blobtest.SecondaryHost, 1, "PS", 800},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGeoRedundant()
			g.primary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(900))
			g.secondary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(800))
			if c.busy > 0 {
				g.primary.Inject(faults.Busy(0).Limit(c.busy))
			}
			got, err := open(t, g, c.challenged).GetCheckpoint(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
			require.NoError(t, err)
			require.EqualValues(t, c.want, *got.SequenceNumber)
			require.Equal(t, c.hosts, g.hosts)
		})
	}
	t.Run("the secondary, which then has no such record", func(t *testing.T) {
		g := newGeoRedundant()
		g.primary.Put(blobtest.CheckpointPrefix+"0", blobtest.Position(900))
		g.primary.Inject(faults.Busy(0).Once())
		got, err := open(t, g, blobtest.SecondaryHost).GetCheckpoint(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.NoError(t, err)
		require.EqualValues(t, 900, *got.SequenceNumber)
		require.Equal(t, "PSP", g.hosts)
	})
	t.Run("a list", func(t *testing.T) {
		g := newGeoRedundant()
		_, err := open(t, g, blobtest.PrimaryHost).ListCheckpoints(t.Context(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		require.Equal(t, "P", g.hosts)
	})
}

// A secondary that refuses the credential for good is no reason to report that,
// and not why the primary failed.
func TestASecondaryThatRefusesTheCredential(t *testing.T) {
	g := newGeoRedundant()
	g.primary.Inject(faults.Busy(0))
	g.secondary.Inject(faults.Status(401, "NoAuthenticationInformation"))
	_, err := g.get(t)
	requireBusy(t, err)
}

// Only reads of a checkpoint for the caller go to the secondary.
func TestWritesAndTheirReadsStayAtThePrimary(t *testing.T) {
	for name, call := range blobtest.Calls() {
		if name == "GetCheckpoint" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := newGeoRedundant()
			g.primary.Inject(faults.Busy(0))
			require.Error(t, call(t.Context(), g.open(t)))
			require.NotContains(t, g.hosts, "S")
		})
	}
}
