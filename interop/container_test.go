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

// testContainer is a new blob container, with the log of our stores over it.
type testContainer struct {
	name   string
	client *container.Client
	log    *bytes.Buffer
}

func newContainer(t *testing.T) testContainer {
	t.Helper()
	name := azurite.NewContainerName(t)
	client, err := container.NewClientFromConnectionString(azurite.Shared(t).ConnectionString(), name, nil)
	require.NoError(t, err)
	_, err = client.Create(t.Context(), nil)
	require.NoError(t, err)
	return testContainer{name, client, new(bytes.Buffer)}
}

// warnings returns how many warnings are in the log.
func (tc testContainer) warnings() int { return strings.Count(tc.log.String(), "level=WARN") }

func (tc testContainer) properties(t *testing.T, name string) blob.GetPropertiesResponse {
	t.Helper()
	properties, err := tc.client.NewBlobClient(name).GetProperties(t.Context(), nil)
	require.NoError(t, err, name)
	return properties
}

// modified returns when a blob was last written, by the clock of the service.
func (tc testContainer) modified(t *testing.T, name string) time.Time {
	t.Helper()
	return *tc.properties(t, name).LastModified
}

// metadata returns the metadata of a blob as text, with keys in lower case.
func (tc testContainer) metadata(t *testing.T, name string) string {
	t.Helper()
	return metadataText(tc.properties(t, name).Metadata, strings.ToLower)
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

// metadata returns blob metadata of keys and values.
func metadata(pairs ...string) map[string]*string {
	m := make(map[string]*string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = to.Ptr(pairs[i+1])
	}
	return m
}

// put writes a blob with metadata.
func (tc testContainer) put(t *testing.T, name string, metadata map[string]*string) {
	t.Helper()
	_, err := tc.client.NewBlockBlobClient(name).UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{Metadata: metadata})
	require.NoError(t, err)
}
