package checkpointstore

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/layout"
	"github.com/ea947076/checkpointstore/internal/redact"
)

// TestScopesThatWereWarnedOfAreBounded: a store that is asked for ever new scopes
// does not remember them all.
func TestScopesThatWereWarnedOfAreBounded(t *testing.T) {
	var set scopeSet
	added := 0
	for i := range 10 * maxWarnedScopes {
		if set.add(layout.Scope{Namespace: fmt.Sprint(i)}) {
			added++
		}
	}
	require.Equal(t, maxWarnedScopes, added)
	require.Len(t, set.seen, maxWarnedScopes)
	require.False(t, set.add(layout.Scope{Namespace: "0"}), "known")
}

// The defaults of a client that the store builds, as the options document them.
func TestDefaultsOfTheClient(t *testing.T) {
	retry := func(o BlobCheckpointStoreOptions) (maxRetries int32, delay, maxDelay, try time.Duration) {
		s, err := o.apply(clientBuilt)
		require.NoError(t, err)
		options, _ := s.clientOptions()
		r := options.Retry
		return r.MaxRetries, r.RetryDelay, r.MaxRetryDelay, r.TryTimeout
	}
	custom := BlobCheckpointStoreOptions{}
	custom.ClientOptions.Retry.MaxRetries = -1
	custom.ClientOptions.Retry.RetryDelay = time.Minute
	custom.ClientOptions.Retry.MaxRetryDelay = time.Hour
	custom.ClientOptions.Retry.TryTimeout = 2 * time.Hour
	for name, c := range map[string]struct {
		options              BlobCheckpointStoreOptions
		maxRetries           int32
		delay, maxDelay, try time.Duration
	}{
		"by default":    {BlobCheckpointStoreOptions{}, 3, 200 * time.Millisecond, 15 * time.Second, 7 * time.Second},
		"with Timeout":  {BlobCheckpointStoreOptions{Timeout: time.Minute}, 3, 200 * time.Millisecond, 30 * time.Second, 14 * time.Second},
		"without one":   {BlobCheckpointStoreOptions{Timeout: -1}, 3, 200 * time.Millisecond, 15 * time.Second, 7 * time.Second},
		"as the caller": {custom, -1, time.Minute, time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			maxRetries, delay, maxDelay, try := retry(c.options)
			require.Equal(t, c.maxRetries, maxRetries)
			require.Equal(t, c.delay, delay)
			require.Equal(t, c.maxDelay, maxDelay)
			require.Equal(t, c.try, try)
		})
	}

	s, err := (*BlobCheckpointStoreOptions)(nil).apply(clientBuilt)
	require.NoError(t, err)
	options, transport := s.clientOptions()
	require.Equal(t, maxIdleConnections, transport.MaxIdleConnsPerHost)
	require.Same(t, transport, options.Transport.(redact.Transport).Transporter.(boundedTransport).Transporter.(*http.Client).Transport)
	s.ClientOptions.Transport = http.DefaultClient
	_, transport = s.clientOptions()
	require.Nil(t, transport, "the caller's transport is not the store's to close")
}
