package securitytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
)

// hostileNames are names that could lead out of a scope, or be taken for others.
var hostileNames = []string{
	// ways out, plain, encoded once and twice, and in other scripts
	"/", "a/b", "/a", "a/", `\`, `a\b`, ".", "..", "...", "../x", `..\x`, "a.", "a..", "..a", ".a", "a..b", "%2f", "%2F", "a%2fb", "..%2f", "%2e", "%2e%2e", "%2E%2E",
	"%252e%252e", "%5c", "%00", "a%00b", "／", "．．", "∕", "․․",
	// what ends or splits a URL, a header, a line, a template, a document
	"?", "a?b", "#", "a#b", "a?comp=list", "a&b=c", ";", "a;b", "a=b", "+", "a+b", "@", ":", "http://x", "\x00", "a\x00", "a\nb", "a\r\nX: y", "\t", "\x1b[31m", "\x7f", "\u0085",
	"\u2028", "{0}", "%s", "'", `"`, "<Blob>", "]]>", "&amp;", "$", "*", "~", "-", "$Default", "$default", "$DEFAULT",
	// spaces
	"", " ", " a", "a ", "a b", "a  b", "\u00a0a", "a\u3000", "a\u200b", "\ufeffa",
	// letters that fold into others: Kelvin, dotted and dotless I, long s, sigmas, sharp s, ligature
	"k", "K", "\u212a", "i", "I", "\u0130", "\u0131", "i\u0307", "s", "S", "\u017f", "σ", "Σ", "ς", "ß", "ẞ", "ss", "SS", "ﬁ", "fi", "Å", "\u212b", "ǆ", "ǅ", "Ǆ",
	// composed and decomposed, and what does not show
	"é", "e\u0301", "É", "E\u0301", "\u202ea", "a\u202e", "👩‍👩‍👧", "👩👩👧", "\ufffd", "\ufffe", "a\uffff", "\ue000", "\xff", "a\xff", "\xed\xa0\x80", "\xc0\xaf",
	// words of the format, and what is too long
	"ownership", "Ownership", "checkpoint", "0", "00", "a", "A", strings.Repeat("a", 200), strings.Repeat("é", 200), strings.Repeat("k", 1024), strings.Repeat("\u212a", 340),
}

// A key is what makes a record: ASCII case does not count in a scope.
type key struct{ namespace, hub, group, partition string }

func keyOf(o checkpointstore.Ownership) key {
	return key{asciiLower(o.FullyQualifiedNamespace), asciiLower(o.EventHubName), asciiLower(o.ConsumerGroup), o.PartitionID}
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// hostileClaims have each of the names in each place, and at random.
func hostileClaims(random int) []checkpointstore.Ownership {
	var all []checkpointstore.Ownership
	add := func(ns, hub, group, id string) {
		all = append(all, checkpointstore.Ownership{
			FullyQualifiedNamespace: ns, EventHubName: hub, ConsumerGroup: group, PartitionID: id, OwnerID: fmt.Sprint("owner", len(all)),
		})
	}
	for _, name := range hostileNames {
		add(name, "h", "g", "p")
		add("n", name, "g", "p")
		add("n", "h", name, "p")
		add("n", "h", "g", name)
	}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func() string {
		if r.IntN(3) > 0 {
			return hostileNames[r.IntN(len(hostileNames))]
		}
		return hostileNames[r.IntN(len(hostileNames))] + hostileNames[r.IntN(len(hostileNames))]
	}
	for range random {
		add(pick(), pick(), pick(), pick())
	}
	return all
}

// TestScopesNeverShareABlob claims under hostile names, all in one container: a
// claim is lost if, and only if, the same record was claimed before, and each
// scope lists what was claimed in it.
func TestScopesNeverShareABlob(t *testing.T) {
	service := fake.New()
	store := blobtest.NewStore(t, service, nil)
	ctx := context.Background()
	owner := make(map[key]checkpointstore.Ownership)
	refused := 0
	for _, o := range hostileClaims(1000) {
		k := keyOf(o)
		won, err := store.ClaimOwnership(ctx, []checkpointstore.Ownership{o}, nil)
		if err != nil {
			require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument, "%q", k)
			require.ErrorIs(t, store.UpdateCheckpoint(ctx, checkpointOf(o, 1), nil), checkpointstore.ErrInvalidArgument, "%q", k)
			refused++
			continue
		}
		first, taken := owner[k]
		require.Equal(t, taken, len(won) == 0, "%q against %q", o, first)
		if !taken {
			owner[k] = won[0]
			require.NoError(t, store.UpdateCheckpoint(ctx, checkpointOf(o, int64(len(owner))), nil))
		}
	}
	require.Greater(t, refused, 300)
	require.Greater(t, len(owner), 300)
	require.Len(t, service.Names(), 2*len(owner), "one blob for each record")

	for _, o := range owner {
		got, err := store.ListOwnership(ctx, o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, nil)
		require.NoError(t, err)
		positions, err := store.ListCheckpoints(ctx, o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, nil)
		require.NoError(t, err)
		require.Len(t, positions, len(got))
		for _, listed := range got {
			require.Equal(t, owner[keyOf(listed)].OwnerID, listed.OwnerID)
		}
	}
	requireInside(t, service.Transcript(), owner)
}

func checkpointOf(o checkpointstore.Ownership, n int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: o.FullyQualifiedNamespace, EventHubName: o.EventHubName, ConsumerGroup: o.ConsumerGroup,
		PartitionID: o.PartitionID, SequenceNumber: &n,
	}
}

// requireInside checks that all requests went to the container, for blobs of the
// records and with the prefixes of their scopes.
func requireInside(t *testing.T, transcript string, owner map[key]checkpointstore.Ownership) {
	t.Helper()
	allowed := make(map[string]bool)
	for k, o := range owner {
		for _, kind := range []string{"/ownership/", "/checkpoint/"} {
			typed := o.FullyQualifiedNamespace + "/" + o.EventHubName + "/" + o.ConsumerGroup + kind
			lower := k.namespace + "/" + k.hub + "/" + k.group + kind
			allowed["/c/"+lower+k.partition], allowed["/c/"+typed+k.partition], allowed[lower], allowed[typed] = true, true, true, true
		}
	}
	for line := range strings.Lines(transcript) {
		method, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		if method == "GET" {
			_, rest, _ = strings.Cut(rest, "prefix=")
		}
		require.True(t, insideOne(rest, allowed), line)
	}
}

// insideOne reports whether a line goes on with one of the names.
func insideOne(rest string, allowed map[string]bool) bool {
	if strings.HasPrefix(rest, `"`) {
		for i := 1; i < len(rest); i++ {
			if rest[i] != '"' {
				continue
			}
			var name string
			if _, err := fmt.Sscanf(rest[:i+1], "%q", &name); err == nil && allowed[name] {
				return true
			}
		}
	}
	for i := range len(rest) {
		if (rest[i] == ' ' || rest[i] == '&') && allowed[rest[:i]] {
			return true
		}
	}
	return false
}

// TestPathsOverTheWire sends hostile names over a socket, through the path
// cleaning of net/http: nothing in a path can be cleaned away, and the blob is
// the one that was asked for.
func TestPathsOverTheWire(t *testing.T) {
	service := fake.New()
	service.SetRecording(false)
	var mu sync.Mutex
	var odd []string
	mux := http.NewServeMux()
	mux.HandleFunc("/c/", func(w http.ResponseWriter, req *http.Request) {
		once, err := url.PathUnescape(strings.SplitN(req.RequestURI, "?", 2)[0])
		if err != nil || path.Clean(once) != once || once != req.URL.Path || strings.Count(once, "/") != 6 {
			mu.Lock()
			odd = append(odd, req.RequestURI)
			mu.Unlock()
		}
		service.ServeHTTP(w, req)
	})
	mux.HandleFunc("/c", func(w http.ResponseWriter, req *http.Request) { service.ServeHTTP(w, req) })
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		odd = append(odd, "outside: "+req.RequestURI)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(server.URL+"/c", nil)
	require.NoError(t, err)
	requireOwnBlobs(t, store, hostileClaims(100))
	require.Empty(t, odd)
	for _, name := range service.Names() {
		require.Equal(t, 4, strings.Count(name, "/"), name)
	}
}

// TestHostileNamesOnAzurite: a service that is not ours keeps them apart as well.
func TestHostileNamesOnAzurite(t *testing.T) {
	azurite.Shared(t)
	requireOwnBlobs(t, blobtest.NewAzuriteStore(t), hostileClaims(0))
}

// requireOwnBlobs makes the claims and reads each record back.
func requireOwnBlobs(t *testing.T, store *checkpointstore.BlobCheckpointStore, claims []checkpointstore.Ownership) {
	t.Helper()
	ctx := context.Background()
	owner := make(map[key]checkpointstore.Ownership)
	var valid []checkpointstore.Ownership
	for _, o := range claims {
		if _, taken := owner[keyOf(o)]; !taken && o.Validate() == nil {
			owner[keyOf(o)] = o
			valid = append(valid, o)
		}
	}
	won, err := store.ClaimOwnership(ctx, valid, nil)
	require.NoError(t, err)
	require.Len(t, won, len(valid), "no claim met the blob of another")
	for _, o := range won {
		got, err := store.GetOwnership(ctx, o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, o.PartitionID, nil)
		require.NoError(t, err)
		require.Equal(t, o, got)
		listed, err := store.ListOwnership(ctx, o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, nil)
		require.NoError(t, err)
		require.Contains(t, listed, o)
	}
}

// TestForeignBlobsAreNotTaken puts blobs of other writers around a scope. What a
// list shows is a direct child of the scope's own prefix, by the decoder of the
// store and by that of azblob.
func TestForeignBlobsAreNotTaken(t *testing.T) {
	const prefix = blobtest.Namespace + "/" + blobtest.Hub + "/" + blobtest.Group + "/"
	service := fake.New()
	service.Put(prefix+"ownership/0", map[string]string{"ownerid": "own"})
	service.Put(prefix+"checkpoint/0", map[string]string{"sequencenumber": "1", "offset": ""})
	for _, kind := range []string{"ownership/", "checkpoint/"} {
		for _, name := range hostileNames {
			foreign := map[string]string{"ownerid": "foreign", "sequencenumber": "9"}
			for _, blob := range []string{
				prefix + kind + "../" + name, prefix + kind + name + "/0", prefix + kind + "x/../" + name, prefix + name + "/" + kind + "0", name + "/" + prefix + kind + "0",
				prefix + name + kind + "0", "x" + prefix + kind + name, prefix + "other" + kind + name, strings.ReplaceAll(prefix+kind, "/", "%2F") + name,
				blobtest.Namespace + "/" + blobtest.Hub + "/../" + blobtest.Hub + "/" + blobtest.Group + "/" + kind + name, blobtest.Namespace + "/" + name + "/" + blobtest.Group + "/" + kind + "0",
			} {
				if _, id, own := strings.Cut(blob, prefix+kind); own && strings.HasPrefix(blob, prefix+kind) && id != "" && !strings.Contains(id, "/") {
					continue // it is a record of the scope
				}
				service.Put(blob, foreign)
			}
		}
	}
	handed, err := checkpointstore.NewBlobCheckpointStore(service.Client(), nil)
	require.NoError(t, err)
	for how, store := range map[string]*checkpointstore.BlobCheckpointStore{"own decoder": blobtest.NewStore(t, service, nil), "azblob's": handed} {
		t.Run(how, func(t *testing.T) {
			owned, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NoError(t, err)
			require.Len(t, owned, 1)
			require.Equal(t, "own", owned[0].OwnerID)
			read, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
			require.NoError(t, err)
			require.Len(t, read, 1)
			require.Equal(t, int64(1), *read[0].SequenceNumber)
		})
	}
}

// TestRefusalsOfNamesAreOneLine: a name that is refused is told so that it
// cannot forge a line.
func TestRefusalsOfNamesAreOneLine(t *testing.T) {
	for _, o := range hostileClaims(200) {
		err := o.Validate()
		if err == nil {
			continue
		}
		requireOneLine(t, err)
		var e *checkpointstore.Error
		require.True(t, errors.As(err, &e))
	}
}

// TestCredentialsAreNoNames gives each method a credential in place of a name.
// The store sends nothing, and neither an error nor the log repeats it.
func TestCredentialsAreNoNames(t *testing.T) {
	const key = secretOfClient
	for secret, looksLike := range map[string]string{
		"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=" + key: "this looks like a connection string",
		"SharedAccessKey=" + key:                "this looks like a connection string",
		"AccountName=a;AccountKey=" + key:       "this looks like a connection string",
		"sharedaccesskey=" + key + "/":          "this looks like a connection string",
		"?sig=" + key:                           "this looks like a shared access signature",
		"sv=2021-06-08&sp=r&sig=" + key:         "this looks like a shared access signature",
		"sig%3D" + key:                          "this looks like a shared access signature",
		"https://account.example/c?code=" + key: "this looks like a URL",
		"Bearer " + secretToken:                 "this looks like a credential",
		secretToken:                             "this looks like a credential",
		"password: " + key:                      "this looks like a credential",
	} {
		for what, calls := range map[string]map[string]blobtest.Call{
			"fully qualified namespace": blobtest.RecordCalls(secret, blobtest.Hub, blobtest.Group, "0", "a"),
			"event hub name":            blobtest.RecordCalls(blobtest.Namespace, secret, blobtest.Group, "0", "a"),
			"consumer group":            blobtest.RecordCalls(blobtest.Namespace, blobtest.Hub, secret, "0", "a"),
			"partition id":              blobtest.RecordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, secret, "a"),
			"owner id":                  blobtest.RecordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", secret),
		} {
			for method, call := range calls {
				if what == "partition id" && strings.HasPrefix(method, "List") || what == "owner id" && method != "ClaimOwnership" {
					continue // not told of it
				}
				t.Run(fmt.Sprintf("%s/%s/%s", method, what, looksLike), func(t *testing.T) {
					all := &sink{}
					service := fake.New()
					err := call(t.Context(), blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: all.logger()}))
					require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
					require.ErrorContains(t, err, looksLike)
					require.ErrorContains(t, err, "the "+what)
					require.Empty(t, service.Transcript())
					all.error(err)
					require.Empty(t, all.leaks(key, secretToken))
				})
			}
		}
	}
}

// TestCredentialsInRefusedNames: a name that is refused for another reason is
// quoted without the credential in it.
func TestCredentialsInRefusedNames(t *testing.T) {
	const name = "Bearer\t" + secretOfClient
	all := &sink{}
	for _, calls := range []map[string]blobtest.Call{
		blobtest.RecordCalls(name, blobtest.Hub, blobtest.Group, "0", "a"), blobtest.RecordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, name, "a"), blobtest.RecordCalls(blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", name),
	} {
		err := calls["ClaimOwnership"](t.Context(), blobtest.NewStore(t, fake.New(), nil))
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
		require.ErrorContains(t, err, "Bearer REDACTED")
		all.error(err)
	}
	require.Empty(t, all.leaks(secretOfClient))
}
