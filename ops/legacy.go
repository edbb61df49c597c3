package ops

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

// Layout names the format in which another package keeps its checkpoints.
type Layout string

const (
	// LayoutGoTrack1 is azure-event-hubs-go/v3 (eph, package storage): JSON blobs
	// named by the partition, in the container's root or behind a prefix.
	LayoutGoTrack1 Layout = "go-track1"

	// LayoutGoTrack1Files is FilePersister of azure-event-hubs-go/v3: JSON files named
	// by namespace, hub, group and partition.
	LayoutGoTrack1Files Layout = "go-track1-files"

	// LayoutDotNetEPH is EventProcessorHost of Microsoft.Azure.EventHubs.Processor.
	LayoutDotNetEPH Layout = "dotnet-eph"

	// LayoutJavaEPH is EventProcessorHost of azure-eventhubs-eph.
	LayoutJavaEPH Layout = "java-eph"

	// LayoutPythonEPH is the eventprocessorhost of azure-eventhub 1.
	LayoutPythonEPH Layout = "python-eph"

	// LayoutFunctions is the Event Hubs trigger of Azure Functions before extension
	// version 5, in the container "azure-webjobs-eventhub".
	LayoutFunctions Layout = "functions"

	// LayoutDapr is the Event Hubs binding and pub/sub of Dapr before 1.10.
	LayoutDapr Layout = "dapr"

	// LayoutTypedNames is the format of the official Go and Rust stores, and of Java's
	// store without EventProcessorClient: the same records, with the names as they were
	// typed. They are in the container of the store, so there is no [Source].
	LayoutTypedNames Layout = "typed-names"
)

// Layouts returns all formats that [PlanMigrate] can read.
func Layouts() []Layout {
	return []Layout{LayoutGoTrack1, LayoutGoTrack1Files, LayoutDotNetEPH, LayoutJavaEPH, LayoutPythonEPH, LayoutFunctions, LayoutDapr, LayoutTypedNames}
}

// prefix returns the common prefix of the names of a scope's blobs or files. The rest
// of each name is the partition ID.
func (l Layout) prefix(given string, scope Scope) (string, error) {
	switch l {
	case LayoutGoTrack1, LayoutPythonEPH:
		return given, nil
	case LayoutGoTrack1Files:
		return given + strings.ReplaceAll(scope.FullyQualifiedNamespace+"_"+scope.EventHubName+"_"+scope.ConsumerGroup+"_", "$", ""), nil
	case LayoutDotNetEPH:
		return strings.TrimSpace(given) + scope.ConsumerGroup + "/", nil
	case LayoutJavaEPH:
		return given + scope.ConsumerGroup + "/", nil
	case LayoutFunctions:
		return given + escapeFunctions(scope.FullyQualifiedNamespace) + "/" + escapeFunctions(scope.EventHubName) + "/" + scope.ConsumerGroup + "/", nil
	case LayoutDapr:
		return given + "dapr-" + scope.EventHubName + "-" + scope.ConsumerGroup + "-", nil
	}
	return "", fmt.Errorf("unknown layout %q: it is one of %q", l, Layouts())
}

// escapeFunctions writes a name as Azure Functions does in blob names
// (EventHubOptions.cs): A to Z in lower case, and every UTF-16 unit other than ASCII
// letters, digits, "-", "_" and "." as ":XX", or from U+0100 on as "::XXXX".
func escapeFunctions(name string) string {
	var b strings.Builder
	for _, r := range utf16.Encode([]rune(name)) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			b.WriteByte(byte(r))
		case 'A' <= r && r <= 'Z':
			b.WriteByte(byte(r) + 'a' - 'A')
		case r < 0x100:
			fmt.Fprintf(&b, ":%02X", r)
		default:
			fmt.Fprintf(&b, "::%04X", r)
		}
	}
	return b.String()
}

// legacyCheckpoint is the content of another package's checkpoint. Nil fields are
// missing.
type legacyCheckpoint struct {
	offset         *string
	sequenceNumber *int64
	enqueuedTime   *time.Time
	owner          string
}

// parseLegacy reads a checkpoint of any layout. All are JSON objects. They differ in
// the case of their keys, in underscores, and in whether the position is in a nested
// object "checkpoint".
func parseLegacy(content []byte) (legacyCheckpoint, error) {
	var c legacyCheckpoint
	fields, err := legacyFields(content)
	if err != nil {
		return c, err
	}
	if c.owner, err = legacyText(fields["owner"]); err != nil {
		return c, fmt.Errorf("owner: %w", err)
	}
	if inner, found := fields["checkpoint"]; found {
		if isNull(inner) {
			return c, nil
		}
		if fields, err = legacyFields(inner); err != nil {
			return c, fmt.Errorf("checkpoint: %w", err)
		}
	}
	if raw := fields["offset"]; !isNull(raw) {
		text, err := legacyText(raw)
		if err != nil {
			return c, fmt.Errorf("offset: %w", err)
		}
		c.offset = &text
	}
	if raw := fields["sequencenumber"]; !isNull(raw) {
		text, err := legacyText(raw)
		if err != nil {
			return c, fmt.Errorf("sequence number: %w", err)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return c, fmt.Errorf("sequence number: %q is not a number", text)
		}
		c.sequenceNumber = &n
	}
	if raw := fields["enqueuetime"]; !isNull(raw) {
		// The Go package writes the year 1 if there is none.
		if text, err := legacyText(raw); err == nil {
			if t, err := time.Parse(time.RFC3339, text); err == nil && t.Year() > 1 {
				t = t.UTC()
				c.enqueuedTime = &t
			}
		}
	}
	return c, nil
}

// legacyFields returns the fields of a JSON object, with the keys in lower case and
// without underscores.
func legacyFields(content []byte) (map[string]json.RawMessage, error) {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(content, &fields); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if fields == nil {
		return nil, errors.New("it is null")
	}
	folded := make(map[string]json.RawMessage, len(fields))
	for _, spelling := range slices.Sorted(maps.Keys(fields)) { // sorted, so that the error is the same each time
		key := strings.ToLower(strings.ReplaceAll(spelling, "_", ""))
		if _, found := folded[key]; found {
			return nil, fmt.Errorf("it has %q under two spellings", key)
		}
		folded[key] = fields[spelling]
	}
	return folded, nil
}

func isNull(raw json.RawMessage) bool { return raw == nil || string(raw) == "null" }

// legacyText returns a JSON string, or a number as it is written. Null is empty.
func legacyText(raw json.RawMessage) (string, error) {
	if isNull(raw) {
		return "", nil
	}
	var number json.Number
	if raw[0] != '"' {
		err := json.Unmarshal(raw, &number)
		return number.String(), err
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err
}
