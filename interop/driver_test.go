package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/nodepkg"
)

// The stores in other languages, each in a process that is started once for all tests.
var (
	javaScript = driver{start: startJavaScript}
	python     = driver{start: func(ctx context.Context, c nodepkg.Command) (*nodepkg.Process, error) {
		return startPython(ctx, "sync", c)
	}}
	pythonAIO = driver{start: func(ctx context.Context, c nodepkg.Command) (*nodepkg.Process, error) {
		return startPython(ctx, "aio", c)
	}}
)

// callTimeout ends a call that hangs; the answer takes milliseconds.
const callTimeout = time.Minute

// driver is the process of one store. It answers one request at a time.
type driver struct {
	start func(context.Context, nodepkg.Command) (*nodepkg.Process, error)

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
}

// reply is one line from it.
type reply struct {
	Ownerships  []wireOwnership  `json:"ownerships"`
	Checkpoints []wireCheckpoint `json:"checkpoints"`
	Error       string           `json:"error"`
}

// wireOwnership has an owner that Python gives as null when it is empty.
type wireOwnership struct {
	Partition string       `json:"partition"`
	Owner     *string      `json:"owner"`
	ETag      *azcore.ETag `json:"etag,omitempty"`
}

// wireCheckpoint has its number as text, as JSON.parse would round it.
type wireCheckpoint struct {
	Partition      string  `json:"partition"`
	Offset         *string `json:"offset,omitempty"`
	SequenceNumber *int64  `json:"sequenceNumber,omitempty,string"`
}

// open returns the store over a container. It fails the test, with one line, if the process cannot be started.
func (d *driver) open(t *testing.T, container string) checkpointstore.CheckpointStore {
	t.Helper()
	server := azurite.Shared(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.tried {
		d.tried = true
		d.answers = make(chan string, 1)
		d.process, d.err = d.start(context.Background(), nodepkg.Command{ // for all tests: longer than t.Context
			Env:    []string{"INTEROP_CONNECTION_STRING=" + server.ConnectionString()},
			OnLine: func(line string) { d.answers <- line },
		})
	}
	if d.err != nil {
		t.Fatal(d.err)
	}
	return &drivenStore{driver: d, container: container}
}

func (d *driver) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		d.process.Stop()
	}
}

// call sends a request and waits for its answer.
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
		d.process.Stop() // its next line would be the answer to this call
		return reply{}, fmt.Errorf("no answer: %w: %s", ctx.Err(), d.process.Tail())
	}
}

// refusal is what the other store itself returned as its error.
type refusal string

func (r refusal) Error() string { return string(r) }

// drivenStore is a driver's store over one container.
type drivenStore struct {
	driver    *driver
	container string
}

var _ checkpointstore.CheckpointStore = (*drivenStore)(nil)

func (s *drivenStore) request(call, namespace, hub, group string) request {
	return request{Call: call, Container: s.container, Namespace: namespace, Hub: hub, Group: group}
}

func (s *drivenStore) ListOwnership(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListOwnershipOptions) ([]checkpointstore.Ownership, error) {
	return s.ownerships(ctx, s.request("list", namespace, hub, group))
}

// ClaimOwnership takes claims of one scope.
func (s *drivenStore) ClaimOwnership(ctx context.Context, claims []checkpointstore.Ownership, _ *checkpointstore.ClaimOwnershipOptions) ([]checkpointstore.Ownership, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	first := claims[0]
	r := s.request("claim", first.FullyQualifiedNamespace, first.EventHubName, first.ConsumerGroup)
	for _, c := range claims {
		if c.FullyQualifiedNamespace != r.Namespace || c.EventHubName != r.Hub || c.ConsumerGroup != r.Group {
			return nil, errors.New("claims of several scopes")
		}
		r.Ownerships = append(r.Ownerships, wireOwnership{Partition: c.PartitionID, Owner: &c.OwnerID, ETag: c.ETag})
	}
	return s.ownerships(ctx, r)
}

func (s *drivenStore) ownerships(ctx context.Context, r request) ([]checkpointstore.Ownership, error) {
	a, err := s.driver.call(ctx, r)
	if err != nil {
		return nil, err
	}
	var all []checkpointstore.Ownership
	for _, o := range a.Ownerships {
		owner := ""
		if o.Owner != nil {
			owner = *o.Owner
		}
		all = append(all, checkpointstore.Ownership{
			FullyQualifiedNamespace: r.Namespace, EventHubName: r.Hub, ConsumerGroup: r.Group,
			PartitionID: o.Partition, OwnerID: owner, ETag: o.ETag,
		})
	}
	return all, nil
}

func (s *drivenStore) UpdateCheckpoint(ctx context.Context, c checkpointstore.Checkpoint, _ *checkpointstore.UpdateCheckpointOptions) error {
	r := s.request("update", c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup)
	r.Checkpoints = []wireCheckpoint{{c.PartitionID, c.Offset, c.SequenceNumber}}
	_, err := s.driver.call(ctx, r)
	return err
}

func (s *drivenStore) ListCheckpoints(ctx context.Context, namespace, hub, group string, _ *checkpointstore.ListCheckpointsOptions) ([]checkpointstore.Checkpoint, error) {
	a, err := s.driver.call(ctx, s.request("listCheckpoints", namespace, hub, group))
	if err != nil {
		return nil, err
	}
	var all []checkpointstore.Checkpoint
	for _, c := range a.Checkpoints {
		all = append(all, checkpointstore.Checkpoint{
			FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group,
			PartitionID: c.Partition, Offset: c.Offset, SequenceNumber: c.SequenceNumber,
		})
	}
	return all, nil
}

// startJavaScript installs the locked npm package, the first time, and starts its driver.
func startJavaScript(ctx context.Context, command nodepkg.Command) (*nodepkg.Process, error) {
	dir, err := nodepkg.Package{Name: "interop", Files: os.DirFS("js")}.Install(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the JavaScript store: %w", err)
	}
	script, err := filepath.Abs(filepath.Join("js", "driver.js"))
	if err != nil {
		return nil, err
	}
	command.Args = []string{script}
	command.Env = append(command.Env, "NODE_PATH="+filepath.Join(dir, "node_modules"))
	return nodepkg.Start(command)
}
