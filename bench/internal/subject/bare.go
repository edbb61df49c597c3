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

// bare sends the requests by azblob alone, as many at once as the store does. It is the floor: it checks nothing,
// remembers nothing but ETags, has no deadline unless it is bounded, and keeps the client of a blob that it uses again.
type bare struct {
	client  *container.Client
	atOnce  int
	timeout time.Duration // of a call; 0: none
	claimed sync.Map      // the scopes that it claims in: their checkpoints name the owner, as ours do
}

func openBare(c backend.Container, handed, bounded bool) (Store, error) {
	s := &bare{atOnce: checkpointstore.DefaultMaxConcurrency}
	closeStore := func() {}
	if bounded {
		s.timeout = checkpointstore.DefaultTimeout
		c.Options.Retry.TryTimeout = s.timeout * 7 / 30
	}
	switch {
	case handed:
		s.atOnce = checkpointstore.DefaultMaxConcurrencyOfClient
	case c.Options.Transport == nil:
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = s.atOnce
		c.Options.Transport = &http.Client{Transport: transport}
		closeStore = transport.CloseIdleConnections
	}
	var err error
	s.client, err = newClient(c)
	return Store{
		Claims:          s.claims,
		Checkpoint:      s.checkpoint,
		ListOwnership:   func(ctx context.Context, scope Scope) (int, error) { return s.list(ctx, scope.Prefix("ownership")) },
		ListCheckpoints: func(ctx context.Context, scope Scope) (int, error) { return s.list(ctx, scope.Prefix("checkpoint")) },
		Close:           closeStore,
	}, err
}

// deadline bounds a call if it is to be bounded.
func (s *bare) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// bareClaim is one partition.
type bareClaim struct {
	blob *blockblob.Client
	etag *azcore.ETag
	err  error
}

func (s *bare) claims(scope Scope, n int) Claim {
	s.claimed.Store(scope, true)
	prefix, owned := scope.Prefix("ownership"), make([]bareClaim, n)
	return func(ctx context.Context) (int, error) {
		ctx, cancel := s.deadline(ctx)
		defer cancel()
		parallel.Do(n, s.atOnce, func(i int) {
			one := &owned[i]
			if one.blob != nil {
				one.etag, one.err = replace(ctx, one.blob, ownerMetadata(), one.etag)
				return
			}
			one.blob = s.client.NewBlockBlobClient(prefix + strconv.Itoa(i))
			one.etag, one.err = create(ctx, one.blob, ownerMetadata())
		})
		for _, one := range owned {
			if one.err != nil {
				return 0, one.err
			}
		}
		return n, nil
	}
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

// checkpoint creates the blob at first, and replaces its metadata from then on.
func (s *bare) checkpoint(scope Scope, partitionID string) Checkpoint {
	name := scope.Prefix("checkpoint") + partitionID
	var owned bool
	var b *blockblob.Client
	var etag *azcore.ETag
	update := func(ctx context.Context, sequenceNumber int64) (err error) {
		ctx, cancel := s.deadline(ctx)
		defer cancel()
		if b == nil {
			_, owned = s.claimed.Load(scope)
		}
		number, offset := strconv.FormatInt(sequenceNumber, 10), offset
		m := map[string]*string{"sequencenumber": &number, "offset": &offset}
		if owned {
			id := owner
			m["clientidentifier"] = &id
		}
		if b != nil {
			etag, err = replace(ctx, b, m, etag)
			return err
		}
		b = s.client.NewBlockBlobClient(name)
		etag, err = create(ctx, b, m)
		return err
	}
	get := func(ctx context.Context) error {
		ctx, cancel := s.deadline(ctx)
		defer cancel()
		resp, err := b.GetProperties(ctx, nil)
		if err == nil && len(resp.Metadata) == 0 {
			return errors.New("the blob has no metadata")
		}
		return err
	}
	return Checkpoint{Update: update, Get: get}
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
