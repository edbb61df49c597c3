package interop_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/azurite"
)

// box is a container of its own, and what our stores over it log.
type box struct {
	name   string
	client *container.Client
	log    *bytes.Buffer
}

func newBox(t *testing.T) box {
	t.Helper()
	name := azurite.NewContainerName(t)
	client, err := container.NewClientFromConnectionString(azurite.Shared(t).ConnectionString(), name, nil)
	require.NoError(t, err)
	_, err = client.Create(t.Context(), nil)
	require.NoError(t, err)
	return box{name, client, new(bytes.Buffer)}
}

// warnings is how many there are in the log.
func (b box) warnings() int { return strings.Count(b.log.String(), "level=WARN") }

func (b box) properties(t *testing.T, name string) blob.GetPropertiesResponse {
	t.Helper()
	properties, err := b.client.NewBlobClient(name).GetProperties(t.Context(), nil)
	require.NoError(t, err, name)
	return properties
}

// modified is when the service says that a blob was written.
func (b box) modified(t *testing.T, name string) time.Time {
	t.Helper()
	return *b.properties(t, name).LastModified
}

// metadata is that of a blob, as text with its keys in lower case.
func (b box) metadata(t *testing.T, name string) string {
	t.Helper()
	return metadataText(b.properties(t, name).Metadata, strings.ToLower)
}

func metadataText(metadata map[string]*string, key func(string) string) string {
	if len(metadata) == 0 {
		return "none"
	}
	var pairs []string
	for k, v := range metadata {
		pairs = append(pairs, key(k)+"="+*v)
	}
	slices.Sort(pairs)
	return "`" + strings.Join(pairs, ", ") + "`"
}

// metadata makes blob metadata of keys and values.
func metadata(pairs ...string) map[string]*string {
	m := make(map[string]*string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = to.Ptr(pairs[i+1])
	}
	return m
}

// put writes a blob as somebody else would.
func (b box) put(t *testing.T, name string, metadata map[string]*string) {
	t.Helper()
	_, err := b.client.NewBlockBlobClient(name).UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{Metadata: metadata})
	require.NoError(t, err)
}
