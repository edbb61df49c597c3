package ops

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ReleaseOptions are the options of PlanRelease. Nil is the same as the zero value.
type ReleaseOptions struct {
	// Partitions are the partitions to release. Nil means all.
	Partitions []string

	// OwnerID, if it is set, limits the plan to the partitions of this owner.
	OwnerID string

	// Live includes partitions of live owners. [Apply] refuses them unless
	// [ApplyOptions].Release is set.
	Live bool

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// PlanRelease plans to relinquish partitions whose ownerships have expired, so that
// they count as free at once. Errors and requests are those of [Read].
func PlanRelease(ctx context.Context, store Store, scope Scope, options *ReleaseOptions) (*Plan, error) {
	if options == nil {
		options = &ReleaseOptions{}
	}
	s, err := Read(ctx, store, scope, &ReadOptions{Expiration: options.Expiration})
	if err != nil {
		return nil, err
	}
	plan := newPlan(PlanToRelease, s)
	for _, id := range options.Partitions {
		if s.Partition(id).Ownership == nil {
			plan.skip(id, "it was never owned")
		}
	}
	for _, p := range s.Partitions {
		switch {
		case p.Ownership == nil, options.Partitions != nil && !slices.Contains(options.Partitions, p.ID):
		case options.OwnerID != "" && p.Ownership.OwnerID != options.OwnerID:
		case p.State == Relinquished:
			plan.skip(p.ID, "it is free")
		case p.State == Live && !options.Live:
			plan.skip(p.ID, "owner %q is live", p.Ownership.OwnerID)
		default:
			plan.Changes = append(plan.Changes, Change{
				PartitionID: p.ID,
				Before:      p,
				Release:     true,
				Why:         fmt.Sprintf("owner %q wrote its ownership %s ago", p.Ownership.OwnerID, p.OwnershipAge.Round(time.Second)),
				Warnings:    liveWarnings(p),
			})
		}
	}
	return plan, nil
}
