package checkpointstore

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

const (
	// DefaultTimeout bounds every call of a [BlobCheckpointStore]: half of the
	// 60 s after which the Event Hubs processors take an ownership for expired.
	DefaultTimeout = 30 * time.Second

	// DefaultMaxConcurrency is how many claims a store sends at once over a
	// client that it built, whose transport keeps as many idle connections.
	DefaultMaxConcurrency = 32

	// DefaultMaxConcurrencyOfClient is how many claims a store sends at once over
	// a client that it was handed: as many as the transport of the Azure SDK
	// keeps idle connections to a host. More would dial anew in every round.
	DefaultMaxConcurrencyOfClient = 10
)

// BlobNaming says how the namespace, event hub and consumer group are spelled in
// the names of blobs.
type BlobNaming string

const (
	// BlobNamingLowerCase writes the letters A to Z in lower case, as the .NET,
	// JavaScript and Python packages and Java's EventProcessorClient do and as the
	// Event Hubs team states the format (Azure/azure-sdk-for-go issue 21352). This
	// is the default.
	//
	// If the caller's spelling differs from its lower case, as in "$Default",
	// the names as typed are read too: the official Go, Java and Rust stores
	// write those. See [BlobCheckpointStore.ListCheckpoints] and
	// [BlobCheckpointStore.ListOwnership]. They are never written.
	BlobNamingLowerCase BlobNaming = "LowerCase"

	// BlobNamingVerbatim writes them as typed, to work beside consumers that do.
	// Unlike Event Hubs, such a store takes "Hub" and "hub" for two hubs.
	BlobNamingVerbatim BlobNaming = "Verbatim"
)

// BlobCheckpointStoreOptions are the options of all constructors of a
// [BlobCheckpointStore]. Nil is the same as the zero value. An option that
// cannot take effect with the constructor is an error of the kind
// [ErrInvalidArgument].
type BlobCheckpointStoreOptions struct {
	// ClientOptions are for the client that the store builds; not allowed with
	// [NewBlobCheckpointStore], which is handed one. Where they are zero, the
	// store sets: Retry.MaxRetries 3, RetryDelay 200 ms, MaxRetryDelay half of
	// Timeout (a longer Retry-After is not waited for), TryTimeout 7/30 of
	// Timeout (7 s), so that four tries fit; and a Transport of its own, which
	// keeps MaxConcurrency idle connections and follows no redirects.
	// ClientOptions.APIVersion is refused: use the field below.
	ClientOptions azcore.ClientOptions

	// APIVersion is the version of the storage service to ask for, as a date:
	// "2019-07-07". Empty is that of the azblob module. For Azure Stack Hub and
	// clouds that lag behind. Not allowed with [NewBlobCheckpointStore].
	APIVersion string

	// SecondaryHost is the host name of the read-only secondary of a
	// read-access geo-redundant account: "myaccount-secondary.blob.core.windows.net".
	// If set, GetCheckpoint sends the retry after a failure of the primary there.
	// The secondary lags behind: an older checkpoint than the last one may come
	// back, which means duplicates. "Not found" from there counts as a failure.
	// Everything else stays at the primary, lists too, as the secondary cannot
	// prove that a partition has no checkpoint. Not allowed with
	// [NewBlobCheckpointStore].
	SecondaryHost string

	// BlobNaming is how names are spelled. Empty is [BlobNamingLowerCase].
	BlobNaming BlobNaming

	// IgnoreVerbatimNames stops a store with [BlobNamingLowerCase] from reading
	// the names as typed where they differ, which saves one list request for
	// each ListCheckpoints. For containers in which no official Go, Java or Rust
	// consumer ever wrote.
	IgnoreVerbatimNames bool

	// MaxConcurrency is how many claims one ClaimOwnership call sends at once.
	// Zero is [DefaultMaxConcurrency], or [DefaultMaxConcurrencyOfClient] with
	// [NewBlobCheckpointStore]. Negative is an error.
	MaxConcurrency int

	// Timeout is the deadline of every call, retries included. Zero is
	// [DefaultTimeout], negative is none. A context with an earlier deadline
	// keeps it.
	Timeout time.Duration

	// Unfenced makes every checkpoint write unconditional: the last writer wins,
	// as in all other packages. See [BlobCheckpointStore.UpdateCheckpoint].
	Unfenced bool

	// Logger gets warnings about records that need a human, and lost claims at
	// debug level. Nil is silent. No line holds a credential.
	Logger *slog.Logger
}

// settings are the options with their defaults in place.
type settings BlobCheckpointStoreOptions

// apply checks the options and fills in the defaults. built tells whether the
// store builds the client itself.
func (o *BlobCheckpointStoreOptions) apply(built bool) (settings, error) {
	s := settings{}
	if o != nil {
		s = settings(*o)
	}
	if err := s.check(built); err != nil {
		return settings{}, &Error{Op: "options", Kind: ErrInvalidArgument, Detail: err.Error()}
	}
	if s.BlobNaming == "" {
		s.BlobNaming = BlobNamingLowerCase
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MaxConcurrency == 0 {
		s.MaxConcurrency = DefaultMaxConcurrencyOfClient
		if built {
			s.MaxConcurrency = DefaultMaxConcurrency
		}
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

func (s *settings) check(built bool) error {
	if !built {
		const no = "%s cannot take effect with NewBlobCheckpointStore: set it on the client"
		switch {
		case !reflect.ValueOf(s.ClientOptions).IsZero():
			return fmt.Errorf(no, "ClientOptions")
		case s.APIVersion != "":
			return fmt.Errorf(no, "APIVersion")
		case s.SecondaryHost != "":
			return fmt.Errorf(no, "SecondaryHost")
		}
	}
	switch {
	case s.ClientOptions.APIVersion != "":
		return fmt.Errorf("ClientOptions.APIVersion is not supported by azblob: set APIVersion")
	case s.APIVersion != "" && !isDate(s.APIVersion):
		return fmt.Errorf("APIVersion %q is not a date such as 2019-07-07", s.APIVersion)
	case strings.ContainsAny(s.SecondaryHost, "/?#@ ") || strings.Contains(s.SecondaryHost, "://"):
		return fmt.Errorf("SecondaryHost is not a host name such as myaccount-secondary.blob.core.windows.net")
	case s.BlobNaming != "" && s.BlobNaming != BlobNamingLowerCase && s.BlobNaming != BlobNamingVerbatim:
		return fmt.Errorf("BlobNaming %q is not known", s.BlobNaming)
	case s.MaxConcurrency < 0:
		return fmt.Errorf("MaxConcurrency is %d, below 0", s.MaxConcurrency)
	}
	return nil
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
