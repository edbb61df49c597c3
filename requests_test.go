package checkpointstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// builds are the ways to make a store over a transport and a credential, nil for
// none: with a client that the store builds and with one of the caller's.
func builds(t testing.TB) map[string]func(policy.Transporter, azcore.TokenCredential, policy.RetryOptions, time.Duration) *checkpointstore.BlobCheckpointStore {
	url := fake.New().URL()
	must := func(store *checkpointstore.BlobCheckpointStore, err error) *checkpointstore.BlobCheckpointStore {
		t.Helper()
		require.NoError(t, err)
		return store
	}
	return map[string]func(policy.Transporter, azcore.TokenCredential, policy.RetryOptions, time.Duration) *checkpointstore.BlobCheckpointStore{
		"built": func(transport policy.Transporter, credential azcore.TokenCredential, retry policy.RetryOptions, timeout time.Duration) *checkpointstore.BlobCheckpointStore {
			o := &checkpointstore.BlobCheckpointStoreOptions{Timeout: timeout}
			o.ClientOptions.Transport, o.ClientOptions.Retry = transport, retry
			if credential == nil {
				return must(checkpointstore.NewBlobCheckpointStoreWithNoCredential(url, o))
			}
			return must(checkpointstore.NewBlobCheckpointStoreWithTokenCredential(url, credential, o))
		},
		"handed in": func(transport policy.Transporter, credential azcore.TokenCredential, retry policy.RetryOptions, timeout time.Duration) *checkpointstore.BlobCheckpointStore {
			o := &container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: transport, Retry: retry}}
			var client *container.Client
			var err error
			if credential == nil {
				client, err = container.NewClientWithNoCredential(url, o)
			} else {
				client, err = container.NewClient(url, credential, o)
			}
			require.NoError(t, err)
			return must(checkpointstore.NewBlobCheckpointStore(client, &checkpointstore.BlobCheckpointStoreOptions{Timeout: timeout}))
		},
	}
}

// fetched is a credential that sends a request for every token, with the context
// of the request that it is for.
type fetched struct{ url string }

func (c fetched) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: "secret-token", ExpiresOn: time.Now()}, nil // expired: the next try fetches another
}

// everyConnection runs a test with every combination of what may count, or hide,
// the tries of a request.
func everyConnection(t *testing.T, test func(t *testing.T, service *fake.Service, store *checkpointstore.BlobCheckpointStore)) {
	login := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(login.Close)
	for how, build := range builds(t) {
		for what, credential := range map[string]azcore.TokenCredential{"no credential": nil, "a token at hand": token{}, "a token for every try": fetched{login.URL}} {
			for reports, transport := range map[string]func(*fake.Service) policy.Transporter{
				"reports connections":         func(s *fake.Service) policy.Transporter { return s },
				"does not report connections": func(s *fake.Service) policy.Transporter { return untraced{s} },
			} {
				t.Run(how+"/"+what+"/"+reports, func(t *testing.T) {
					service := fake.New()
					test(t, service, build(transport(service), credential, blobtest.QuickRetries(), 0))
				})
			}
		}
	}
}

// TestAClaimOnAnotherStateIsLost, whoever owns the partition: an owner ID alone is
// no proof that a claim was applied.
func TestAClaimOnAnotherStateIsLost(t *testing.T) {
	everyConnection(t, func(t *testing.T, service *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		first := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
		blobtest.ClaimOne(t, store, first)
		for what, on := range map[string]*azcore.ETag{"stale": first.ETag, "made up": blobtest.ETag(`"0x99"`), "none": nil} {
			service.Reset()
			won, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", "0", on)}, nil)
			require.NoError(t, err, what)
			require.Empty(t, won, what)
			require.Equal(t, 1, service.Requests(), "%s: one try, and nothing to decide", what)
		}
	})
}

// TestALostAnswerIsFound, whatever the transport reports and the credential sends.
func TestALostAnswerIsFound(t *testing.T) {
	everyConnection(t, func(t *testing.T, service *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		service.Inject(faults.LoseResponse().On(faults.OpIs(faults.PutBlob)).Once())
		first := blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
		service.Inject(faults.LoseResponse().On(faults.OpIs(faults.SetMetadata)))
		blobtest.ClaimOne(t, store, first) // no answer to any try
	})
}

// TestWithoutAnAnswerTheBlobIsRead: a transport that does not report connections
// may have sent what it has no answer to.
func TestWithoutAnAnswerTheBlobIsRead(t *testing.T) {
	everyConnection(t, func(t *testing.T, service *fake.Service, store *checkpointstore.BlobCheckpointStore) {
		service.Inject(faults.LoseRequest().On(faults.OpIs(faults.PutBlob)))
		_, err := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
		require.ErrorContains(t, err, "connection reset")
		require.Equal(t, 5, service.Requests(), "four tries and the read")
	})
}

// TestARecordFromBeforeTheClaimIsNotWon: the tries were repeated, and the record
// has the owner, but it is older than the claim.
func TestARecordFromBeforeTheClaimIsNotWon(t *testing.T) {
	for what, c := range map[string]struct {
		age  time.Duration
		read faults.Fault
		wins int
	}{
		"written at the same time":     {0, faults.Fault{}, 1},           // as far as anybody can tell
		"in the second before":         {time.Second, faults.Fault{}, 1}, // the claim may have begun in it
		"a minute before":              {time.Minute, faults.Fault{}, 0}, // longer than a call takes
		"an hour before":               {time.Hour, faults.Fault{}, 0},
		"nobody knows what time it is": {0, faults.WithoutHeaders("Date"), 0},
		"nobody knows when":            {0, faults.WithoutHeaders("Last-Modified"), 0},
	} {
		for how, build := range builds(t) {
			t.Run(what+"/"+how, func(t *testing.T) {
				now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // any clock but this machine's
				service := fake.New()
				service.SetClock(func() time.Time { return now.Add(-c.age) })
				service.Put(blobtest.OwnershipPrefix+"0", map[string]string{"ownerid": "a"})
				service.SetClock(func() time.Time { return now })
				service.Inject(faults.Busy(0).Once()) // repeats the try
				service.Inject(c.read.On(faults.OpIs(faults.GetProperties)))
				won, err := build(service, nil, blobtest.QuickRetries(), 0).ClaimOwnership(context.Background(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", "0", blobtest.ETag(`"0x99"`))}, nil)
				require.NoError(t, err)
				require.Len(t, won, c.wins)
				require.Equal(t, 3, service.Requests(), "two tries and the read")
			})
		}
	}
}

// hiding is a policy that hides the context's values from those after it.
func hiding(req *policy.Request) (*http.Response, error) {
	return req.Clone(withoutValues{req.Raw().Context()}).Next()
}

// TestTriesThatNobodyCanCount: what was sent once is not told from what was sent
// often. A claim without an answer is read, and one whose condition was not met is
// lost, as it costs nothing but a round.
func TestTriesThatNobodyCanCount(t *testing.T) {
	service := fake.New()
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.PerCallPolicies = []policy.Policy{policyFunc(hiding)}
	o.ClientOptions.Retry = blobtest.QuickRetries()
	store := blobtest.NewStore(t, service, o)
	remove := service.Inject(faults.LoseResponse().On(faults.OpIs(faults.PutBlob)))
	blobtest.ClaimOne(t, store, blobtest.Claim(blobtest.Group, "a", "0", nil))
	remove()
	service.Inject(faults.LoseResponse().Once())
	won, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", "1", nil)}, nil)
	require.NoError(t, err)
	require.Empty(t, won)
}

// flaky is a credential whose second token cannot be fetched.
type flaky struct{ calls *int }

func (f flaky) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if *f.calls++; *f.calls == 2 {
		return fetched{"http://127.0.0.1:1/"}.GetToken(ctx, options)
	}
	return azcore.AccessToken{Token: "secret-token", ExpiresOn: time.Now()}, nil
}

// TestAConnectionOfACredentialIsNone of the request that it is for.
func TestAConnectionOfACredentialIsNone(t *testing.T) {
	for how, build := range builds(t) {
		t.Run(how, func(t *testing.T) {
			service, calls := fake.New(), 0
			service.Inject(faults.LoseResponse().Once())
			blobtest.ClaimOne(t, build(untraced{service}, flaky{&calls}, blobtest.QuickRetries(), 0), blobtest.Claim(blobtest.Group, "a", "0", nil))
			require.Equal(t, 3, calls, "for the claim, for its second try, and for the read")
			require.Equal(t, 2, service.Requests())
		})
	}
}

// TestTheReadThatResolvesAClaimIsBounded by TryTimeout, though it has no retries.
func TestTheReadThatResolvesAClaimIsBounded(t *testing.T) {
	for how, build := range builds(t) {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fake.New()
				service.Inject(faults.Busy(0).On(faults.OpIs(faults.PutBlob)))
				hung := false
				ctx := context.Background()
				service.Inject(faults.HangWithoutApplying().On(func(req *http.Request) bool {
					if req.Method == http.MethodHead {
						_, hung = req.Context().Deadline()
					}
					return req.Method == http.MethodHead
				}))
				retry := blobtest.QuickRetries()
				retry.TryTimeout = 20 * time.Millisecond
				timeout := time.Minute
				if how == "handed in" { // the store does not know the client's
					timeout = time.Second
				}
				_, err := build(service, nil, retry, timeout).ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "a", 1), nil)
				require.ErrorContains(t, err, "503 ServerBusy", "the write's answer says more than the read's silence")
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				require.True(t, hung)
			})
		})
	}
}

// TestAClaimThatCannotBeResolved tells what is in the way of it.
func TestAClaimThatCannotBeResolved(t *testing.T) {
	read := faults.OpIs(faults.GetProperties)
	for name, c := range map[string]struct {
		faults []faults.Fault
		says   []string
		is     error
	}{
		"the read fails after a repeated claim": {
			[]faults.Fault{faults.LoseResponse().Once(), faults.Status(503, "ServerBusy").On(read)}, []string{"503 ServerBusy"}, nil,
		},
		"the read hangs after a repeated claim": {
			[]faults.Fault{faults.LoseResponse().Once(), faults.HangWithoutApplying().On(read)}, []string{"the store's Timeout (500ms)"}, context.DeadlineExceeded,
		},
		"the read hangs after a claim that failed": {
			[]faults.Fault{faults.HangWithoutApplying().On(read), faults.Status(500, "InternalError")}, []string{"500 InternalError", "the store's Timeout (500ms)"}, context.DeadlineExceeded,
		},
		"the read hangs after a claim without an answer": {
			[]faults.Fault{faults.HangWithoutApplying().On(read), faults.LoseRequest()}, []string{"connection reset", "the store's Timeout (500ms)"}, context.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service := fake.New()
				for _, f := range c.faults {
					service.Inject(f)
				}
				retry := blobtest.QuickRetries()
				retry.TryTimeout = time.Minute
				timeout := time.Minute
				if c.is != nil {
					timeout = 500 * time.Millisecond
				}
				_, err := builds(t)["built"](service, nil, retry, timeout).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
				require.Error(t, err)
				for _, says := range c.says {
					require.ErrorContains(t, err, says)
				}
				require.NotContains(t, err.Error(), "AlreadyExists", "which is not what is in the way")
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
			})
		})
	}
}

// TestABodyThatDoesNotEndIsNoAnswer, though its status has come.
func TestABodyThatDoesNotEndIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
			body := io.NopCloser(readerFunc(func([]byte) (int, error) {
				<-req.Context().Done()
				return 0, req.Context().Err()
			}))
			return &http.Response{StatusCode: 200, Request: req, Header: http.Header{}, Body: body}, nil
		})
		for how, build := range builds(t) {
			_, err := build(transport, nil, blobtest.QuickRetries(), 20*time.Millisecond).ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.ErrorIs(t, err, context.DeadlineExceeded, how)
			require.ErrorContains(t, err, "no answer within the store's Timeout", how)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTheLastAnswerIsNamed if a deadline cuts the retries off.
func TestTheLastAnswerIsNamed(t *testing.T) {
	for how, build := range builds(t) {
		for name, call := range blobtest.Calls() {
			t.Run(how+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					service := fake.New()
					service.Inject(faults.Busy(time.Minute))
					retry := policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: time.Minute}
					err := call(context.Background(), build(service, nil, retry, 500*time.Millisecond))
					require.ErrorIs(t, err, context.DeadlineExceeded)
					var answer *azcore.ResponseError
					require.ErrorAs(t, err, &answer)
					require.Equal(t, 503, answer.StatusCode)
					require.ErrorContains(t, err, "503 ServerBusy")
					require.ErrorContains(t, err, "the store's Timeout (500ms)")
					require.NotContains(t, err.Error(), "no answer")
				})
			})
		}
	}
}

// TestWhatEndedACallIsNamed by the option, or as the caller's.
func TestWhatEndedACallIsNamed(t *testing.T) {
	const long, short = time.Minute, 20 * time.Millisecond
	for what, c := range map[string]struct {
		timeout, deadline, try time.Duration // 0: a long one
		cancels                bool
		says                   map[string]string
		is                     error
	}{
		"Timeout":    {timeout: short, is: context.DeadlineExceeded, says: map[string]string{"": "the store's Timeout (20ms)"}},
		"deadline":   {deadline: short, is: context.DeadlineExceeded, says: map[string]string{"": "the deadline of the caller's context"}},
		"cancel":     {cancels: true, is: context.Canceled, says: map[string]string{"": "the caller canceled the context"}},
		"TryTimeout": {try: short, is: context.DeadlineExceeded, says: map[string]string{"built": "ClientOptions.Retry.TryTimeout (20ms), in 2 tries", "handed in": "RetryOptions.TryTimeout of the client, in 2 tries"}},
	} {
		for how, build := range builds(t) {
			for name, call := range blobtest.Calls() {
				t.Run(what+"/"+how+"/"+name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						or := func(d time.Duration) time.Duration {
							if d == 0 {
								return long
							}
							return d
						}
						ctx, cancel := context.WithTimeout(context.Background(), or(c.deadline))
						defer cancel()
						service := fake.New()
						hang := faults.HangWithoutApplying()
						if c.cancels {
							hang = hang.Before(cancel)
						}
						service.Inject(hang)
						retry := policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond, TryTimeout: or(c.try)}
						timeout := or(c.timeout)
						if timeout == long && name == "ClaimOwnership" && how == "handed in" && c.try != 0 {
							timeout = 2 * time.Second // bounds the read that resolves the claim
						}
						err := call(ctx, build(service, nil, retry, timeout))
						require.ErrorIs(t, err, c.is)
						says := c.says[""] + c.says[how]
						require.ErrorContains(t, err, says)
						for _, other := range []string{"Timeout", "deadline of", "canceled the"} {
							if !strings.Contains(says, other) {
								require.NotContains(t, err.Error(), other)
							}
						}
					})
				})
			}
		}
	}
}

// TestAContextThatEndedBefore is named as well, though nothing was sent.
func TestAContextThatEndedBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, call := range blobtest.Calls() {
		err := call(ctx, blobtest.NewStore(t, fake.New(), nil))
		require.ErrorIs(t, err, context.Canceled, name)
		require.ErrorContains(t, err, "the caller canceled the context", name)
	}
}

// TestTheCallersResponseIsCaptured: the store looks at the last answer in the same
// way, and leaves it to a caller who asked first.
func TestTheCallersResponseIsCaptured(t *testing.T) {
	service := fake.New()
	var captured *http.Response
	ctx := policy.WithCaptureResponse(context.Background(), &captured)
	_, err := blobtest.NewStore(t, service, nil).GetOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotFound)
	require.NotNil(t, captured)
	require.Equal(t, 404, captured.StatusCode)
}

// TestACallersHeadersAreSent: the store counts how often they are asked for.
func TestACallersHeadersAreSent(t *testing.T) {
	service := fake.New()
	transport := &seen{inner: service}
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.Transport = transport
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL(), o)
	require.NoError(t, err)
	ctx := policy.WithHTTPHeader(context.Background(), http.Header{"X-Mine": {"yes"}})
	_, err = store.ClaimOwnership(ctx, blobtest.Claims(blobtest.Group, "a", 1), nil)
	require.NoError(t, err)
	require.Equal(t, "yes", transport.last.Header.Get("X-Mine"))
}

// TestTwoNamesOfAVerbatimStoreAreTwoPartitions, and one of a store that folds them.
func TestTwoNamesOfAVerbatimStoreAreTwoPartitions(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{BlobNaming: checkpointstore.BlobNamingVerbatim})
	two := []checkpointstore.Ownership{blobtest.Claim("Group", "a", "0", nil), blobtest.Claim("group", "a", "0", nil)}
	won, err := store.ClaimOwnership(context.Background(), two, nil)
	require.NoError(t, err)
	require.Len(t, won, 2)
	_, err = store.ClaimOwnership(context.Background(), append(won, won[0]), nil)
	require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
	_, err = blobtest.NewStore(t, fake.New(), nil).ClaimOwnership(context.Background(), two, nil)
	require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
	require.ErrorIs(t, checkpointstore.ValidateClaims(two), checkpointstore.ErrInvalidArgument)
}

// TestPartitionErrorsCompare, as errors in a map and in == do.
func TestPartitionErrorsCompare(t *testing.T) {
	service := fake.New()
	service.Inject(faults.Forbidden())
	store := blobtest.NewStore(t, service, nil)
	_, one := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
	_, other := store.ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
	require.NotPanics(t, func() {
		require.False(t, one == other)
		require.NotErrorIs(t, one, other)
		require.ErrorIs(t, fmt.Errorf("claiming: %w", one), one)
		require.Len(t, map[error]bool{one: true, other: true}, 2)
	})
	var failed *checkpointstore.PartitionErrors
	require.True(t, errors.As(one, &failed))
	require.Len(t, failed.Errors, 1)
}
