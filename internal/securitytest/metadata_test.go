package securitytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// hostileValues are what another writer can put into metadata.
var hostileValues = []string{
	"a\r\nX-Ms-Meta-Ownerid: me", "a\nlevel=ERROR msg=forged", "a\n{\"level\":\"ERROR\"}", "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x00", "a\x00b", "\b\b\b", "a\x7f", "\u202eevil",
	"\u2028forged", "\u0085forged", "a\tb", " a ", "a  b", `" msg=forged x="`, `\n`, "%0d%0aX: y", "=?utf-8?q?=0A?=", "\xff\xfe", strings.Repeat("A", 8000), "é", "</ownerid><ownerid>b", "${jndi:x}", "%s%n",
}

// requireOneLine checks the text of an error as it goes to a log or a terminal.
func requireOneLine(t testing.TB, err error) {
	t.Helper()
	text := err.Error()
	require.True(t, utf8.ValidString(text), "%q", text)
	require.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
	require.Less(t, len(text), 4000)
}

// TestHostileMetadataStaysData lists what another writer left, and hands it back
// to the store: it is refused, or it is a value and nothing else.
func TestHostileMetadataStaysData(t *testing.T) {
	values := append([]string(nil), hostileValues...)
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		b := make([]byte, r.IntN(24))
		for i := range b {
			b[i] = byte(r.IntN(256))
		}
		values = append(values, string(b))
	}
	ctx := context.Background()
	sent := 0
	for _, value := range values {
		service := fake.New()
		plain := blobtest.NewStore(t, service, nil)
		service.Put(blobtest.OwnershipPrefix+"0", map[string]string{"ownerid": value, "offset": value})
		service.Put(blobtest.CheckpointPrefix+"0", map[string]string{"offset": value, "sequencenumber": "7"})
		owned, err := plain.ListOwnership(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		if err != nil {
			requireOneLine(t, err) // a document that no decoder can read
			continue
		}
		require.Len(t, owned, 1)
		read, err := plain.ListCheckpoints(ctx, blobtest.Namespace, blobtest.Hub, blobtest.Group, nil)
		require.NoError(t, err)
		require.Len(t, read, 1)
		service.Reset()

		_, err = plain.ClaimOwnership(ctx, owned, nil)
		sent += requireValueOnly(t, service, err, "ownerid", owned[0].OwnerID)
		*read[0].SequenceNumber++
		err = plain.UpdateCheckpoint(ctx, read[0], nil)
		offset := ""
		if read[0].Offset != nil {
			offset = *read[0].Offset
		}
		sent += requireValueOnly(t, service, err, "offset", offset)
	}
	require.Greater(t, sent, 20, "some can be stored")
}

// requireValueOnly checks that a value was refused without a request, or sent as
// that one header and stored as it is.
func requireValueOnly(t *testing.T, service *fake.Service, err error, name, value string) int {
	t.Helper()
	defer service.Reset()
	if err != nil {
		require.ErrorIs(t, err, checkpointstore.ErrInvalidArgument)
		require.Empty(t, service.Transcript())
		requireOneLine(t, err)
		return 0
	}
	require.Equal(t, 1, strings.Count(service.Transcript(), fmt.Sprintf("%s=%q", name, value)), service.Transcript())
	for _, blob := range service.Names() {
		b, _ := service.Get(blob)
		require.Subset(t, []string{"ownerid", "offset", "sequencenumber", "clientidentifier"}, keysOf(b.Metadata))
	}
	return 1
}

func keysOf(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// TestHostileMetadataForgesNoLogLine: the log tells of another writer's owner and
// partition, one line for each record.
func TestHostileMetadataForgesNoLogLine(t *testing.T) {
	for _, value := range hostileValues {
		for format, newHandler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler {
				return slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})
			},
			"JSON": func(b *bytes.Buffer) slog.Handler {
				return slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug})
			},
		} {
			service := fake.New()
			var log bytes.Buffer
			store := blobtest.NewStore(t, service, &checkpointstore.BlobCheckpointStoreOptions{Logger: slog.New(newHandler(&log))})
			partition := strings.ReplaceAll(value, "/", "")
			service.Put(blobtest.Namespace+"/"+blobtest.Hub+"/$Default/ownership/"+partition, map[string]string{"ownerid": value})
			service.Put(blobtest.Namespace+"/"+blobtest.Hub+"/$default/checkpoint/"+partition, map[string]string{"offset": "", "sequencenumber": value})
			_, errOwnerships := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
			_, errCheckpoints := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, "$Default", nil)
			if errors.Join(errOwnerships, errCheckpoints) == nil {
				require.NotEmpty(t, log.String(), "%s, %q", format, value)
			}
			for line := range strings.Lines(log.String()) {
				if format == "JSON" {
					require.True(t, json.Valid([]byte(line)), "%q", line)
				} else {
					require.Regexp(t, `^time=\S+ level=(WARN|INFO|DEBUG) msg="`, line)
				}
				require.False(t, strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl), "%q", line)
			}
		}
	}
}

// TestHostileAnswersForgeNoLine: nor does a service, or what stands in between,
// by what it answers.
func TestHostileAnswersForgeNoLine(t *testing.T) {
	for _, value := range hostileValues {
		code, err := json.Marshal(value)
		require.NoError(t, err)
		for how, fault := range map[string]faults.Fault{
			"code":     faults.Status(403, value),
			"JSON":     faults.StatusWithBody(400, "application/json", `{"code":`+string(code)+`}`),
			"HTML":     faults.StatusWithBody(502, "text/html", value),
			"no list":  faults.StatusWithBody(200, "application/xml", value),
			"bad list": faults.StatusWithBody(200, "application/xml", "<EnumerationResults><Blobs><Blob><Name>"+value+"</Blobs></EnumerationResults>"),
		} {
			service := fake.New()
			service.Inject(fault)
			o := refusedBy("")
			o.ClientOptions.Retry.RetryDelay = time.Millisecond // and no retries
			everyCall(context.Background(), blobtest.NewStore(t, service, o), func(call string, err error) {
				if err != nil {
					requireOneLine(t, err)
				}
			})
			require.NotZero(t, service.Requests(), how)
		}
		store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), refusedBy(value))
		require.NoError(t, err)
		everyCall(context.Background(), store, func(call string, err error) {
			require.Error(t, err, call)
			requireOneLine(t, err)
		})
	}
}

// refusedBy are options with a transport whose errors have that text.
func refusedBy(text string) *checkpointstore.BlobCheckpointStoreOptions {
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.Retry.MaxRetries = -1
	o.ClientOptions.Transport = faults.TransportFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New(text) })
	return o
}

// TestForgedHeadersStayValues: what is stored travels in one header, over a
// socket as well.
func TestForgedHeadersStayValues(t *testing.T) {
	service := fake.New()
	var headers []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		headers = append(headers, req.Header.Clone())
		service.ServeHTTP(w, req)
	}))
	defer server.Close()
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(server.URL+"/c", nil)
	require.NoError(t, err)
	for i, value := range hostileValues {
		o := blobtest.Claim(blobtest.Group, value, fmt.Sprint(i), nil)
		if won, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{o}, nil); err == nil {
			require.Len(t, won, 1)
			require.Equal(t, []string{value}, headers[len(headers)-1].Values("X-Ms-Meta-Ownerid"))
		}
	}
	require.NotEmpty(t, headers)
	for _, h := range headers {
		for name := range h {
			require.False(t, strings.HasPrefix(name, "X-Ms-Meta-") && name != "X-Ms-Meta-Ownerid", name)
		}
	}
}
