// Package layout is the storage format: the names of the blobs and the meaning of
// their metadata. It sends no requests.
package layout

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// A Kind is the segment of a blob's name that says what the blob holds.
type Kind string

const (
	Ownership  Kind = "ownership"
	Checkpoint Kind = "checkpoint"
)

// maxName is the service's limit for a blob's name, in characters ("Naming and
// Referencing Containers, Blobs, and Metadata", Blob names).
const maxName = 1024

// A Scope names the consumers whose records belong together.
type Scope struct {
	Namespace, EventHub, ConsumerGroup string
}

// Lower returns the scope as the .NET, JavaScript and Python packages spell it. It
// folds the letters A to Z only. Names in Event Hubs have no other letters, each
// package folds others in its own way, and Unicode's folding would make different
// names equal, such as "k" and the Kelvin sign.
func (s Scope) Lower() Scope {
	return Scope{lower(s.Namespace), lower(s.EventHub), lower(s.ConsumerGroup)}
}

func lower(name string) string {
	if !strings.ContainsFunc(name, isUpper) {
		return name
	}
	return strings.Map(func(r rune) rune {
		if isUpper(r) {
			return r + ('a' - 'A')
		}
		return r
	}, name)
}

func isUpper(r rune) bool { return 'A' <= r && r <= 'Z' }

// Prefix returns the beginning of the names of all blobs of that kind. It ends in a
// slash: without it, accounts with a hierarchical namespace list the directory
// itself.
func (s Scope) Prefix(kind Kind) string {
	return s.Namespace + "/" + s.EventHub + "/" + s.ConsumerGroup + "/" + string(kind) + "/"
}

// BlobName returns the name of the blob that holds a partition's record.
func (s Scope) BlobName(kind Kind, partitionID string) string { return s.Prefix(kind) + partitionID }

// PartitionID returns the partition in a blob's name. It reports false for a blob
// that is not a direct child of the prefix.
func PartitionID(prefix string, blobName []byte) (string, bool) {
	if len(blobName) <= len(prefix) || string(blobName[:len(prefix)]) != prefix {
		return "", false
	}
	id := blobName[len(prefix):]
	if bytes.IndexByte(id, '/') >= 0 {
		return "", false
	}
	return string(id), true
}

// Check returns an error if one of the scope's three names cannot be stored.
func (s Scope) Check() error {
	for _, atom := range [...]struct{ what, name string }{
		{"fully qualified namespace", s.Namespace},
		{"event hub name", s.EventHub},
		{"consumer group", s.ConsumerGroup},
	} {
		if err := checkAtom(atom.what, atom.name); err != nil {
			return err
		}
	}
	if s.length() >= maxName {
		return fmt.Errorf("namespace, event hub and consumer group make a blob name of more than %d characters", maxName)
	}
	return nil
}

// length is the length of the longest prefix, in characters.
func (s Scope) length() int {
	n := len("///") + len(Checkpoint) + len("/")
	for _, atom := range [...]string{s.Namespace, s.EventHub, s.ConsumerGroup} {
		n += utf8.RuneCountInString(atom)
	}
	return n
}

// CheckPartition returns an error if a partition ID cannot be stored in a scope
// that passed [Scope.Check].
func (s Scope) CheckPartition(id string) error {
	if err := checkAtom("partition id", id); err != nil {
		return err
	}
	if n := s.length() + utf8.RuneCountInString(id); n > maxName {
		return fmt.Errorf("the blob name has %d characters, the service takes %d", n, maxName)
	}
	return nil
}

// checkAtom refuses names that would lead to another blob than the one they name: a
// slash adds a segment, clients and proxies resolve "." and "..", and the service
// drops or refuses a trailing dot of a segment. It also refuses names that contain
// a credential, which logs and the container would show.
func checkAtom(what, name string) error {
	if kind := CredentialIn(name); kind != "" {
		return fmt.Errorf("the %s is not a name, this looks like %s; give the name alone", what, kind)
	}
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty", what)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not valid UTF-8", what)
	case strings.ContainsAny(name, `/\`):
		return fmt.Errorf("the %s %s has a slash in it", what, Quote(name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the %s %s has a control character in it", what, Quote(name))
	case strings.ContainsAny(name, "\ufffe\uffff"):
		return fmt.Errorf("the %s %s has a character in it that a list cannot show", what, Quote(name))
	case strings.HasSuffix(name, "."):
		return fmt.Errorf("the %s %s ends in a dot", what, Quote(name))
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the %s %s has spaces around it", what, Quote(name))
	}
	return nil
}

// CredentialIn returns what kind of credential a text looks like, with its article:
// "a connection string", "a URL with a credential", "a shared access signature" or
// "a credential". It returns "" for any other text.
func CredentialIn(s string) string {
	if !strings.ContainsAny(s, "=:% ") && !strings.Contains(s, "eyJ") {
		return "" // no credential is without any of them
	}
	lower := strings.ToLower(s)
	for _, word := range [...]string{"endpoint=sb://", "accountname=", "accountkey=", "sharedaccesskeyname=", "sharedaccesskey=", "sharedaccesssignature="} {
		if strings.Contains(lower, word) {
			return "a connection string"
		}
	}
	switch {
	case redact.Secrets(nil).Text(s) == s:
		return ""
	case strings.Contains(lower, "://"):
		return "a URL with a credential"
	case strings.Contains(lower, "sig=") || strings.Contains(lower, "sig%3d"):
		return "a shared access signature"
	}
	return "a credential"
}

// Quote quotes a name for an error's text. It removes credentials and shortens long
// names.
func Quote(s string) string {
	const (
		maxShown = 64
		maxRead  = 32 * maxShown // of which redaction may leave little
	)
	shown := redact.Secrets(nil).Text(s[:min(len(s), maxRead)])
	if len(s) > maxRead || len(shown) > maxShown {
		shown = strings.ToValidUTF8(shown[:min(len(shown), maxShown)], "") + "…"
	}
	return fmt.Sprintf("%q", shown)
}
