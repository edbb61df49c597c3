package checkpointstore

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// BlobCheckpointStore is a [CheckpointStore] in an Azure Blob Storage container.
// It is safe for concurrent use. Everything in a process that reads the same event
// hubs should share one: for each partition it remembers what it won and wrote
// last, and fences checkpoints by that.
type BlobCheckpointStore struct {
	client    *container.Client
	settings  settings
	location  location
	transport *http.Transport // the one that the store made, or nil

	// decodesLists is set if the client has the policy [decodeLists].
	decodesLists bool

	partitions partitions
	spellings  spellingWatch
	oddScopes  scopeSet // of which a warning was logged
	foreign    foreignNames
	now        func() time.Time
}

var _ CheckpointStore = (*BlobCheckpointStore)(nil)

// NewBlobCheckpointStore makes a store of a container client, with whatever
// credential, retries and transport that has. It sends nothing.
//
// A client of the Azure SDK has no timeout for a single try: without
// RetryOptions.TryTimeout on the client, one hung request takes the whole
// [BlobCheckpointStoreOptions].Timeout. It also decodes lists itself, at about
// ten times the cost (docs/performance.md), and reads answers of any length,
// where a store that builds its client takes 64 MiB of each.
//
// Errors: [ErrInvalidArgument] for a nil client, for a client whose URL is not
// that of a container, and for ClientOptions, APIVersion or SecondaryHost, which
// belong on the client.
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

// NewBlobCheckpointStoreFromConnectionString makes a store from the connection
// string of a storage account (with AccountKey, or SharedAccessSignature) and
// the name of a container. "UseDevelopmentStorage=true" is Azurite on its
// default port. White space and semicolons around the connection string are
// ignored. It sends nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the connection string.
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

// NewBlobCheckpointStoreWithTokenCredential makes a store from the URL of a
// container, "https://<account>.blob.core.windows.net/<container>", and a
// credential of the azidentity module. A SAS in the URL is not used. It sends
// nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the URL's query; also
// for an http:// URL, as azcore sends tokens over TLS only, unless
// ClientOptions.InsecureAllowCredentialWithHTTP is set.
func NewBlobCheckpointStoreWithTokenCredential(containerURL string, credential azcore.TokenCredential, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	if credential == nil {
		return nil, invalidConstruction("the credential is nil")
	}
	return fromURL(containerURL, clientWithToken, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClient(withoutSAS(u), redact.Credential{TokenCredential: credential}, options)
	})
}

// NewBlobCheckpointStoreWithSharedKeyCredential makes a store from the URL of a
// container, "https://<account>.blob.core.windows.net/<container>", and the
// account's name and key. A SAS in the URL is not used. It sends nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the URL's query.
func NewBlobCheckpointStoreWithSharedKeyCredential(containerURL string, credential *container.SharedKeyCredential, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	if credential == nil {
		return nil, invalidConstruction("the credential is nil")
	}
	return fromURL(containerURL, clientBuilt, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientWithSharedKeyCredential(withoutSAS(u), credential, options)
	})
}

// NewBlobCheckpointStoreWithNoCredential makes a store from the URL of a
// container with a SAS in it, or of one that allows anonymous access. The SAS
// needs the permissions read, write and list. It sends nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the URL's query.
func NewBlobCheckpointStoreWithNoCredential(containerURL string, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	return fromURL(containerURL, clientBuilt, options, func(u *url.URL, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientWithNoCredential(u.String(), options)
	})
}

// fromURL makes a store of a container's URL.
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

// withoutSAS is a URL without its query: an explicit credential wins over a SAS.
func withoutSAS(u *url.URL) string {
	plain := *u
	plain.RawQuery, plain.ForceQuery = "", false
	return plain.String()
}

// build makes the client and the store over it.
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

// Close releases the idle connections of a transport that the store made. It
// neither waits for calls nor ends them, and the store stays usable.
func (s *BlobCheckpointStore) Close() error {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return nil
}

// EnsureContainerOptions has no fields yet.
type EnsureContainerOptions struct{}

// EnsureContainer creates the container, without anonymous access. It is not an
// error if the container exists, so that all consumers of a fleet can call it when
// they start. No other method creates it.
//
// Errors: [ErrNotAuthorized] if the credential may not create containers, even
// if the container exists. It sends one request, Create Container.
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

// deadline bounds a call by the store's Timeout.
func (s *BlobCheckpointStore) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.settings.Timeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.settings.Timeout, timeoutEnded{})
}
