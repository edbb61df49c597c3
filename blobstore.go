package checkpointstore

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/redact"
)

// BlobCheckpointStore is a [CheckpointStore] in an Azure Blob Storage container.
// It is safe for concurrent use, and meant to be shared by everything in a
// process that reads the same event hubs: for each partition it remembers what
// it won and wrote last, which is what fences checkpoints.
type BlobCheckpointStore struct {
	client    *container.Client
	settings  settings
	location  location
	transport *http.Transport // the one that the store made, or nil

	// decodesLists tells that the client has the policy [decodeLists].
	decodesLists bool

	partitions partitions
	spellings  spellingWatch
	now        func() time.Time
}

var _ CheckpointStore = (*BlobCheckpointStore)(nil)

// NewBlobCheckpointStore makes a store of a container client, with whatever
// credential, retries and transport that has. It sends nothing.
//
// A client of the Azure SDK has no timeout for a single try; without
// RetryOptions.TryTimeout on the client, one hung request takes the whole
// [BlobCheckpointStoreOptions].Timeout. It also decodes lists itself, at about
// ten times the cost (docs/performance.md), and reads answers of any length; a
// store that builds its client takes 64 MiB of each.
//
// Errors: [ErrInvalidArgument] for a nil client and for ClientOptions,
// APIVersion or SecondaryHost, which belong on the client.
func NewBlobCheckpointStore(client *container.Client, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	s, err := options.apply(false)
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
// default port. It sends nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the connection string.
func NewBlobCheckpointStoreFromConnectionString(connectionString, containerName string, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	s, err := options.apply(true)
	if err != nil {
		return nil, err
	}
	if err := checkContainerName(containerName); err != nil {
		return nil, err
	}
	if strings.EqualFold(strings.Trim(connectionString, "; "), "UseDevelopmentStorage=true") {
		connectionString = developmentStorage
	}
	return s.build(func(options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientFromConnectionString(connectionString, containerName, options)
	})
}

// developmentStorage is the connection string that Azurite documents; the key is
// the same everywhere and protects nothing.
const developmentStorage = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
	"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
	"BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"

// NewBlobCheckpointStoreWithTokenCredential makes a store from the URL of a
// container, "https://<account>.blob.core.windows.net/<container>", and a
// credential of the azidentity module. A SAS in the URL is not used. It sends
// nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the URL's query.
func NewBlobCheckpointStoreWithTokenCredential(containerURL string, credential azcore.TokenCredential, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	if credential == nil {
		return nil, invalidConstruction("the credential is nil")
	}
	return fromURL(containerURL, false, options, func(url string, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClient(url, redact.Credential{TokenCredential: credential}, options)
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
	return fromURL(containerURL, false, options, func(url string, options *container.ClientOptions) (*container.Client, error) {
		return container.NewClientWithSharedKeyCredential(url, credential, options)
	})
}

// NewBlobCheckpointStoreWithNoCredential makes a store from the URL of a
// container with a SAS in it, or of one that allows anonymous access. The SAS
// needs the permissions read, write and list. It sends nothing.
//
// Errors: [ErrInvalidArgument], whose text never repeats the URL's query.
func NewBlobCheckpointStoreWithNoCredential(containerURL string, options *BlobCheckpointStoreOptions) (*BlobCheckpointStore, error) {
	return fromURL(containerURL, true, options, container.NewClientWithNoCredential)
}

// fromURL makes a store of a container's URL. keepQuery keeps the SAS in it; an
// explicit credential wins over one.
func fromURL(containerURL string, keepQuery bool, options *BlobCheckpointStoreOptions, newClient func(string, *container.ClientOptions) (*container.Client, error)) (*BlobCheckpointStore, error) {
	s, err := options.apply(true)
	if err != nil {
		return nil, err
	}
	u, err := parseURL(containerURL)
	if err != nil {
		return nil, err
	}
	if !keepQuery {
		u.RawQuery = ""
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return s.build(func(options *container.ClientOptions) (*container.Client, error) {
		return newClient(u.String(), options)
	})
}

// build makes the client and the store over it.
func (s settings) build(newClient func(*container.ClientOptions) (*container.Client, error)) (*BlobCheckpointStore, error) {
	options, transport := s.clientOptions()
	client, err := newClient(&container.ClientOptions{ClientOptions: options})
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

// EnsureContainer creates the container, without anonymous access. A container
// that exists already is not an error, so that all consumers of a fleet may call
// it when they start. No other method creates it.
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

// scope spells the caller's names as the store writes them.
func (s *BlobCheckpointStore) scope(verbatim layout.Scope) layout.Scope {
	if s.settings.BlobNaming == BlobNamingVerbatim {
		return verbatim
	}
	return verbatim.Lower()
}

// otherScope is the spelling that official Go, Java and Rust stores would have
// written, if it differs from the store's own and is to be read.
func (s *BlobCheckpointStore) otherScope(verbatim layout.Scope) (layout.Scope, bool) {
	return verbatim, !s.settings.IgnoreVerbatimNames && verbatim != s.scope(verbatim)
}

// parseURL checks the URL of a container. Its error never repeats the query.
func parseURL(containerURL string) (*url.URL, error) {
	u, err := url.Parse(containerURL)
	switch {
	case err != nil:
		return nil, invalidConstruction("the container URL cannot be parsed; it looks like https://<account>.blob.core.windows.net/<container>")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, invalidConstruction("the container URL does not begin with https:// or http://")
	case u.Host == "":
		return nil, invalidConstruction("the container URL has no host")
	case u.Fragment != "", strings.ContainsAny(u.Host, "&=;"), strings.ContainsAny(u.Path, "?&=;%@"):
		return nil, invalidConstruction("the container URL has characters that no account and no container has: a SAS begins with a question mark")
	case strings.Trim(u.Path, "/") == "":
		return nil, invalidConstruction(fmt.Sprintf("the container URL has no container: https://%s/<container>", u.Host))
	case u.User != nil:
		return nil, invalidConstruction("the container URL has a user name in it")
	}
	return u, nil
}

// containerName is the service's rule ("Naming and Referencing Containers,
// Blobs, and Metadata"), with the three special names.
var containerName = regexp.MustCompile(`^([a-z0-9](-?[a-z0-9]){2,62}|\$root|\$web|\$logs)$`)

func checkContainerName(name string) error {
	const rule = "it takes 3 to 63 lower-case letters, digits and single hyphens"
	switch {
	case len(name) > 63 || strings.ContainsAny(name, "=;&?"): // a connection string, a SAS, a key
		return invalidConstruction("container name: " + rule)
	case !containerName.MatchString(name):
		return invalidConstruction("container name " + layout.Quote(name) + ": " + rule)
	}
	return nil
}

func invalidConstruction(detail string) error {
	return &Error{Op: "new store", Kind: ErrInvalidArgument, Detail: detail}
}
