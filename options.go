package checkpointstore

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/layout"
)

const (
	// DefaultTimeout bounds every call of a [BlobCheckpointStore]. It is half of
	// the 60 s after which the Event Hubs processors consider an ownership expired.
	DefaultTimeout = 30 * time.Second

	// DefaultMaxConcurrency is how many claims a store sends at once over a
	// client that it built.
	DefaultMaxConcurrency = 32

	// DefaultMaxConcurrencyOfClient is how many claims a store sends at once over
	// a client that it was handed. The default transport of the Azure SDK keeps
	// that many idle connections to a host; with more claims at once, every round
	// would dial again.
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
	// If the caller's spelling differs from its lower case, as in "$Default", the
	// store also reads the verbatim names, which the official Go, Java and Rust
	// stores write. It never writes them. See [BlobCheckpointStore.ListCheckpoints]
	// and [BlobCheckpointStore.ListOwnership].
	BlobNamingLowerCase BlobNaming = "LowerCase"

	// BlobNamingLowerCaseOnly writes as [BlobNamingLowerCase] does and never reads
	// verbatim names, which saves requests. Use it for containers that no official
	// Go, Java or Rust consumer ever wrote to.
	BlobNamingLowerCaseOnly BlobNaming = "LowerCaseOnly"

	// BlobNamingVerbatim reads and writes the names exactly as the caller spells
	// them, to share partitions with consumers that do the same. Unlike Event Hubs,
	// such a store considers "Hub" and "hub" two event hubs.
	BlobNamingVerbatim BlobNaming = "Verbatim"
)

// BlobCheckpointStoreOptions are the options of all constructors of a
// [BlobCheckpointStore]. Nil is the same as the zero value. An option that
// cannot take effect with the constructor or with the other options is an error
// of the kind [ErrInvalidArgument].
type BlobCheckpointStoreOptions struct {
	// ClientOptions are for the client that the store builds. They are not allowed
	// with [NewBlobCheckpointStore]. Where they are zero, the store sets:
	// Retry.MaxRetries 3, RetryDelay 200 ms, MaxRetryDelay half of Timeout (it does
	// not wait for a longer Retry-After), TryTimeout 7/30 of Timeout (7 s, so that
	// four tries fit), and a Transport that reads proxies from the environment,
	// follows no redirects, and keeps up to 1,024 connections to a host idle for
	// 90 s, so that requests sent at the same time find one.
	//
	// Audience is the resource that tokens are requested for, and only allowed with
	// a token credential. Empty is "https://storage.azure.com", which every account
	// accepts in Azure's public and national clouds. Azure Stack Hub has its own.
	//
	// Cloud has no effect, as with azblob's own clients: the URL and Audience name
	// the cloud, and the credential has options of its own. Not allowed, because
	// they have no effect: APIVersion (use the field below) and
	// ExpectContinueBehavior (no request has a body).
	ClientOptions container.ClientOptions

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
	// [NewBlobCheckpointStore], nor without retries.
	SecondaryHost string

	// BlobNaming is how names are spelled. Empty is [BlobNamingLowerCase].
	BlobNaming BlobNaming

	// MaxConcurrency is how many claims one ClaimOwnership call sends at once.
	// Zero is [DefaultMaxConcurrency], or [DefaultMaxConcurrencyOfClient] with
	// [NewBlobCheckpointStore]. Negative is an error.
	MaxConcurrency int

	// Timeout is the deadline of every call, retries included. Zero is
	// [DefaultTimeout], negative is none. A context with an earlier deadline
	// keeps it.
	Timeout time.Duration

	// DisableFencing makes every checkpoint write unconditional: the last writer
	// wins, as in all other packages. See [BlobCheckpointStore.UpdateCheckpoint].
	DisableFencing bool

	// Logger gets warnings about what needs a human, and lost claims at debug
	// level. Nil is silent. No line holds a credential.
	Logger *slog.Logger
}

// settings are the options with their defaults in place.
type settings BlobCheckpointStoreOptions

// clientSource says where the client of a store comes from. Which options can
// take effect depends on it.
type clientSource int

const (
	clientHandedIn  clientSource = iota // the caller built it
	clientWithToken                     // the store builds it, with a token credential
	clientBuilt                         // the store builds it, with any other credential or none
)

// apply checks the options and fills in the defaults.
func (o *BlobCheckpointStoreOptions) apply(source clientSource) (settings, error) {
	s := settings{}
	if o != nil {
		s = settings(*o)
	}
	if err := s.check(source); err != nil {
		return settings{}, &Error{Op: "options", Kind: ErrInvalidArgument, Detail: err.Error()}
	}
	if s.BlobNaming == "" {
		s.BlobNaming = BlobNamingLowerCase
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MaxConcurrency == 0 {
		s.MaxConcurrency = DefaultMaxConcurrency
		if source == clientHandedIn {
			s.MaxConcurrency = DefaultMaxConcurrencyOfClient
		}
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

func (s *settings) check(source clientSource) error {
	if source == clientHandedIn {
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
	case s.APIVersion != "" && !isDate(s.APIVersion):
		return fmt.Errorf("APIVersion %s is not a date such as 2019-07-07", layout.Quote(s.APIVersion))
	case s.BlobNaming != "" && s.BlobNaming != BlobNamingLowerCase && s.BlobNaming != BlobNamingLowerCaseOnly && s.BlobNaming != BlobNamingVerbatim:
		return fmt.Errorf("BlobNaming %s is not known", layout.Quote(string(s.BlobNaming)))
	case s.MaxConcurrency < 0:
		return fmt.Errorf("MaxConcurrency is %d, below 0", s.MaxConcurrency)
	}
	if err := s.checkClientOptions(source); err != nil {
		return err
	}
	return s.checkSecondaryHost()
}

// checkClientOptions refuses what azblob takes and never reads, or what this
// store has no use for.
func (s *settings) checkClientOptions(source clientSource) error {
	o := &s.ClientOptions
	switch {
	case o.APIVersion != "":
		return errors.New("ClientOptions.APIVersion is not supported by azblob: set APIVersion")
	case o.Audience != "" && source != clientWithToken:
		return errors.New("ClientOptions.Audience has no effect without a token credential: use NewBlobCheckpointStoreWithTokenCredential, or leave it empty")
	case !reflect.ValueOf(o.ExpectContinueBehavior).IsZero():
		return errors.New("ClientOptions.ExpectContinueBehavior has no effect, as no request of a store has a body: leave it zero")
	}
	return nil
}

func (s *settings) checkSecondaryHost() error {
	switch host := s.SecondaryHost; {
	case host == "":
		return nil
	case !isHost(host):
		const form = "SecondaryHost is not a host name such as myaccount-secondary.blob.core.windows.net"
		if kind := layout.CredentialIn(host); kind != "" {
			return errors.New(form + ": this looks like " + kind)
		}
		return errors.New(form)
	case s.ClientOptions.Retry.MaxRetries < 0:
		return errors.New("SecondaryHost has no effect without retries, as only a retry goes there: leave it empty, or set ClientOptions.Retry.MaxRetries to 1 or more")
	}
	return checkAzureHost("SecondaryHost", s.SecondaryHost)
}

// hostName is a DNS name, also one that is not fully qualified, as containers
// have them. An underscore is not in the standard, but in use.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$`)

// isHost tells whether a text is a host name or an IP address, with or without a
// port, as they stand in a URL.
func isHost(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		port, err := strconv.ParseUint(host[i+1:], 10, 16)
		if err != nil || port == 0 {
			return false
		}
		name = host[:i]
	}
	if inner, found := strings.CutPrefix(name, "["); found {
		address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && address.Is6() && strings.HasSuffix(inner, "]")
	}
	return len(name) <= 253 && hostName.MatchString(name)
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}
