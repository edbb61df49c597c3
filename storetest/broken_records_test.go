package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ea947076/checkpointstore"
)

// brokenRecords are defects in what claims and lists of ownerships give.
func brokenRecords() []broken {
	return []broken{
		{name: "winners come in reverse", found: []string{"winners come in the order asked"}, breaks: wonBy(slices.Reverse[[]checkpointstore.Ownership])},
		{name: "a win has no time", found: []string{"LastModifiedTime is set"}, breaks: eachWon(func(o *checkpointstore.Ownership) { o.LastModifiedTime = time.Time{} })},
		{name: "times are local", found: []string{"LastModifiedTime is set"}, breaks: eachWon(func(o *checkpointstore.Ownership) {
			o.LastModifiedTime = o.LastModifiedTime.In(time.FixedZone("", 3600))
		})},
		{name: "a win has the time of the claim", found: []string{"a claim does not look at LastModifiedTime"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			won, err := s.claim(ctx, claims...)
			if len(won) == len(claims) {
				for i := range won {
					won[i].LastModifiedTime = claims[i].LastModifiedTime
				}
			}
			return won, err
		})},
		{name: "a win loses its owner", found: []string{"a claim without an ETag wins"}, breaks: eachWon(func(o *checkpointstore.Ownership) { o.OwnerID = "" })},
		{name: "claims change what they are given", found: []string{"ClaimOwnership changes nothing"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			won, err := s.claim(ctx, claims...)
			for i := range claims {
				for _, o := range won {
					if o.PartitionID == claims[i].PartitionID {
						claims[i].ETag = o.ETag
					}
				}
			}
			return won, err
		})},
		{alone: true, name: "claims keep and hand out the caller's pointer", found: []string{"what was claimed with may be changed"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) != 1 || claims[0].ETag == nil {
				return s.claim(ctx, claims...)
			}
			won, err := s.claim(ctx, copyOf(claims[0]))
			for i := range won {
				etag := claims[0].ETag
				*etag = *won[i].ETag
				won[i].ETag = etag
			}
			return won, err
		})},
		{alone: true, name: "lists hand out what is stored", found: []string{"what ListOwnership returned may be changed", "what a claim returned may be changed"}, breaks: func(s inner, h *hooked) {
			var mu sync.Mutex
			kept := make(map[string]checkpointstore.Ownership) // by ETag
			keep := func(list []checkpointstore.Ownership) []checkpointstore.Ownership {
				mu.Lock()
				defer mu.Unlock()
				for i, o := range list {
					if k, found := kept[plain(o)]; found {
						list[i].ETag = k.ETag
					} else {
						kept[plain(o)] = o
					}
				}
				return list
			}
			wonBy(func(won []checkpointstore.Ownership) { keep(won) })(s, h)
			listedBy(keep)(s, h)
		}},
		{alone: true, name: "lists hand out what is written next", found: []string{"what ListOwnership returned does not change"}, breaks: func(s inner, h *hooked) {
			last := make(map[string]checkpointstore.Ownership)
			listedBy(func(list []checkpointstore.Ownership) []checkpointstore.Ownership {
				for _, o := range list {
					last[o.PartitionID] = o
				}
				return list
			})(s, h)
			wonBy(func(won []checkpointstore.Ownership) {
				for _, o := range won {
					if l, found := last[o.PartitionID]; found {
						*l.ETag = *o.ETag
					}
				}
			})(s, h)
		}},
		{name: "relinquished partitions are not listed", found: []string{"relinquishing keeps the record"}, breaks: listedBy(func(list []checkpointstore.Ownership) []checkpointstore.Ownership {
			return slices.DeleteFunc(list, func(o checkpointstore.Ownership) bool { return o.OwnerID == "" })
		})},
		{name: "lists have no ETags", found: []string{"an ETag claims as lists hand it out"}, breaks: listedBy(each(func(o *checkpointstore.Ownership) { o.ETag = nil }))},
		{name: "only the first page is listed", found: []string{"300 partitions are claimed"}, breaks: listedBy(func(list []checkpointstore.Ownership) []checkpointstore.Ownership {
			return list[:min(len(list), 256)]
		})},
		{name: "partitions are listed twice", found: []string{"what was won is listed"}, breaks: listedBy(func(list []checkpointstore.Ownership) []checkpointstore.Ownership {
			return append(list, list...)
		})},
		{name: "a list of nothing is an error", found: []string{"ListOwnership of a scope that nobody claimed in"}, breaks: ownershipsWith(func(ctx context.Context, s inner, in scope) ([]checkpointstore.Ownership, error) {
			list, err := s.ownerships(ctx, in)
			if err == nil && len(list) == 0 {
				err = errors.New("404 not found")
			}
			return list, err
		})},
		{name: "owner ids are folded", found: []string{"an owner id comes back as it was written"}, breaks: claimedBy(func(_ context.Context, _ inner, c checkpointstore.Ownership) checkpointstore.Ownership {
			c.OwnerID = strings.ReplaceAll(c.OwnerID, "/", "_")
			return c
		})},
		{name: "partition ids are lower-cased", found: []string{"partition ids that differ only in case"}, breaks: claimedBy(func(_ context.Context, _ inner, c checkpointstore.Ownership) checkpointstore.Ownership {
			c.PartitionID = strings.ToLower(c.PartitionID)
			return c
		})},
		{name: "partition ids are unescaped", found: []string{"partition ids need not be numbers"}, breaks: claimedBy(func(_ context.Context, _ inner, c checkpointstore.Ownership) checkpointstore.Ownership {
			c.PartitionID = strings.ReplaceAll(c.PartitionID, "%2F", "-")
			return c
		})},
		{name: "bad values are repaired", found: []string{"an owner id with a space before it is refused", "an owner id that is not ASCII", "a partition id that is empty", "a namespace with a slash", "a claim with the ETag \"*\"", "a claim with an empty ETag"}, breaks: claimedBy(func(ctx context.Context, s inner, c checkpointstore.Ownership) checkpointstore.Ownership {
			if c.ETag != nil && (plain(c) == "" || plain(c) == "*") {
				c.ETag = nil
			}
			c.OwnerID, c.PartitionID = repaired(c.OwnerID, ""), repaired(c.PartitionID, "x")
			c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup = repaired(c.FullyQualifiedNamespace, "x"), repaired(c.EventHubName, "x"), repaired(c.ConsumerGroup, "x")
			return c
		})},
	}
}
