package faults_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/faults"
)

func TestMatchers(t *testing.T) {
	type wants [3]bool // put, set, list
	urls := map[string][3]string{
		"Azure":   {"https://h/c/ns/0", "https://h/c/ns/0?comp=metadata&sig=s", "https://h/c?restype=container&comp=list&prefix=ns/"},
		"Azurite": {"https://h/account/c/ns/0", "https://h/account/c/ns/0?comp=metadata", "https://h/account/c?restype=container&comp=list&prefix=ns/"},
	}
	for name, c := range map[string]struct {
		match func() faults.Matcher
		want  wants
	}{
		"OpIs one":  {func() faults.Matcher { return faults.OpIs(faults.SetMetadata) }, wants{false, true, false}},
		"OpIs two":  {func() faults.Matcher { return faults.OpIs(faults.PutBlob, faults.ListBlobs) }, wants{true, false, true}},
		"NameHas":   {func() faults.Matcher { return faults.NameHas("ns/") }, wants{true, true, true}},
		"NameHas 0": {func() faults.Matcher { return faults.NameHas("ns/0") }, wants{true, true, false}},
		"Host":      {func() faults.Matcher { return faults.Host("h") }, wants{true, true, true}},
		"Host 1":    {func() faults.Matcher { return faults.Host("other") }, wants{false, false, false}},
		"Nth":       {func() faults.Matcher { return faults.Nth(2, faults.NameHas("ns/0")) }, wants{false, true, false}},
		"Nth any":   {func() faults.Matcher { return faults.Nth(3, nil) }, wants{false, false, true}},
		"All": {func() faults.Matcher {
			return faults.All(faults.NameHas("ns/0"), faults.OpIs(faults.PutBlob, faults.ListBlobs))
		}, wants{true, false, false}},
	} {
		for service, url := range urls {
			t.Run(name+" "+service, func(t *testing.T) {
				m := c.match()
				var got wants
				for i, method := range []string{http.MethodPut, http.MethodPut, http.MethodGet} {
					got[i] = m(request(t, method, url[i]))
				}
				require.Equal(t, c.want, got)
			})
		}
	}
	for name, want := range map[string]bool{"ns/0": true, "ns": false, "": false} {
		require.Equal(t, want, faults.BlobIs(name)(request(t, http.MethodPut, urls["Azure"][0])), name)
		require.False(t, faults.BlobIs(name)(request(t, http.MethodGet, urls["Azure"][2])), name)
	}
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	return req
}
