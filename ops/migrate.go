package ops

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

// maxLegacySize is the maximum size of another package's checkpoint, in bytes.
const maxLegacySize = 64 << 10

// MigrateOptions say where the checkpoints of another package are. The names of the
// scope are not read from blob names, where they would be ambiguous.
type MigrateOptions struct {
	Layout Layout

	// Prefix is the prefix of blob names that the application configured in the other
	// package, exactly as configured. For [LayoutGoTrack1] no slash is added to it.
	Prefix string

	// SourceScope has the names as the source spells them. The zero value means the
	// target's scope.
	SourceScope Scope

	// MapStartToEarliest takes over a checkpoint at the start of the partition (offset
	// "-1") as the earliest position. Without it, such a checkpoint is skipped.
	MapStartToEarliest bool

	// Lower allows positions behind the stored ones. The plan then rewinds.
	Lower bool

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// PlanMigrate plans to take over the checkpoints of another package into a consumer
// group. It does not change the source. The plan has every blob or file that is named
// after a partition, as a change or as skipped with a reason: no offset, "@latest", no
// sequence number, not ahead of what is stored, not a checkpoint, or larger than 64
// KiB. A second run changes nothing.
//
// It returns [ErrLive] if the source is in use: if a blob has a lease, or if its owner
// wrote it within the expiration. [Apply] refuses a target that is in use.
//
// source is not used for [LayoutTypedNames] and may be nil. Errors are those of [Read]
// and of the source. Requests: those of [Read], one list of the source and one read
// for each partition.
func PlanMigrate(ctx context.Context, store Store, source Source, scope Scope, options MigrateOptions) (*Plan, error) {
	s, err := Read(ctx, store, scope, &ReadOptions{Expiration: options.Expiration})
	if err != nil {
		return nil, err
	}
	plan := newPlan(PlanToMigrate, s)
	plan.Rewind = options.Lower
	if options.Layout == LayoutTypedNames {
		return plan, plan.takeOtherSpelling(s)
	}
	if source == nil {
		return nil, errors.New("this layout needs a source")
	}
	from := options.SourceScope
	if from == (Scope{}) {
		from = scope
	}
	prefix, err := options.Layout.prefix(options.Prefix, from)
	if err != nil {
		return nil, err
	}
	names, err := source.Names(ctx, prefix)
	if err != nil {
		return nil, err
	}
	foreign := 0
	for _, name := range names {
		id := strings.TrimPrefix(name, prefix)
		if !isPartitionNumber(id) {
			foreign++
			continue
		}
		file, err := source.Read(ctx, name, maxLegacySize)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			plan.skip(name, "it was deleted meanwhile")
			continue
		case err != nil:
			return nil, err
		}
		if err := plan.takeLegacy(s.Partition(id), name, file, options); err != nil {
			return nil, err
		}
	}
	if len(names) == foreign {
		plan.Warnings = append(plan.Warnings, fmt.Sprintf("the source has no checkpoint under %q: check the layout, the prefix and the spelling of the names", prefix))
	}
	if foreign > 0 {
		plan.skip(prefix+"…", "%d names do not end in a partition's number", foreign)
	}
	return plan, nil
}

// isPartitionNumber reports whether a text is a partition number without leading zeros.
func isPartitionNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == text
}

// takeLegacy plans to take over one checkpoint, or skips it with the reason.
func (p *Plan) takeLegacy(target Partition, name string, file SourceFile, options MigrateOptions) error {
	if file.Leased {
		return fmt.Errorf("%w in the source: %q has a lease: stop the consumers of the other package first", ErrLive, name)
	}
	c, notLegible := parseLegacy(file.Content)
	owner := c.owner
	if host, found := file.Metadata["owninghost"]; found {
		owner = host
	}
	fresh := age(file.Time, file.LastModified) <= p.Expiration
	if fresh && owner != "" {
		return fmt.Errorf("%w in the source: %q wrote %q %s ago: stop the consumers of the other package first, and wait %s", ErrLive, owner, name,
			age(file.Time, file.LastModified).Round(time.Second), p.Expiration)
	}
	to := Position{EnqueuedTime: c.enqueuedTime}
	switch {
	case file.TooLarge:
		p.skip(name, "it has more than %d bytes, which no checkpoint has", maxLegacySize)
		return nil
	case notLegible != nil:
		p.skip(name, "%v", notLegible)
		return nil
	case c.offset == nil:
		p.skip(name, "it has no checkpoint yet")
		return nil
	case layout.Offset(*c.offset) == nil:
		p.skip(name, "it has no offset: %q", *c.offset)
		return nil
	case strings.EqualFold(*c.offset, "@latest"):
		p.skip(name, "it is at the end of the partition (\"@latest\"), which is no position of an event")
		return nil
	case *c.offset == "-1" && !options.MapStartToEarliest:
		p.skip(name, "it is at the start of the partition, where no event was handled")
		return nil
	case *c.offset == "-1":
		to = Position{SequenceNumber: -1, Offset: "-1"}
	case c.sequenceNumber == nil:
		p.skip(name, "it has offset %s but no sequence number", *c.offset)
		return nil
	case *c.sequenceNumber < 0:
		p.skip(name, "it has offset %s but sequence number %d, which no event has", *c.offset, *c.sequenceNumber)
		return nil
	default:
		to.SequenceNumber, to.Offset = *c.sequenceNumber, *c.offset
	}
	if err := to.check(p.Scope, target.ID); err != nil {
		p.skip(name, "%v", err)
		return nil
	}
	if fresh {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%q was written %s ago: make sure that nobody goes on writing it", name, age(file.Time, file.LastModified).Round(time.Second)))
	}
	p.moveUp(target, name, to, "from "+name)
	return nil
}

// takeOtherSpelling plans to store, under the store's own spelling, the position that
// is further ahead of the two spellings'.
func (p *Plan) takeOtherSpelling(s *Snapshot) error {
	found := false
	for _, partition := range s.Partitions {
		other := partition.Other
		if other == nil {
			continue
		}
		found = true
		name := other.Scope.String() + "/" + partition.ID
		if partition.isLive() {
			return fmt.Errorf("%w: partition %s: %s", ErrLive, partition.ID, strings.Join(liveWarnings(partition), "; "))
		}
		own, theirs := positionOf(partition.Own), positionOf(other.Checkpoint)
		to, why := theirs, "from "+name
		if own != nil && theirs != nil && own.SequenceNumber >= theirs.SequenceNumber {
			to, why = own, "the store's own position is further on than that of "+name
		}
		switch {
		case theirs == nil:
			p.skip(name, "it has no checkpoint with a position")
		case to.check(p.Scope, partition.ID) != nil:
			p.skip(name, "%v", to.check(p.Scope, partition.ID))
		case to == own && partition.Checkpoint == partition.Own:
			p.skip(name, "%s is not ahead of what is stored, %s", theirs, own)
		default:
			p.Changes = append(p.Changes, Change{PartitionID: partition.ID, Before: partition, After: to, Why: why})
		}
	}
	if !found {
		p.Warnings = append(p.Warnings, "nothing is stored under another spelling than the store's own: give the names as they were typed")
	}
	return nil
}
