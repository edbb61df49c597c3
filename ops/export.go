package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ea947076/checkpointstore/internal/layout"
)

const (
	// ExportFormat is the Format of an [Export].
	ExportFormat = "checkpointstore.export"
	// ExportVersion is the latest Version of an [Export].
	ExportVersion = 1
)

// Export has the checkpoints of a consumer group as data: a backup, and the input of
// [PlanImport] and [ToExport]. In its JSON, times are RFC 3339 in UTC, and values that
// are not known are null.
type Export struct {
	Format                  string             `json:"format"`
	Version                 int                `json:"version"`
	Time                    time.Time          `json:"time"` // the store's clock
	FullyQualifiedNamespace string             `json:"fullyQualifiedNamespace"`
	EventHubName            string             `json:"eventHubName"`
	ConsumerGroup           string             `json:"consumerGroup"`
	Checkpoints             []ExportCheckpoint `json:"checkpoints"`
}

// ExportCheckpoint is one checkpoint of an [Export].
type ExportCheckpoint struct {
	PartitionID      string     `json:"partitionId"`
	SequenceNumber   *int64     `json:"sequenceNumber"`
	Offset           *string    `json:"offset"`
	EnqueuedTime     *time.Time `json:"enqueuedTime"`
	Generation       int64      `json:"generation"`
	LastModifiedTime time.Time  `json:"lastModifiedTime"`
	ClientID         *string    `json:"clientId"`
}

// Export returns the checkpoints of a snapshot.
func (s *Snapshot) Export() *Export {
	e := &Export{
		Format:                  ExportFormat,
		Version:                 ExportVersion,
		Time:                    s.Time,
		FullyQualifiedNamespace: s.Scope.FullyQualifiedNamespace,
		EventHubName:            s.Scope.EventHubName,
		ConsumerGroup:           s.Scope.ConsumerGroup,
		Checkpoints:             []ExportCheckpoint{},
	}
	for _, p := range s.Partitions {
		c := p.Checkpoint
		if c == nil {
			continue
		}
		var clientID *string
		if c.ClientID != "" {
			clientID = &c.ClientID
		}
		e.Checkpoints = append(e.Checkpoints, ExportCheckpoint{
			PartitionID:      p.ID,
			SequenceNumber:   c.SequenceNumber,
			Offset:           c.Offset,
			EnqueuedTime:     c.EnqueuedTime,
			Generation:       c.Generation,
			LastModifiedTime: c.LastModifiedTime,
			ClientID:         clientID,
		})
	}
	return e
}

// ReadExport reads the JSON of an [Export]. It refuses another format, a later
// version, unknown fields, and a partition that appears twice.
func ReadExport(r io.Reader) (*Export, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var e Export
	if err := d.Decode(&e); err != nil {
		return nil, fmt.Errorf("the export cannot be read: %w", err)
	}
	switch {
	case e.Format != ExportFormat:
		return nil, fmt.Errorf("the export cannot be read: its format is %q and not %q", e.Format, ExportFormat)
	case e.Version < 1 || e.Version > ExportVersion:
		return nil, fmt.Errorf("the export cannot be read: it has version %d, and %d is the latest that is known here", e.Version, ExportVersion)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the export cannot be read: something follows it")
	}
	seen := make(map[string]bool)
	for _, c := range e.Checkpoints {
		if c.PartitionID == "" {
			return nil, errors.New("the export cannot be read: a checkpoint has no partition")
		}
		if seen[c.PartitionID] {
			return nil, fmt.Errorf("the export cannot be read: partition %q is there twice", c.PartitionID)
		}
		seen[c.PartitionID] = true
	}
	return &e, nil
}

// position returns the position of an exported checkpoint, or why it cannot be stored.
func (c ExportCheckpoint) position() (Position, string) {
	switch {
	case c.SequenceNumber == nil:
		return Position{}, "it has no sequence number"
	case c.Offset == nil || layout.Offset(*c.Offset) == nil:
		return Position{}, "it has no offset, without which consumers of other packages fail"
	}
	return Position{SequenceNumber: *c.SequenceNumber, Offset: *c.Offset, EnqueuedTime: c.EnqueuedTime}, ""
}

// ImportOptions are the options of PlanImport. Nil is the same as the zero value.
type ImportOptions struct {
	// Partitions are the partitions to import. Nil means all.
	Partitions []string

	// Lower allows positions behind the stored ones. The plan then rewinds.
	Lower bool

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// PlanImport plans to store the positions of an export in a consumer group, which need
// not be the one that was exported. It skips checkpoints without a sequence number or
// offset, and those behind the stored position unless Lower is set. Errors and
// requests are those of [Read].
func PlanImport(ctx context.Context, store Store, scope Scope, export *Export, options *ImportOptions) (*Plan, error) {
	if options == nil {
		options = &ImportOptions{}
	}
	s, err := Read(ctx, store, scope, &ReadOptions{Expiration: options.Expiration})
	if err != nil {
		return nil, err
	}
	plan := newPlan(PlanToImport, s)
	plan.Rewind = options.Lower
	for _, id := range options.Partitions {
		if !slices.ContainsFunc(export.Checkpoints, func(c ExportCheckpoint) bool { return c.PartitionID == id }) {
			plan.skip(id, "it is not in the export")
		}
	}
	checkpoints := slices.SortedFunc(slices.Values(export.Checkpoints), func(a, b ExportCheckpoint) int { return CompareIDs(a.PartitionID, b.PartitionID) })
	for _, c := range checkpoints {
		if options.Partitions != nil && !slices.Contains(options.Partitions, c.PartitionID) {
			continue
		}
		to, bad := c.position()
		if bad != "" {
			plan.skip(c.PartitionID, "%s", bad)
			continue
		}
		if err := to.check(scope, c.PartitionID); err != nil {
			plan.skip(c.PartitionID, "%v", err)
			continue
		}
		plan.moveUp(s.Partition(c.PartitionID), c.PartitionID, to, fmt.Sprintf("exported at %s", export.Time.UTC().Format(time.RFC3339)))
	}
	return plan, nil
}

// moveUp does what move does, but skips a position behind the stored one unless the
// plan rewinds. name says where the position comes from.
func (p *Plan) moveUp(before Partition, name string, to Position, why string) {
	at := before.Position()
	switch {
	case at != nil && at.same(&to):
		p.skip(name, "already at %s", to)
	case at != nil && !p.Rewind && to.SequenceNumber <= at.SequenceNumber:
		p.skip(name, "%s is not ahead of what is stored, %s", to, at)
	default:
		p.move(before, to, why, nil)
	}
}
