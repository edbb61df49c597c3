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
	// DefaultTimeout limits every call of a [BlobCheckpointStore]. It is half of
	// the 60 s after which the Event Hubs processors consider an ownership expired.
	DefaultTimeout = 30 * time.Second

	// DefaultMaxConcurrency is how many claims a store sends at once with a client
	// that it built.
	DefaultMaxConcurrency = 32

	// DefaultMaxConcurrencyOfClient is how many claims a store sends at once with a
	// client that the caller built. It equals the number of idle connections per
	// host that the Azure SDK's default transport keeps: with more claims at once,
	// every round would dial again.
	DefaultMaxConcurrencyOfClient = 10
)

// BlobNaming says how the namespace, event hub and consumer group are spelled in
// blob names.
type BlobNaming string

const (
	// BlobNamingLowerCase, the default, writes the letters A to Z in lower case, as
	// the .NET, JavaScript and Python packages and Java's EventProcessorClient do,
	// and as the Event Hubs team defined the format (Azure/azure-sdk-for-go issue
	// 21352).
	//
	// If the caller's spelling has upper case, as in "$Default", the store also
	// reads the verbatim names, which the official Go, Java and Rust stores write.
	// It never writes them. See [BlobCheckpointStore.ListCheckpoints] and
	// [BlobCheckpointStore.ListOwnership].
	BlobNamingLowerCase BlobNaming = "LowerCase"

	// BlobNamingLowerCaseOnly writes as [BlobNamingLowerCase] does and never reads
	// verbatim names, which saves requests. Use it for containers that no official
	// Go, Java or Rust consumer has written to.
	BlobNamingLowerCaseOnly BlobNaming = "LowerCaseOnly"

	// BlobNamingVerbatim reads and writes the names exactly as the caller spells
	// them, to share partitions with consumers that do the same. Unlike Event Hubs,
	// such a store treats "Hub" and "hub" as two event hubs.
	BlobNamingVerbatim BlobNaming = "Verbatim"
)

// BlobCheckpointStoreOptions are the options of all constructors of a
// [BlobCheckpointStore]. Nil means the zero value. A constructor returns
// [ErrInvalidArgument] for an option that cannot take effect.
type BlobCheckpointStoreOptions struct {
	// ClientOptions are for the client that the store builds; they are not allowed
	// with [NewBlobCheckpointStore]. Defaults of fields that are zero:
	// Retry.MaxRetries 3; Retry.RetryDelay 200 ms; Retry.MaxRetryDelay half of
	// Timeout (a longer Retry-After is not waited for); Retry.TryTimeout 7/30 of
	// Timeout, so that four tries fit; and a Transport that uses the proxies of the
	// environment, follows no redirects and keeps up to 1,024 idle connections to a
	// host for 90 s.
	//
	// Audience is the resource that tokens are requested for. It is allowed only
	// with a token credential. Empty means "https://storage.azure.com", which every
	// account in Azure's public and national clouds accepts; Azure Stack Hub has
	// its own.
	//
	// Cloud has no effect, as in azblob: the URL and Audience name the cloud.
	// APIVersion (use the field below) and ExpectContinueBehavior (no request has a
	// body) have no effect in azblob either, and are not allowed.
	ClientOptions container.ClientOptions

	// APIVersion is the version of the storage service's API to use, a date such as
	// "2019-07-07", for Azure Stack Hub and clouds that lag behind. Empty means the
	// version of the azblob module. Not allowed with [NewBlobCheckpointStore].
	APIVersion string

	// SecondaryHost is the host name of the secondary of a read-access
	// geo-redundant account, such as "myaccount-secondary.blob.core.windows.net".
	// If set, GetCheckpoint sends the retry after a failure of the primary there.
	// The secondary lags behind, so an older checkpoint than the last one may be
	// returned. If the secondary has no checkpoint, the try counts as failed. All
	// other requests, lists included, go to the primary. Not allowed with
	// [NewBlobCheckpointStore] or without retries.
	SecondaryHost string

	// BlobNaming is how names are spelled. Empty means [BlobNamingLowerCase].
	BlobNaming BlobNaming

	// MaxConcurrency is how many claims one ClaimOwnership call sends at once. Zero
	// means [DefaultMaxConcurrency], or [DefaultMaxConcurrencyOfClient] with
	// [NewBlobCheckpointStore]. A negative value is an error.
	MaxConcurrency int

	// Timeout limits every call, retries included. Zero means [DefaultTimeout], a
	// negative value no limit. An earlier deadline of the caller's context applies
	// as well.
	Timeout time.Duration

	// DisableFencing makes every checkpoint write unconditional: the last writer
	// wins, as in all other packages. See [BlobCheckpointStore.UpdateCheckpoint].
	DisableFencing bool

	// Logger receives warnings about conditions that need an operator, and lost
	// claims at debug level. Nil logs nothing. No line contains a credential.
	Logger *slog.Logger
}

// settings are the options with their defaults filled in.
type settings BlobCheckpointStoreOptions

// clientSource says where the client of a store comes from, which decides which
// options can take effect.
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
		return fmt.Errorf("BlobNaming %s is not LowerCase, LowerCaseOnly or Verbatim", layout.Quote(string(s.BlobNaming)))
	case s.MaxConcurrency < 0:
		return fmt.Errorf("MaxConcurrency is %d, below 0", s.MaxConcurrency)
	}
	if err := s.checkClientOptions(source); err != nil {
		return err
	}
	return s.checkSecondaryHost()
}

// checkClientOptions refuses options that azblob accepts and never reads, and those
// that this store has no use for.
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
