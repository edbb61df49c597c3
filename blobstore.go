package checkpointstore

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// BlobCheckpointStore is a [CheckpointStore] in an Azure Blob Storage container. It
// is safe for concurrent use. Create one per process and container and share it: it
// remembers for each partition what it claimed and wrote last, and uses this to
// refuse stale checkpoints.
type BlobCheckpointStore struct {
	client    *container.Client
	settings  settings
	location  location
	transport *http.Transport // the one that the store made, or nil

	// decodesLists is set if the client has the policy [decodeLists], which is so
	// for every client that the store built.
	decodesLists bool

	partitions partitions
	spellings  spellingWatch
	oddScopes  scopeSet // of which a warning was logged
	foreign    foreignNames
	listed     atomic.Int64 // how many records the last list had, as the next one will
	now        func() time.Time
}

var _ CheckpointStore = (*BlobCheckpointStore)(nil)

// NewBlobCheckpointStore creates a store on a container client, with that client's
// credential, retries and transport. It sends no request.
//
// Set RetryOptions.TryTimeout on the client: without it, the Azure SDK does not
// limit a single try, and one hung request takes the whole
// [BlobCheckpointStoreOptions].Timeout. The constructors that build the client also
// decode lists about ten times faster (docs/performance.md) and limit response
// bodies to 64 MiB.
//
// Errors: [ErrInvalidArgument] for a nil client, for a client whose URL is not that
// of a container, and for ClientOptions, APIVersion or SecondaryHost, which must be
// set on the client.
func NewBlobCheckpointStore(client *container.Client, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	s, err := options.apply(clientHandedIn)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, invalidConstruction("the container client is nil")
	}
	return newStore(client, s)
}

// NewBlobCheckpointStoreFromConnectionString creates a store from the connection
// string of a storage account (with AccountKey or SharedAccessSignature) and the
// name of a container. "UseDevelopmentStorage=true" is Azurite on its default port.
// Space and semicolons around the connection string are ignored. It sends no
// request.
//
// Errors: [ErrInvalidArgument]. Its text never contains the connection string.
func NewBlobCheckpointStoreFromConnectionString(connectionString, containerName string, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	s, err := options.apply(clientBuilt)
	if err != nil {
		return nil, err
	}
	if err := checkContainerName(containerName, minContainerName); err != nil {
		return nil, err
	}
	connectionString, err = parseConnectionString(connectionString)
	if err != nil {
		return nil, err
	}
	return s.build(func(options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientFromConnectionString(connectionString, containerName, options)
	})
}

// NewBlobCheckpointStoreWithTokenCredential creates a store from the URL of a
// container, "https://<account>.blob.core.windows.net/<container>", and a
// credential of the azidentity module. A SAS in the URL is ignored. It sends no
// request.
//
// Errors: [ErrInvalidArgument], also for an http:// URL unless
// ClientOptions.InsecureAllowCredentialWithHTTP is set, because azcore sends tokens
// over TLS only. The text never contains the URL's query.
func NewBlobCheckpointStoreWithTokenCredential(containerURL string, credential azcore.TokenCredential, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	if credential == nil {
		return nil, invalidConstruction("the credential is nil")
	}
	return fromURL(containerURL, clientWithToken, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClient(withoutSAS(u), redact.Credential{TokenCredential: credential}, options)
	})
}

// NewBlobCheckpointStoreWithSharedKeyCredential creates a store from the URL of a
// container, "https://<account>.blob.core.windows.net/<container>", and the
// account's name and key. A SAS in the URL is ignored. It sends no request.
//
// Errors: [ErrInvalidArgument]. Its text never contains the URL's query.
func NewBlobCheckpointStoreWithSharedKeyCredential(containerURL string, credential *container.SharedKeyCredential, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	if credential == nil {
		return nil, invalidConstruction("the credential is nil")
	}
	return fromURL(containerURL, clientBuilt, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientWithSharedKeyCredential(withoutSAS(u), credential, options)
	})
}

// NewBlobCheckpointStoreWithNoCredential creates a store from the URL of a
// container that includes a SAS, or that allows anonymous access. The SAS needs the
// permissions read, write and list. It sends no request.
//
// Errors: [ErrInvalidArgument]. Its text never contains the URL's query.
func NewBlobCheckpointStoreWithNoCredential(containerURL string, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	return fromURL(containerURL, clientBuilt, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientWithNoCredential(u.String(), options)
	})
}

// fromURL creates a store from the URL of a container.
func fromURL(containerURL string, source clientSource, options *BlobCheckpointStoreOptions, newClient func(*url.URL, *container.ClientOptions) (*container.Client, error)) (*BlobCheckpointStore, error) {
	s, err := options.apply(source)
	if err != nil {
		return nil, err
	}
	u, err := parseURL(containerURL)
	if err != nil {
		return nil, err
	}
	if source == clientWithToken && u.Scheme == "http" && !s.ClientOptions.InsecureAllowCredentialWithHTTP {
		return nil, invalidConstruction("the container URL begins with http://, and a token is sent over TLS only: give an https:// URL, or set ClientOptions.InsecureAllowCredentialWithHTTP for an emulator")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return s.build(func(options *container.ClientOptions) (*container.Client, error) {
		return newClient(u, options)
	})
}

// withoutSAS returns a URL without its query: an explicit credential takes
// precedence over a SAS.
func withoutSAS(u *url.URL) string {
	plain := *u
	plain.RawQuery, plain.ForceQuery = "", false
	return plain.String()
}

// build creates the client and the store on it.
func (s settings) build(newClient func(*container.ClientOptions) (*container.Client, error)) (*BlobCheckpointStore, error) {
	options, transport := s.clientOptions()
	client, err := newClient(&options)
	if err != nil {
		return nil, &Error{Op: "new store", Kind: ErrInvalidArgument, Detail: describe(nil, err), Err: redact.Secrets(nil).Error(err)}
	}
	store, err := newStore(client, s)
	if err != nil {
		return nil, err
	}
	store.transport, store.decodesLists = transport, true
	return store, nil
}

func newStore(client *container.Client, s settings) (*BlobCheckpointStore, error) {
	u, err := parseURL(client.URL())
	if err != nil {
		return nil, err
	}
	if s.SecondaryHost != "" && strings.EqualFold(s.SecondaryHost, u.Host) {
		return nil, invalidConstruction("SecondaryHost is the host of the container URL: give that of the secondary, or leave it empty")
	}
	return &BlobCheckpointStore{
		client:   client,
		settings: s,
		location: locationOf(u),
		now:      time.Now,
	}, nil
}

// Close closes the idle connections of the transport that the store created. It
// does not wait for calls or cancel them, and the store stays usable. It always
// returns nil.
func (s *BlobCheckpointStore) Close() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// EnsureContainerOptions has no fields yet.
type EnsureContainerOptions struct{}

// EnsureContainer creates the container, without anonymous access. A container that
// exists is not an error, so all consumers of a fleet can call it when they start.
// No other method creates the container.
//
// Errors: [ErrNotAuthorized] if the credential may not create containers, even if
// the container exists.
//
// Requests: one Create Container. Safe for concurrent use.
func (s *BlobCheckpointStore) EnsureContainer(ctx context.Context, options *EnsureContainerOptions) error {
	const op = "EnsureContainer"
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := observed(ctx, func(ctx context.Context) (container.CreateResponse, error) { return s.client.Create(ctx, nil) })
	if err == nil || bloberror.HasCode(err, bloberror.ContainerAlreadyExists, bloberror.ResourceAlreadyExists) {
		return nil
	}
	return s.failure(op, target{action: createContainer}, err)
}

// deadline limits a call to the store's Timeout.
func (s *BlobCheckpointStore) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.settings.Timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.settings.Timeout, timeoutEnded{})
}
