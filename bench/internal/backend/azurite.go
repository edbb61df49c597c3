package backend

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/bench/internal/parallel"
	"github.com/ea947076/checkpointstore/internal/azurite"
)

// realService is an Azurite. Every store signs with the account's key there.
type realService struct {
	server   *azurite.Server
	key      *container.SharedKeyCredential
	requests atomic.Int64
}

// newAzurite is the back end [Azurite], started if none runs.
func newAzurite(ctx context.Context) (Backend, error) {
	server, err := azurite.Start(ctx)
	if err != nil {
		return nil, err
	}
	key, err := container.NewSharedKeyCredential(azurite.AccountName, azurite.AccountKey)
	if err != nil {
		server.Close()
		return nil, err
	}
	return &realService{server: server, key: key}, nil
}

// Do counts a request on its way. It is a policy of every client.
func (b *realService) Do(req *policy.Request) (*http.Response, error) {
	b.requests.Add(1)
	return req.Next()
}

func (b *realService) Container(ctx context.Context) (Container, error) {
	c := Container{URL: b.server.Endpoint() + "/bench-" + strings.ToLower(rand.Text()), Key: b.key}
	c.Options.PerRetryPolicies = []policy.Policy{b}
	client, err := b.client(c)
	if err != nil {
		return Container{}, err
	}
	_, err = client.Create(ctx, nil)
	return c, err
}

func (b *realService) client(c Container) (*container.Client, error) {
	return container.NewClientWithSharedKeyCredential(c.URL, c.Key, nil)
}

func (b *realService) Fill(ctx context.Context, c Container, prefix string, blobs int, metadata map[string]string) error {
	client, err := b.client(c)
	if err != nil {
		return err
	}
	m := make(map[string]*string, len(metadata))
	for name, value := range metadata {
		m[name] = &value
	}
	errs := make([]error, blobs)
	parallel.Do(blobs, 10, func(i int) {
		_, errs[i] = client.NewBlockBlobClient(prefix+strconv.Itoa(i)).Upload(ctx,
			streaming.NopCloser(bytes.NewReader(nil)), &blockblob.UploadOptions{Metadata: m})
	})
	return errors.Join(errs...)
}

func (b *realService) Drop(ctx context.Context, c Container) error {
	client, err := b.client(c)
	if err != nil {
		return err
	}
	_, err = client.Delete(ctx, nil)
	return err
}

func (b *realService) SetLatency(latency time.Duration) error {
	if latency != 0 {
		return errors.New("the service takes the time that it takes")
	}
	return nil
}

func (b *realService) Gather(int) error {
	return errors.New("the service answers each request by itself")
}

func (b *realService) Traffic() Traffic { return Traffic{Requests: b.requests.Load()} }

func (b *realService) Close() { b.server.Close() }
