package storetest

import (
	"context"
	"errors"
	"strings"

	"github.com/ea947076/checkpointstore"
)

// brokenScopes are defects in the three names, and in contexts.
func brokenScopes() []broken {
	return []broken{
		{name: "the namespace is not looked at", found: []string{"scopes do not see each other that differ in the namespace", "one call claims in several scopes"}, breaks: in(func(s scope) scope { return scope{"x" + s.namespace[len(s.namespace):], s.eventHub, s.group} })},
		{name: "the event hub is not looked at", found: []string{"scopes do not see each other that differ in the event hub"}, breaks: in(func(s scope) scope { return scope{s.namespace, "x" + s.eventHub[len(s.eventHub):], s.group} })},
		{name: "the consumer group is not looked at", found: []string{"scopes do not see each other that differ in the consumer group"}, breaks: in(func(s scope) scope { return scope{s.namespace, s.eventHub, "x"} })},
		{name: "the group's first letters count", found: []string{"scopes do not see each other that differ in how the group goes on"}, breaks: in(func(s scope) scope { return scope{s.namespace, s.eventHub, s.group[:min(len(s.group), 5)]} })},
		{name: "names are put together without a mark", found: []string{"scopes do not see each other that differ in where the hub ends"}, breaks: in(func(s scope) scope { return scope{s.namespace, s.eventHub + s.group, "x"} })},
		{name: "names are sorted", found: []string{"scopes do not see each other that differ in which name"}, breaks: in(func(s scope) scope {
			return scope{s.namespace, min(s.eventHub, s.group), max(s.eventHub, s.group)}
		})},
		{name: "names are compared as they are", found: []string{"the scope is compared ignoring case"}, breaks: in(hexed)},
		{name: "all letters are folded", found: []string{"only the case of the letters A to Z"}, breaks: in(func(s scope) scope {
			return scope{strings.ToLower(s.namespace), strings.ToLower(s.eventHub), strings.ToLower(s.group)}
		})},
		{name: "records are spelled in lower case", found: []string{"records come back with the caller's spelling"}, breaks: listedBy(each(func(o *checkpointstore.Ownership) {
			o.EventHubName = strings.ToLower(o.EventHubName)
		}))},
		{name: "contexts are not looked at", found: []string{"ListOwnership gives the error of a context", "ListCheckpoints gives the error of a context", "UpdateCheckpoint gives the error of a context", "ClaimOwnership gives what it won"}, breaks: func(s inner, h *hooked) {
			h.claim = func(ctx context.Context, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
				return s.claim(context.WithoutCancel(ctx), claims...)
			}
			h.update = func(ctx context.Context, c checkpointstore.Checkpoint, options *checkpointstore.UpdateCheckpointOptions) error {
				return s.UpdateCheckpoint(context.WithoutCancel(ctx), c, options)
			}
			h.ownerships = func(ctx context.Context, in scope) ([]checkpointstore.Ownership, error) {
				return s.ownerships(context.WithoutCancel(ctx), in)
			}
			h.checkpoints = func(ctx context.Context, in scope) ([]checkpointstore.Checkpoint, error) {
				return s.checkpoints(context.WithoutCancel(ctx), in)
			}
		}},
		{name: "contexts come before arguments", found: []string{"what cannot be stored is refused whether or not"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return s.claim(ctx, claims...)
		})},
		{name: "lists of bad names are empty", found: []string{"a namespace that is empty is refused", "a consumer group with a slash is refused"}, breaks: ownershipsWith(func(ctx context.Context, s inner, in scope) ([]checkpointstore.Ownership, error) {
			list, err := s.ownerships(ctx, in)
			if errors.Is(err, checkpointstore.ErrInvalidArgument) {
				err = nil
			}
			return list, err
		})},
	}
}
