package checkpointstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

func copyBody(w io.Writer, resp *http.Response) (int64, error) { return io.Copy(w, resp.Body) }

// requireNoSecret checks a whole tree of errors, but for the service's own
// answers, which do not repeat what was sent.
func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		for _, secret := range []string{"c2VjcmV0", "secret-token", "sig="} {
			require.NotContains(t, err.Error(), secret, "%T", err)
		}
		switch u := err.(type) {
		case interface{ Unwrap() error }:
			walk(u.Unwrap())
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
	require.NotContains(t, err.Error(), "\n", "one line")
}

func TestNoErrorOrLogLineHoldsACredential(t *testing.T) {
	faults := map[string]fake.Fault{
		"refused":  fake.RefuseConnection(),
		"reset":    fake.ResetConnection(),
		"dropped":  fake.LoseResponse(),
		"hung":     fake.HangWithoutApplying(),
		"403":      fake.Forbidden(),
		"key":      fake.AuthenticationFailed("The MAC signature found in the HTTP request 'sig=c2VjcmV0' is not the same"),
		"500":      fake.Status(500, "InternalError"),
		"bare 404": fake.Status(404, ""),
		"html":     fake.StatusWithBody(502, "text/html", "<html>\nbad gateway\n</html>"),
		"leased":   fake.Status(412, "LeaseIdMissing"),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			service := fake.New()
			service.Inject(fault)
			var log bytes.Buffer
			store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(service.URL()+"?"+signature, &checkpointstore.BlobCheckpointStoreOptions{
				ClientOptions: azcore.ClientOptions{Transport: service, Retry: policy.RetryOptions{RetryDelay: time.Millisecond, MaxRetryDelay: time.Millisecond}},
				Timeout:       200 * time.Millisecond,
				Logger:        slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			require.NoError(t, err)
			ctx := context.Background()
			var errs []error
			add := func(err error) {
				if err != nil {
					errs = append(errs, err)
				}
			}
			_, err = store.ListOwnership(ctx, namespace, hub, "$Default", nil)
			add(err)
			_, err = store.ClaimOwnership(ctx, []checkpointstore.Ownership{claim(group, "a", "0", nil), claim(group, "a", "1", etag("0x1"))}, nil)
			add(err)
			add(store.UpdateCheckpoint(ctx, checkpoint(group, "0", 1), nil))
			_, err = store.ListCheckpoints(ctx, namespace, hub, group, nil)
			add(err)
			_, err = store.GetOwnership(ctx, namespace, hub, group, "0", nil)
			add(err)
			_, err = store.GetCheckpoint(ctx, namespace, hub, group, "0", nil)
			add(err)
			add(store.EnsureContainer(ctx, nil))
			require.GreaterOrEqual(t, len(errs), 4, "the fault shows")
			for _, err := range errs {
				requireNoSecret(t, withoutAnswers(err))
				var u *url.Error
				if errors.As(err, &u) {
					require.NotContains(t, u.URL, "?")
				}
			}
			require.NotContains(t, log.String(), "c2VjcmV0")
		})
	}
}

// withoutAnswers is the error's own text, and its tree without the service's
// answers.
func withoutAnswers(err error) error {
	var resp *azcore.ResponseError
	if errors.As(err, &resp) {
		return errors.New(err.Error())
	}
	return err
}

func TestSecretsInTheTextOfATransportsError(t *testing.T) {
	transport := transportFunc(func(req *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("proxy says no to %s with %s", req.URL, "AccountKey=c2VjcmV0")
	})
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL()+"?"+signature, &checkpointstore.BlobCheckpointStoreOptions{
		ClientOptions: azcore.ClientOptions{Transport: transport, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	require.NoError(t, err)
	_, err = store.ListOwnership(context.Background(), namespace, hub, group, nil)
	require.ErrorContains(t, err, "proxy says no to")
	require.NotContains(t, err.Error(), "c2VjcmV0")
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) Do(req *http.Request) (*http.Response, error) { return f(req) }

func TestCausesStayReachable(t *testing.T) {
	service := fake.New()
	service.Inject(fake.Forbidden())
	store := newFakeStore(t, service, nil)
	_, err := store.ListCheckpoints(context.Background(), namespace, hub, group, nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
	var answer *azcore.ResponseError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, 403, answer.StatusCode)
	var e *checkpointstore.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "ListCheckpoints", e.Op)
	require.Equal(t, checkpointPrefix, e.BlobName)
}

func TestTextsOfErrors(t *testing.T) {
	one := &checkpointstore.Error{Op: "X", PartitionID: "0", BlobName: "b", Kind: checkpointstore.ErrNotFound, Detail: "d"}
	cause := &checkpointstore.Error{Op: "X", Err: errors.New("two\nlines")}
	many := make(checkpointstore.PartitionErrors, 20)
	for i := range many {
		many[i] = &checkpointstore.Error{Op: "X", PartitionID: fmt.Sprint(i), Detail: "d"}
	}
	for want, err := range map[string]error{
		`checkpointstore: X: partition "0": blob "b": not found: d`:                one,
		`checkpointstore: X: two lines`:                                            cause,
		`checkpointstore: X: not found`:                                            &checkpointstore.Error{Op: "X", Kind: checkpointstore.ErrNotFound},
		`checkpointstore: X: unknown failure`:                                      &checkpointstore.Error{Op: "X"},
		`checkpointstore: no partition failed`:                                     checkpointstore.PartitionErrors{},
		`checkpointstore: X: partition "0": d`:                                     many[:1],
		`checkpointstore: X: partition "0": d (2 more failed: partition "1", "2")`: many[:3],
		`checkpointstore: X: partition "` + strings.Repeat("a", 64) + `…": d`:      &checkpointstore.Error{Op: "X", PartitionID: strings.Repeat("a", 1000), Detail: "d"},
	} {
		require.Equal(t, want, err.Error())
	}
	require.Contains(t, many.Error(), `"16", …)`)
}
