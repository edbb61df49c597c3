package subject

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/internal/fakeblob"
)

func all() []string { return append(Names(), Bounded) }

// The subjects do the same work: what each of them stored is what all of them
// list. The fake service holds them to their conditions.
func TestSubjectsStoreTheSame(t *testing.T) {
	ctx := context.Background()
	for _, handed := range []bool{false, true} {
		service := fakeblob.New()
		c := backend.Container{URL: service.URL()}
		c.Options.Transport = service
		stores := make(map[string]Store)
		for _, name := range all() {
			store, err := Open(name, c, handed)
			require.NoError(t, err)
			t.Cleanup(store.Close)
			stores[name] = store
			scope := Scope{"ns", name, "group"}

			claim := store.Claims(scope, 5)
			for range 3 { // the first claim and two renewals
				won, err := claim(ctx)
				require.NoError(t, err)
				require.Equal(t, 5, won)
			}
			checkpoint := store.Checkpoint(scope, "0")
			for n := range int64(3) {
				require.NoError(t, checkpoint.Update(ctx, 40+n))
			}
			if name != Official {
				require.NoError(t, checkpoint.Get(ctx))
			}
			owned, found := service.Get("ns/" + name + "/group/ownership/4")
			require.True(t, found)
			require.Equal(t, map[string]string{"ownerid": owner}, owned.Metadata)
			stored, found := service.Get("ns/" + name + "/group/checkpoint/0")
			require.True(t, found)
			want := map[string]string{"sequencenumber": "42", "offset": offset}
			if name != Official {
				want["clientidentifier"] = owner
			}
			require.Equal(t, want, stored.Metadata)
		}
		for _, reader := range all() {
			for _, writer := range all() {
				n, err := stores[reader].ListOwnership(ctx, Scope{"ns", writer, "group"})
				require.NoError(t, err)
				require.Equal(t, 5, n)
				n, err = stores[reader].ListCheckpoints(ctx, Scope{"ns", writer, "group"})
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
		}
	}
}

// The bare calls are conditional, or they would be no floor of anything.
func TestBareLosesToOthers(t *testing.T) {
	ctx, service := context.Background(), fakeblob.New()
	c := backend.Container{URL: service.URL()}
	c.Options.Transport = service
	store, err := Open(Bare, c, false)
	require.NoError(t, err)
	scope := Scope{"ns", "hub", "group"}
	claim := store.Claims(scope, 2)
	_, err = claim(ctx)
	require.NoError(t, err)
	service.Put("ns/hub/group/ownership/1", nil)
	_, err = claim(ctx)
	require.ErrorContains(t, err, "ConditionNotMet")
	_, err = store.Claims(scope, 2)(ctx)
	require.ErrorContains(t, err, "BlobAlreadyExists")
}

// signed passes on what is signed with the account's key.
type signed struct{ *fakeblob.Service }

func (s signed) Do(req *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(req.Header.Get("Authorization"), "SharedKey account:") {
		return nil, errors.New("not signed")
	}
	return s.Service.Do(req)
}

func TestOpenSigns(t *testing.T) {
	key, err := container.NewSharedKeyCredential("account", "a2V5")
	require.NoError(t, err)
	service := fakeblob.New()
	c := backend.Container{URL: service.URL(), Key: key}
	c.Options.Transport = signed{service}
	c.Options.Retry.MaxRetries = -1
	for _, name := range all() {
		for _, handed := range []bool{false, true} {
			store, err := Open(name, c, handed)
			require.NoError(t, err)
			n, err := store.ListOwnership(context.Background(), Scope{"ns", "hub", "group"})
			require.NoError(t, err)
			require.Zero(t, n)
		}
	}
}
