package test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/memstore"
	"github.com/ea947076/checkpointstore/otel"
)

// The text of an error of this module has no credential: it helps as a status. That of
// another error might have one, such as a URL with a shared access signature.
func TestStatusesHaveTheTextsOfThisModulesErrors(t *testing.T) {
	own := &checkpointstore.Error{Op: "UpdateCheckpoint", PartitionID: "0", Kind: checkpointstore.ErrNotAuthorized, Detail: "ask for the role"}
	for text, err := range map[string]error{
		`checkpointstore: UpdateCheckpoint: partition "0": not authorized: ask for the role`: fmt.Errorf("https://account/?sig=c2VjcmV0: %w", own),
		"*errors.errorString":       errors.New("Get https://account/?sig=c2VjcmV0: EOF"),
		"timeout":                   fmt.Errorf("AccountKey=c2VjcmV0: %w", context.DeadlineExceeded),
		"ServerBusy":                &azcore.ResponseError{StatusCode: 503, ErrorCode: "ServerBusy"},
		"checkpointstore: rewound?": &checkpointstore.Error{Detail: "rewound?", Err: errors.New("sig=c2VjcmV0")},
	} {
		r := record(t)
		require.Same(t, err, otel.Store(&scripted{err: err}, r.options).UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
		require.Equal(t, text, r.one().Status().Description)
	}
	r := record(t)
	each := &checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{own, {PartitionID: "1"}}}
	_, err := otel.Store(&scripted{err: each}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "the-owner")}, nil)
	require.Same(t, each, err)
	require.Equal(t, each.Error(), r.one().Status().Description)
}

// requireWithout checks that nothing that was reported contains a text.
func (r *recorded) requireWithout(texts ...string) {
	r.t.Helper()
	check := func(of string, values ...any) {
		for _, text := range texts {
			require.NotContains(r.t, fmt.Sprint(values...), text, of)
		}
	}
	for _, s := range r.spans.Ended() {
		check(s.Name(), s.Name(), s.Status(), s.Events(), s.Links())
		for _, a := range s.Attributes() {
			check(s.Name(), a.Key, a.Value.String())
		}
	}
	for name := range r.metrics() {
		r.each(name, func(set attribute.Set, _, _ float64) {
			for _, a := range set.ToSlice() {
				check(name, a.Key, a.Value.String())
			}
		})
	}
}

func TestOwnerIDsAreLeftOut(t *testing.T) {
	const long = "the-owner-with-a-name-of-more-than-sixty-four-bytes-of-which-texts-show-the-first-ones"
	for name, owner := range map[string]string{
		"plain":                 "the-owner",
		"quoted":                `the-"owner"\1`,
		"not valid":             "the-owner\x01",
		"with spaces":           "the-owner  1",
		"not valid and long":    long + "\x01",
		"like a key, not valid": "the-owner;AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2Vjcg==",
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t)
			memory := memstore.New()
			store := otel.Store(memory, r.options)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			claims := []checkpointstore.Ownership{claimOf("0", owner)}
			won, err := store.ClaimOwnership(ctx, claims, nil)
			if err == nil {
				claims = won
			}
			_, _ = store.ClaimOwnership(ctx, claims, nil)
			_, _ = store.ListOwnership(ctx, group.FullyQualifiedNamespace, group.EventHubName, group.ConsumerGroup, nil)
			_ = store.UpdateCheckpoint(ctx, checkpointOf("0", 1), nil)
			cancel()
			_, _ = store.ClaimOwnership(ctx, claims, nil)
			for _, err := range []error{
				fmt.Errorf("the owner %s failed", owner),
				&checkpointstore.Error{Detail: fmt.Sprintf("the owner %s failed", owner)},
				&checkpointstore.Error{Detail: fmt.Sprintf("the owner %q failed", owner)},
				&checkpointstore.PartitionErrors{Errors: []*checkpointstore.Error{{PartitionID: "0", Detail: fmt.Sprintf("the owner %q failed", owner)}}},
			} {
				_, _ = otel.Store(&scripted{err: err}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("1", "x-y-z"), claimOf("0", owner)}, nil)
			}
			require.GreaterOrEqual(t, len(r.spans.Ended()), 9)
			r.requireWithout("the-owner", "the-\\\"owner", "the-\"owner", "c2VjcmV0")
		})
	}
}

func TestWithOwnerID(t *testing.T) {
	r := record(t)
	r.options.WithOwnerID = true
	failure := &checkpointstore.Error{Detail: `the claim of "the-owner" failed`}
	_, err := otel.Store(&scripted{err: failure}, r.options).ClaimOwnership(t.Context(), []checkpointstore.Ownership{claimOf("0", "the-owner")}, nil)
	require.Same(t, failure, err)
	s := r.one()
	require.Equal(t, "the-owner", attributesOf(s.Attributes())["messaging.client.id"])
	require.Contains(t, s.Status().Description, "the-owner")
	store := otel.Store(memstore.New(), r.options)
	claim(t, store, claimOf("0", "the-owner"))
	require.Equal(t, "the-owner", attributesOf(r.one().Attributes())["messaging.client.id"])
	require.NoError(t, store.UpdateCheckpoint(t.Context(), checkpointOf("0", 1), nil))
	require.NotContains(t, attributesOf(r.one().Attributes()), attribute.Key("messaging.client.id"))
	for name := range r.metrics() {
		r.each(name, func(set attribute.Set, _, _ float64) {
			require.False(t, set.HasValue("messaging.client.id"), "%s: an owner id in metrics makes a series for each", name)
		})
	}
}

// A release has no owner id, which says nothing of the owner.
func TestWithOwnerIDOfARelease(t *testing.T) {
	r := record(t)
	r.options.WithOwnerID = true
	store := otel.Store(memstore.New(), r.options)
	won := claim(t, store, claimOf("0", "a"))
	won[0].OwnerID = ""
	claim(t, store, won[0])
	require.NotContains(t, attributesOf(r.ended()[1].Attributes()), attribute.Key("messaging.client.id"))
}
