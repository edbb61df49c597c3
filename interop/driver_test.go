package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

// The drivers of the other SDKs. Each is started once for all tests.
var (
	javaScript = driver{runtime: "Node.js 20", packageName: "@azure/eventhubs-checkpointstore-blob", prepare: prepareJavaScript}
	python     = driver{runtime: "Python 3.10", packageName: "azure-eventhub-checkpointstoreblob", prepare: preparePython("sync")}
	pythonAIO  = driver{runtime: "Python 3.10", packageName: "azure-eventhub-checkpointstoreblob-aio", prepare: preparePython("aio")}
	java       = driver{runtime: "a JDK 17", packageName: "azure-messaging-eventhubs-checkpointstore-blob", prepare: prepareJava}
	rust       = driver{runtime: "Rust 1.88", packageName: "azure_messaging_eventhubs_checkpointstore_blob", prepare: prepareRust}
	keda       = driver{runtime: "Go 1.26", packageName: "github.com/kedacore/keda/v2", prepare: prepareKEDA}
)

func drivers() []*driver {
	return []*driver{&javaScript, &python, &pythonAIO, &java, &rust, &keda}
}

// callTimeout ends a call that hangs. A reply takes milliseconds, but the first one of Java takes as long as its compiler.
const callTimeout = 5 * time.Minute

// driver is the process of one SDK. It answers one request at a time.
type driver struct {
	runtime, packageName string
	// prepare installs the package if necessary, and returns the command of its program.
	prepare func(context.Context) (nodepkg.Command, error)

	mu      sync.Mutex
	tried   bool
	process *nodepkg.Process
	answers chan string
	err     error
}

// request is one line to a driver.
type request struct {
	Call        string           `json:"call"`
	Container   string           `json:"container"`
	Namespace   string           `json:"namespace"`
	Hub         string           `json:"hub"`
	Group       string           `json:"group"`
	Ownerships  []wireOwnership  `json:"ownerships,omitempty"`
	Checkpoints []wireCheckpoint `json:"checkpoints,omitempty"`
	Partitions  []string         `json:"partitions,omitempty"` // for KEDA, which does not list
}

// reply is one line from it.
type reply struct {
	Ownerships  []wireOwnership  `json:"ownerships"`
	Checkpoints []wireCheckpoint `json:"checkpoints"`
	Error       string           `json:"error"`
}

// wireOwnership is an ownership. Some SDKs return null for an empty owner. Modified is in Unix seconds.
type wireOwnership struct {
	Partition string       `json:"partition"`
	Owner     *string      `json:"owner"`
	ETag      *azcore.ETag `json:"etag,omitempty"`
	Modified  *int64       `json:"modified,omitempty"`
}

// wireCheckpoint is a checkpoint. Its sequence number is text, because JSON.parse rounds large numbers.
type wireCheckpoint struct {
	Partition      string  `json:"partition"`
	Offset         *string `json:"offset,omitempty"`
	SequenceNumber *int64  `json:"sequenceNumber,omitempty,string"`
}

// need skips the test with -short, and names what it needs. A missing runtime fails the test later, in open.
func (d *driver) need(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skipf("%s needs %s for %s: left out by -short", t.Name(), d.runtime, d.packageName)
	}
}

// open returns the store over a container. It fails the test with one line if the process cannot be started.
func (d *driver) open(t *testing.T, container string) checkpointstore.CheckpointStore {
	t.Helper()
	server := azurite.Shared(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.tried {
		d.tried = true
		d.answers = make(chan string, 1)
		d.process, d.err = d.launch(context.Background(), // outlives t.Context: it serves all tests
			"INTEROP_CONNECTION_STRING="+server.ConnectionString(), "INTEROP_SAS_URL="+sasURL(t, server))
	}
	if d.err != nil {
		t.Fatal(d.err)
	}
	return &driverStore{driver: d, container: container}
}

// launch starts the process. nodepkg can run every driver, because they all end with their standard input.
func (d *driver) launch(ctx context.Context, environment ...string) (*nodepkg.Process, error) {
	command, err := d.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", d.packageName, err)
	}
	command.Env = append(command.Env, environment...)
	command.OnLine = func(line string) { d.answers <- line }
	return nodepkg.Start(ctx, command)
}

// sasURL returns the account's URL with a SAS, for clients that accept no shared key.
func sasURL(t *testing.T, server *azurite.Server) string {
	t.Helper()
	key, err := service.NewSharedKeyCredential(azurite.AccountName, azurite.AccountKey)
	require.NoError(t, err)
	client, err := service.NewClientWithSharedKeyCredential(server.Endpoint(), key, nil)
	require.NoError(t, err)
	url, err := client.GetSASURL(sas.AccountResourceTypes{Container: true, Object: true},
		sas.AccountPermissions{Read: true, Write: true, Create: true, List: true}, time.Now().Add(24*time.Hour), nil)
	require.NoError(t, err)
	return url
}

func (d *driver) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		d.process.Stop()
	}
}

// call sends a request and waits for the reply.
func (d *driver) call(ctx context.Context, r request) (reply, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.process.Write(append(line, '\n')); err != nil {
		return reply{}, fmt.Errorf("%w: %s", err, d.process.Tail())
	}
	select {
	case text := <-d.answers:
		var a reply
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return reply{}, fmt.Errorf("%q: %w", text, err)
		}
		if a.Error != "" {
			return reply{}, refusal(a.Error)
		}
		return a, nil
	case <-d.process.Done():
		return reply{}, d.process.Err()
	case <-ctx.Done():
		d.process.Stop() // its next line would be the reply to this call
		return reply{}, fmt.Errorf("no reply: %w: %s", ctx.Err(), d.process.Tail())
	}
}

// refusal is an error that the SDK returned.
type refusal string

func (r refusal) Error() string { return string(r) }

// onPath returns the path of a program, or an error in one line that says what to install.
func onPath(program, install string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not on PATH: %s", program, install)
	}
	return path, nil
}

func TestWithoutARuntimeOneLineSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for d, want := range map[*driver]string{
		&javaScript: "start @azure/eventhubs-checkpointstore-blob: node is not on PATH: install Node.js 20 or later",
		&python:     "start azure-eventhub-checkpointstoreblob: python3 is not on PATH: install Python 3.10 or later with venv and pip",
		&pythonAIO:  "start azure-eventhub-checkpointstoreblob-aio: python3 is not on PATH: install Python 3.10 or later with venv and pip",
		&java:       "start azure-messaging-eventhubs-checkpointstore-blob: java is not on PATH: install a JDK 17 or later",
		&rust:       "start azure_messaging_eventhubs_checkpointstore_blob: cargo is not on PATH: " + installRust,
		&keda:       "start github.com/kedacore/keda/v2: go is not on PATH: install Go 1.26 or later",
	} {
		_, err := d.launch(t.Context())
		require.EqualError(t, err, want)
	}
}
