package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/emulator"
)

// binary is the command, which the first test that needs it builds.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildFolder, "checkpointctl")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
})

var buildFolder string

func TestMain(m *testing.M) {
	var err error
	if buildFolder, err = os.MkdirTemp("", "checkpointctl"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	azurite.CloseShared()
	os.RemoveAll(buildFolder)
	os.Exit(code)
}

// world is a container on Azurite and an event hub, for runs of the command.
type world struct {
	t         testing.TB
	binary    string
	folder    string // in which the command runs
	container string
	env       map[string]string

	service *service
	client  *container.Client
	scope   checkpointstore.Scope // of the records that the test writes
	naming  checkpointstore.BlobNaming
	hub     *emulator.Emulator // nil before startHub

	secrets []string // which must never be printed
}

func newWorld(t testing.TB) *world {
	t.Helper()
	blobs := azurite.Shared(t) // skips in -short mode
	path, err := binary()
	require.NoError(t, err)
	w := &world{t: t, binary: path, folder: t.TempDir(), container: azurite.NewContainerName(t)}
	w.secrets = []string{azurite.AccountKey, "secret"}
	w.service = newService(t, blobs)
	w.client, err = container.NewClientFromConnectionString(blobs.ConnectionString(), w.container, nil)
	require.NoError(t, err)
	_, err = w.client.Create(t.Context(), nil)
	require.NoError(t, err)
	w.env = map[string]string{
		"AZURE_STORAGE_CONNECTION_STRING": w.service.connectionString,
		"CHECKPOINT_CONTAINER":            w.container,
		"PATH":                            filepath.Dir(path) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"HOME":                            w.folder,
	}
	w.scope = checkpointstore.Scope{FullyQualifiedNamespace: "contoso.servicebus.windows.net", EventHubName: "orders", ConsumerGroup: "$default"}
	return w
}

// startHub starts an event hub with the scope's name.
func (w *world) startHub(partitions, events int, first int64) {
	w.t.Helper()
	w.hub = emulator.Start(w.t, emulator.Options{Hub: w.scope.EventHubName, Partitions: partitions, Events: events, FirstSequenceNumber: first})
	w.env["EVENTHUB_CONNECTION_STRING"] = w.hub.ConnectionString()
}

// run is one run of the command.
type run struct {
	stdout, stderr string
	status         int
}

func (w *world) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir = w.folder
	cmd.Env = []string{}
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

func (w *world) finish(cmd *exec.Cmd) run {
	w.t.Helper()
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		w.t.Fatal(err)
	}
	for _, secret := range w.secrets {
		require.NotContains(w.t, out.String()+errors.String(), secret)
	}
	require.NotContains(w.t, out.String()+errors.String(), "\x1b", "an escape code")
	return run{out.String(), errors.String(), cmd.ProcessState.ExitCode()}
}

// run runs the command.
func (w *world) run(args ...string) run {
	w.t.Helper()
	return w.finish(w.command(w.binary, args...))
}

// shell runs a line of a shell, in which the command is on the PATH.
func (w *world) shell(line string) run {
	w.t.Helper()
	return w.finish(w.command("sh", "-c", line))
}

// store returns a store that writes under the scope's spelling.
func (w *world) store() *checkpointstore.BlobCheckpointStore {
	w.t.Helper()
	s, err := checkpointstore.NewBlobCheckpointStore(w.client, &checkpointstore.BlobCheckpointStoreOptions{
		BlobNaming: w.naming, Timeout: 10 * time.Minute, // for 1,024 claims on a busy machine
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

// claim lets an owner claim partitions, and relinquish them if it is "".
func (w *world) claim(owner string, partitions ...string) {
	w.t.Helper()
	store := w.store()
	now, err := store.ListOwnership(w.t.Context(), w.scope.FullyQualifiedNamespace, w.scope.EventHubName, w.scope.ConsumerGroup, nil)
	require.NoError(w.t, err)
	for _, id := range partitions {
		claim := checkpointstore.Ownership{
			FullyQualifiedNamespace: w.scope.FullyQualifiedNamespace, EventHubName: w.scope.EventHubName, ConsumerGroup: w.scope.ConsumerGroup,
			PartitionID: id, OwnerID: owner,
		}
		for _, o := range now {
			if o.PartitionID == id {
				claim.ETag = o.ETag
			}
		}
		won, err := store.ClaimOwnership(w.t.Context(), []checkpointstore.Ownership{claim}, nil)
		require.NoError(w.t, err)
		require.Len(w.t, won, 1)
	}
}

// checkpoint stores the position of an event.
func (w *world) checkpoint(partition string, sequenceNumber int64) {
	w.t.Helper()
	require.NoError(w.t, w.store().UpdateCheckpoint(w.t.Context(), w.checkpointOf(partition, sequenceNumber), nil))
}

func (w *world) checkpointOf(partition string, sequenceNumber int64) checkpointstore.Checkpoint {
	return checkpointstore.Checkpoint{
		FullyQualifiedNamespace: w.scope.FullyQualifiedNamespace, EventHubName: w.scope.EventHubName, ConsumerGroup: w.scope.ConsumerGroup,
		PartitionID: partition, SequenceNumber: &sequenceNumber, Offset: to.Ptr(emulator.Offset(sequenceNumber)),
	}
}

// blob writes a blob of another package.
func (w *world) blob(name, content string) {
	w.t.Helper()
	_, err := w.client.NewBlockBlobClient(name).UploadBuffer(w.t.Context(), []byte(content), nil)
	require.NoError(w.t, err)
}

// records returns all blobs with their ETags: what is stored.
func (w *world) records() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	pager := w.client.NewListBlobsFlatPager(nil)
	for pager.More() {
		page, err := pager.NextPage(w.t.Context())
		require.NoError(w.t, err)
		for _, item := range page.Segment.BlobItems {
			found[*item.Name] = string(*item.Properties.ETag)
		}
	}
	return found
}

// useSAS takes the account's key away and gives a SAS of the container.
func (w *world) useSAS(permissions sas.ContainerPermissions) {
	w.t.Helper()
	credential, err := container.NewSharedKeyCredential(azurite.AccountName, azurite.AccountKey)
	require.NoError(w.t, err)
	query, err := sas.BlobSignatureValues{
		ContainerName: w.container, Permissions: permissions.String(),
		ExpiryTime: time.Now().Add(24 * time.Hour), Protocol: sas.ProtocolHTTPSandHTTP,
	}.SignWithSharedKey(credential)
	require.NoError(w.t, err)
	delete(w.env, "AZURE_STORAGE_CONNECTION_STRING")
	delete(w.env, "CHECKPOINT_CONTAINER")
	w.secrets = append(w.secrets, query.Signature(), url.QueryEscape(query.Signature()))
	w.env["CHECKPOINT_CONTAINER_URL"] = w.service.endpoint + "/" + w.container
	w.env["AZURE_STORAGE_SAS_TOKEN"] = query.Encode()
}

// age is how old all blobs are, by the clock of the responses.
const age = 3 * time.Second

// service is Azurite behind a proxy, which can put the clock of the responses forward.
// All blobs have the same [age] before that, so that what the command prints does not
// depend on how long a test takes.
type service struct {
	endpoint, connectionString string

	ahead atomic.Int64 // time.Duration
}

func newService(t testing.TB, blobs *azurite.Server) *service {
	target, err := url.Parse(blobs.Endpoint())
	require.NoError(t, err)
	s := &service{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
		},
		ModifyResponse: func(r *http.Response) error {
			at, err := http.ParseTime(r.Header.Get("Date"))
			if err != nil {
				return err
			}
			r.Header.Set("Date", at.Add(time.Duration(s.ahead.Load())).Format(http.TimeFormat))
			return setLastModified(r, at.Add(-age))
		},
		// A connection that is used again may be one that Node.js is closing, after
		// five seconds without a request.
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { // the client went away
			if r.Context().Err() == nil && context.Cause(r.Context()) == nil {
				t.Errorf("proxy: %v", err)
			}
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	s.endpoint = server.URL + target.Path
	s.connectionString = strings.Replace(blobs.ConnectionString(), blobs.Endpoint(), s.endpoint, 1)
	return s
}

var lastModified = regexp.MustCompile(`<Last-Modified>[^<]*</Last-Modified>`)

// setLastModified changes when the blobs of a response were modified.
func setLastModified(r *http.Response, at time.Time) error {
	text := at.UTC().Format(http.TimeFormat)
	if r.Header.Get("Last-Modified") != "" {
		r.Header.Set("Last-Modified", text)
	}
	if r.Request.URL.Query().Get("comp") != "list" || r.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body.Close()
	body = lastModified.ReplaceAll(body, []byte("<Last-Modified>"+text+"</Last-Modified>"))
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.Header.Del("Content-Length")
	return nil
}
