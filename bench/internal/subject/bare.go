package subject

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/bench/internal/backend"
	"github.com/ea947076/checkpointstore/bench/internal/parallel"
)

// bare sends the requests by azblob alone, as many at once as the store does. It
// is the floor: it checks nothing, remembers nothing but ETags, has no deadline
// unless it is bounded, and keeps the client of a blob that it uses again.
type bare struct {
	client    *container.Client
	transport *http.Transport // nil if it is not its own
	atOnce    int
	timeout   time.Duration // of a call; 0: none
	owners    sync.Map      // the checkpoint prefixes of scopes that it claims in: their checkpoints name the owner
}

func openBare(c backend.Container, handed, bounded bool) (Store, error) {
	s := &bare{atOnce: checkpointstore.DefaultMaxConcurrency}
	if bounded {
		s.timeout = checkpointstore.DefaultTimeout
		c.Options.Retry.TryTimeout = s.timeout * 7 / 30
	}
	switch {
	case handed:
		s.atOnce = checkpointstore.DefaultMaxConcurrencyOfClient
	case c.Options.Transport == nil:
		s.transport = http.DefaultTransport.(*http.Transport).Clone()
		s.transport.MaxIdleConnsPerHost = s.atOnce
		c.Options.Transport = &http.Client{Transport: s.transport}
	}
	var err error
	s.client, err = newClient(c)
	return s, err
}

// deadline bounds a call if it is to be bounded.
func (s *bare) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

func (s *bare) Close() {
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
}

func prefix(scope Scope, kind string) string {
	return scope.Namespace + "/" + scope.EventHub + "/" + scope.ConsumerGroup + "/" + kind + "/"
}

func (s *bare) Claims(scope Scope, n int) Claims {
	s.owners.Store(prefix(scope, "checkpoint"), true)
	c := &bareClaims{bare: s, prefix: prefix(scope, "ownership"), owned: make([]bareClaim, n)}
	return c
}

type bareClaims struct {
	bare   *bare
	prefix string
	owned  []bareClaim
}

// bareClaim is one partition.
type bareClaim struct {
	blob *blockblob.Client
	etag *azcore.ETag
	err  error
}

func (c *bareClaims) Claim(ctx context.Context) (int, error) {
	ctx, cancel := c.bare.deadline(ctx)
	defer cancel()
	parallel.Do(len(c.owned), c.bare.atOnce, func(i int) {
		one := &c.owned[i]
		if one.blob != nil {
			one.etag, one.err = replace(ctx, one.blob, ownerMetadata(), one.etag)
			return
		}
		one.blob = c.bare.client.NewBlockBlobClient(c.prefix + strconv.Itoa(i))
		one.etag, one.err = create(ctx, one.blob, ownerMetadata())
	})
	for _, one := range c.owned {
		if one.err != nil {
			return 0, one.err
		}
	}
	return len(c.owned), nil
}

func ownerMetadata() map[string]*string {
	id := owner
	return map[string]*string{"ownerid": &id}
}

func create(ctx context.Context, b *blockblob.Client, m map[string]*string) (*azcore.ETag, error) {
	none := azcore.ETagAny
	resp, err := b.Upload(ctx, streaming.NopCloser(bytes.NewReader(nil)), &blockblob.UploadOptions{
		Metadata:         m,
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &none}},
	})
	return resp.ETag, err
}

func replace(ctx context.Context, b *blockblob.Client, m map[string]*string, etag *azcore.ETag) (*azcore.ETag, error) {
	resp, err := b.SetMetadata(ctx, m, &blob.SetMetadataOptions{
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: etag}},
	})
	return resp.ETag, err
}

func (s *bare) Checkpoint(scope Scope, partitionID string) Checkpoint {
	return &bareCheckpoint{bare: s, scope: prefix(scope, "checkpoint"), name: prefix(scope, "checkpoint") + partitionID}
}

type bareCheckpoint struct {
	bare  *bare
	scope string // the prefix
	name  string
	owned bool // it names the owner, as ours does
	blob  *blockblob.Client
	etag  *azcore.ETag
}

// Update creates the blob at first, and replaces its metadata from then on.
func (c *bareCheckpoint) Update(ctx context.Context, sequenceNumber int64) (err error) {
	ctx, cancel := c.bare.deadline(ctx)
	defer cancel()
	if c.blob == nil {
		_, c.owned = c.bare.owners.Load(c.scope)
	}
	number, offset := strconv.FormatInt(sequenceNumber, 10), offset
	m := map[string]*string{"sequencenumber": &number, "offset": &offset}
	if c.owned {
		id := owner
		m["clientidentifier"] = &id
	}
	if c.blob != nil {
		c.etag, err = replace(ctx, c.blob, m, c.etag)
		return err
	}
	c.blob = c.bare.client.NewBlockBlobClient(c.name)
	c.etag, err = create(ctx, c.blob, m)
	return err
}

func (c *bareCheckpoint) Get(ctx context.Context) error {
	ctx, cancel := c.bare.deadline(ctx)
	defer cancel()
	if c.blob == nil {
		c.blob = c.bare.client.NewBlockBlobClient(c.name)
	}
	resp, err := c.blob.GetProperties(ctx, nil)
	if err == nil && len(resp.Metadata) == 0 {
		return errors.New("the blob has no metadata")
	}
	return err
}

func (s *bare) ListOwnership(ctx context.Context, scope Scope) (int, error) {
	return s.list(ctx, prefix(scope, "ownership"))
}

func (s *bare) ListCheckpoints(ctx context.Context, scope Scope) (int, error) {
	return s.list(ctx, prefix(scope, "checkpoint"))
}

func (s *bare) list(ctx context.Context, prefix string) (int, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	pager := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	})
	n := 0
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return 0, err
		}
		n += len(page.Segment.BlobItems)
	}
	return n, nil
}
