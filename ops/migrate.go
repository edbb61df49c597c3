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

// maxLegacySize is how many bytes a checkpoint of another package may have.
const maxLegacySize = 64 << 10

// MigrateOptions say where the checkpoints of another package are. Names are always
// given: in blob names they are ambiguous.
type MigrateOptions struct {
	Layout Layout

	// Prefix is what the application gave its package as a prefix of blob names, as
	// it gave it. For [LayoutGoTrack1] a slash at its end is not added.
	Prefix string

	// SourceScope has the names as the source spells them. The zero value is the
	// target's scope.
	SourceScope Scope

	// MapStartToEarliest takes a checkpoint at the start of the partition (offset
	// "-1") over, as the earliest position. Otherwise it is skipped.
	MapStartToEarliest bool

	// Lower allows positions behind the stored ones. The plan then rewinds.
	Lower bool

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// PlanMigrate plans to take over the checkpoints of another package into a consumer
// group. The source stays as it is. Every blob or file named by a partition is in the
// plan, as a change or as skipped with the reason: a checkpoint without an offset, with
// "@latest", without a sequence number, or not ahead of what is stored, and content
// that is no checkpoint or has more than 64 KiB. A second run changes nothing.
//
// It refuses a source that somebody uses ([ErrLive]): a blob with a lease, or one
// whose owner wrote within the expiration. [Apply] refuses a target that is in use.
//
// source is nil for [LayoutTypedNames]. Errors are those of [Read] and of the source.
// Requests: those of [Read], one list of the source and one read for each partition.
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

// isPartitionNumber reports whether a text is a partition's number as it is written.
func isPartitionNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 31)
	return err == nil && strconv.FormatUint(n, 10) == text
}

// takeLegacy plans to take over one checkpoint, or notes why not.
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

// takeOtherSpelling plans to write what counts of both spellings under the store's
// own: the position that is further on.
func (p *Plan) takeOtherSpelling(s *Snapshot) error {
	found := false
	for _, partition := range s.Partitions {
		other := partition.Other
		if other == nil {
			continue
		}
		found = true
		name := pathOf(other.Scope) + "/" + partition.ID
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
