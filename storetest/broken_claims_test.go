package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/ea947076/checkpointstore"
)

// brokenClaims are defects of ClaimOwnership and ListOwnership.
func brokenClaims() []broken {
	return []broken{
		{name: "no claim ever wins", found: []string{"a claim without an ETag wins", "of 16 claims"}, breaks: claimsWith(func(context.Context, inner, []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			return nil, nil
		})},
		{name: "a stale ETag wins", found: []string{"a claim with a stale ETag loses", "of 16 claims on the same ETag"}, breaks: winsIf(func(c, _ checkpointstore.Ownership) bool { return c.ETag != nil })},
		{name: "an owner's own stale ETag wins", found: []string{"a claim with a stale ETag loses"}, breaks: winsIf(func(c, now checkpointstore.Ownership) bool { return c.ETag != nil && now.OwnerID == c.OwnerID })},
		{name: "the ETag \"*\" in quotes wins over any record", found: []string{"a claim with the ETag \"*\" is refused in any quotes"}, breaks: winsIf(func(c, _ checkpointstore.Ownership) bool { return c.ETag != nil && *c.ETag == `"*"` })},
		{name: "no ETag wins over a record", found: []string{"a claim without an ETag loses to a record", "a lost partition"}, breaks: winsIf(func(c, _ checkpointstore.Ownership) bool { return c.ETag == nil })},
		{name: "no ETag wins over a relinquished record", found: []string{"what was relinquished is not claimed without its ETag"}, breaks: winsIf(func(c, now checkpointstore.Ownership) bool { return c.ETag == nil && now.OwnerID == "" })},
		{name: "an ETag without quotes loses", found: []string{"an ETag claims with quotes and without"}, breaks: claimedBy(func(_ context.Context, _ inner, c checkpointstore.Ownership) checkpointstore.Ownership {
			if c.ETag != nil && plain(c) == string(*c.ETag) {
				c = claimOf(c.PartitionID, c.OwnerID, "never")
			}
			return c
		})},
		{name: "an ETag where there is no record gives back the claim, unwritten", found: []string{"a claim with an ETag loses where there is no record", "of 16 claims on an ETag where there is no record"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) == 1 && claims[0].Validate() == nil && claims[0].ETag != nil && s.current(ctx, claims[0]) == nil {
				return []checkpointstore.Ownership{copyOf(claims[0])}, nil
			}
			return s.claim(ctx, claims...)
		})},
		{name: "an ETag where there is no record makes one, and is forgotten", found: []string{"a claim with an ETag loses where there is no record"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) == 1 && claims[0].Validate() == nil && claims[0].ETag != nil && s.current(ctx, claims[0]) == nil {
				c := claims[0]
				c.ETag = nil
				_, err := s.claim(ctx, c)
				return nil, err
			}
			return s.claim(ctx, claims...)
		})},
		{name: "first claims check, then write", found: []string{"of 16 claims on a partition without a record"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) != 1 || claims[0].ETag != nil || s.current(ctx, claims[0]) != nil {
				return s.claim(ctx, claims...)
			}
			time.Sleep(2 * time.Millisecond)
			c := claims[0]
			for {
				if now := s.current(ctx, c); now != nil {
					c.ETag = now.ETag
				}
				if won, err := s.claim(ctx, c); len(won) > 0 || err != nil {
					return won, err
				}
			}
		})},
		{name: "a renewal writes nothing", found: []string{"every win gives the record a new ETag"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) == 1 && claims[0].Validate() == nil {
				if now := s.current(ctx, claims[0]); now != nil && plain(*now) == plain(claims[0]) && now.OwnerID == claims[0].OwnerID {
					return []checkpointstore.Ownership{*now}, nil
				}
			}
			return s.claim(ctx, claims...)
		})},
		{name: "a win returns the ETag that it was claimed on", found: []string{"what was won is listed", "a renewal is a claim"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			won, err := s.claim(ctx, claims...)
			for i := range won {
				for _, c := range claims {
					if c.PartitionID == won[i].PartitionID && c.ETag != nil {
						won[i].ETag = c.ETag
					}
				}
			}
			return won, err
		})},
		{name: "losing is an error", found: []string{"a lost partition is left out", "if all are lost"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			won, err := s.claim(ctx, claims...)
			if err == nil && len(won) < len(claims) {
				err = errors.New("412 ConditionNotMet")
			}
			return won, err
		})},
		{name: "no claims are an error", found: []string{"no claims give no records"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) ([]checkpointstore.Ownership, error) {
			if len(claims) == 0 {
				return nil, errors.New("nothing to claim")
			}
			return s.claim(ctx, claims...)
		})},
		{name: "the first lost claim stops the others", found: []string{"a lost partition is left out"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) (all []checkpointstore.Ownership, err error) {
			if err := checkpointstore.ValidateClaims(claims); err != nil {
				return nil, err
			}
			for _, c := range claims {
				won, err := s.claim(ctx, c)
				if len(won) == 0 || err != nil {
					return all, err
				}
				all = append(all, won...)
			}
			return all, nil
		})},
		{name: "claims are checked one by one", found: []string{"a claim for a partition that is asked for twice", "one claim that cannot be stored"}, breaks: claimsWith(func(ctx context.Context, s inner, claims []checkpointstore.Ownership) (all []checkpointstore.Ownership, err error) {
			for _, c := range claims {
				won, err := s.claim(ctx, c)
				if err != nil {
					return all, err
				}
				all = append(all, won...)
			}
			return all, nil
		})},
	}
}
