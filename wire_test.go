package checkpointstore_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
	"github.com/ea947076/checkpointstore/internal/script"
)

var update = flag.Bool("update", false, "write the results in testdata/wire anew")

// TestWire runs the scripts in testdata/wire, which hold what each public call sends and returns. A difference there is
// a change of behaviour. To write the results anew: go test -run TestWire . -update
//
// Every case runs with a client that the store builds, and again with one that is handed in, whose lists azblob decodes.
func TestWire(t *testing.T) {
	script.Run(t, filepath.Join("testdata", "wire"), *update, func(t *testing.T, c *script.Case) (string, error) {
		actions := make([]wireAction, len(c.Commands))
		for i, command := range c.Commands {
			var err error
			if actions[i], err = parseWireStep(command); err != nil {
				return "", err
			}
		}
		built, err := runWire(t, blobtest.NewStore, actions)
		if err != nil || built.options.SecondaryHost != "" { // which a client that is handed in does not have
			return built.result, err
		}
		handedIn, err := runWire(t, blobtest.NewStoreOfClient, actions)
		require.NoError(t, err)
		require.Equal(t, built.result, handedIn.result, "with a client that is handed in")
		return built.result, nil
	})
}

// wire is a case of a script on its way.
type wire struct {
	service   *fake.Service
	options   checkpointstore.BlobCheckpointStoreOptions
	open      func(*checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore
	opened    *checkpointstore.BlobCheckpointStore
	second    *checkpointstore.BlobCheckpointStore
	unordered bool
	failed    func(error) // takes the errors of what runs meanwhile
	result    string
}

func runWire(t *testing.T, open func(testing.TB, *fake.Service, *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore, actions []wireAction) (w *wire, err error) {
	synctest.Test(t, func(t *testing.T) {
		w = &wire{service: fake.New(), failed: func(err error) { t.Error(err) }}
		w.options.MaxConcurrency = 1
		w.open = func(o *checkpointstore.BlobCheckpointStoreOptions) *checkpointstore.BlobCheckpointStore {
			return open(t, w.service, o)
		}
		w.service.SetClock(func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })
		for _, a := range actions {
			if _, err = a(w, w.store); err != nil {
				return
			}
		}
	})
	return w, err
}

// store opens the case's store when it is first needed.
func (w *wire) store() *checkpointstore.BlobCheckpointStore {
	if w.opened == nil {
		w.opened = w.open(&w.options)
	}
	return w.opened
}

// other opens a second store, as another process has it.
func (w *wire) other() *checkpointstore.BlobCheckpointStore {
	if w.second == nil {
		w.second = w.open(nil)
	}
	return w.second
}

// A wireAction does what a command says, through a store or to the service, and returns the result in words.
type wireAction func(w *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error)

func parseWireCommand(c *script.Command) (wireAction, error) {
	parse, found := wireCommands()[c.Word]
	if !found {
		return nil, c.Errorf("there is no command %q", c.Word)
	}
	do, err := parse(c)
	if err == nil {
		err = c.Done()
	}
	return do, err
}

// parseWireStep parses a command that must succeed.
func parseWireStep(c *script.Command) (wireAction, error) {
	do, err := parseWireCommand(c)
	return func(w *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
		result, err := do(w, store)
		if err != nil {
			err = c.Errorf("%s: %w", c.Word, err)
		}
		return result, err
	}, err
}

// wireCommands are the commands of the scripts. Paths are below ns.example/hub/.
func wireCommands() map[string]func(*script.Command) (wireAction, error) {
	return map[string]func(*script.Command) (wireAction, error){
		// How the case is run. Options come before all that needs the store.
		"options":   wireOptions,
		"unordered": func(*script.Command) (wireAction, error) { return unordered, nil }, // requests are sent at the same time: sort them
		"call":      wireCall,                                                            // a command whose requests and result are recorded
		"other":     wireOther,                                                           // a command through a second store, as another process has it

		// What is in the service, and what becomes of requests.
		"put":              wirePut, // a path and metadata
		"put-directory":    onPath(func(s *fake.Service, name string) { s.PutDirectory(name) }),
		"lease":            onPath((*fake.Service).Lease),
		"delete":           onPath(func(s *fake.Service, name string) { s.Delete(name) }),
		"delete-container": onService((*fake.Service).DeleteContainer),
		"pages-of-two":     onService(func(s *fake.Service) { s.SetPageSize(2) }),
		"empty-pages":      onService(func(s *fake.Service) { s.SetEmptyPages(true) }),
		"fault":            wireFault,                                          // see wireFaults
		"wait":             onService(func(*fake.Service) { synctest.Wait() }), // until everything else waits, too

		// The methods of the store. The group is "group", and the partition "0", unless the arguments say otherwise.
		"claim":             wireClaim, // each partition= is a claim; owner= and group= hold for those that follow
		"update":            wireUpdate,
		"list-ownership":    reading(listOwnership),
		"list-checkpoints":  reading(listCheckpoints),
		"get-ownership":     reading(getOwnership),
		"get-checkpoint":    reading(getCheckpoint),
		"list-records":      reading(wholeRecords),
		"list-scopes":       reading(allScopes),
		"delete-ownership":  deleting(deleteOwnership), // takes etag=
		"delete-checkpoint": deleting(deleteCheckpoint),
		"ensure-container":  func(*script.Command) (wireAction, error) { return ensureContainer, nil },
	}
}

// wireOptionWords are the options of a store.
var wireOptionWords = map[string]func(*checkpointstore.BlobCheckpointStoreOptions){
	"verbatim": func(o *checkpointstore.BlobCheckpointStoreOptions) { o.BlobNaming = checkpointstore.BlobNamingVerbatim },
	"lower-case-only": func(o *checkpointstore.BlobCheckpointStoreOptions) {
		o.BlobNaming = checkpointstore.BlobNamingLowerCaseOnly
	},
	"unfenced": func(o *checkpointstore.BlobCheckpointStoreOptions) { o.DisableFencing = true },
	"logger": func(o *checkpointstore.BlobCheckpointStoreOptions) {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	},
	"secondary": func(o *checkpointstore.BlobCheckpointStoreOptions) { o.SecondaryHost = blobtest.SecondaryHost },
	"no-retries": func(o *checkpointstore.BlobCheckpointStoreOptions) {
		o.ClientOptions.Retry.MaxRetries = -1
		o.ClientOptions.Retry.RetryDelay = time.Millisecond
	},
}

// wireFaults are the faults. Their arguments are status=, code= and detail= of the answer, and header=, the one to
// leave out. All take op=, host= and group= (of a list), which pick requests, and once or times=.
// At the end, "meanwhile <command>" runs before the request is applied; of the
// fault "none", "then <command>" runs between that and the response.
var wireFaults = map[string]func(a faultArgs) faults.Fault{
	"none":                  func(faultArgs) faults.Fault { return faults.RunBefore(func() {}) }, // for what happens meanwhile
	"answer":                func(a faultArgs) faults.Fault { return faults.Status(a.status, a.code) },
	"apply-then-answer":     func(a faultArgs) faults.Fault { return faults.ApplyThenStatus(a.status, a.code) },
	"authentication-failed": func(a faultArgs) faults.Fault { return faults.AuthenticationFailed(a.detail) },
	"busy":                  func(faultArgs) faults.Fault { return faults.Busy(0) },
	"forbidden":             func(faultArgs) faults.Fault { return faults.Forbidden() },
	"lose-response":         func(faultArgs) faults.Fault { return faults.LoseResponse() },
	"refuse-connection":     func(faultArgs) faults.Fault { return faults.RefuseConnection() },
	"reset-connection":      func(faultArgs) faults.Fault { return faults.LoseRequest() },
	"without-header":        func(a faultArgs) faults.Fault { return faults.WithoutHeaders(a.header) },
}

var wireOps = map[string]faults.Op{"put-blob": faults.PutBlob, "set-metadata": faults.SetMetadata, "get-properties": faults.GetProperties, "list": faults.ListBlobs}

type faultArgs struct {
	status, times        int
	code, detail, header string
	matchers             []faults.Matcher
	meanwhile, then      wireAction
}

func wireFault(c *script.Command) (wireAction, error) {
	word, _, _ := c.Next()
	newFault, found := wireFaults[word]
	if !found {
		return nil, c.Errorf("there is no fault %q", word)
	}
	var a faultArgs
	err := c.Take(map[string]func(string) error{
		"status": func(v string) (err error) { a.status, err = strconv.Atoi(v); return err },
		"code":   func(v string) error { a.code = v; return nil },
		"detail": func(v string) error { a.detail = v; return nil },
		"header": func(v string) error { a.header = v; return nil },
		"host":   func(v string) error { a.matchers = append(a.matchers, faults.Host(v)); return nil },
		"group":  func(v string) error { a.matchers = append(a.matchers, listOf(v)); return nil },
		"op": func(v string) error {
			op, found := wireOps[v]
			if !found {
				return fmt.Errorf("there is no operation %q", v)
			}
			a.matchers = append(a.matchers, faults.OpIs(op))
			return nil
		},
		"once":      func(string) error { a.times = 1; return nil },
		"times":     func(v string) (err error) { a.times, err = strconv.Atoi(v); return err },
		"meanwhile": func(string) (err error) { a.meanwhile, err = parseInner(c, parseWireStep); return err },
		"then":      func(string) (err error) { a.then, err = parseInner(c, parseWireStep); return err },
	})
	if err == nil && a.then != nil && word != "none" {
		err = c.Errorf("%q takes no \"then\"", word)
	}
	return func(w *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
		hook := func(do wireAction) func() {
			return func() {
				if _, err := do(w, store); err != nil {
					w.failed(err)
				}
			}
		}
		fault := newFault(a)
		if a.meanwhile != nil {
			fault = fault.Before(hook(a.meanwhile))
		}
		if a.then != nil {
			fault = faults.RunAfter(hook(a.then))
		}
		w.service.Inject(fault.Limit(a.times).On(faults.All(a.matchers...)))
		return "", nil
	}, err
}

func wireOptions(c *script.Command) (wireAction, error) {
	var set []func(*checkpointstore.BlobCheckpointStoreOptions)
	keys := make(map[string]func(string) error)
	for word, option := range wireOptionWords {
		keys[word] = func(string) error { set = append(set, option); return nil }
	}
	err := c.Take(keys)
	return func(w *wire, _ func() *checkpointstore.BlobCheckpointStore) (string, error) {
		if w.opened != nil {
			return "", c.Errorf("the store is open already")
		}
		for _, option := range set {
			option(&w.options)
		}
		if w.options.SecondaryHost != "" {
			w.service.ServeSecondary(w.options.SecondaryHost)
		}
		return "", nil
	}, err
}

func unordered(w *wire, _ func() *checkpointstore.BlobCheckpointStore) (string, error) {
	w.unordered = true
	return "", nil
}

func wireCall(c *script.Command) (wireAction, error) {
	do, err := parseInner(c, parseWireCommand)
	return func(w *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
		w.service.Reset()
		result, err := do(w, store)
		lines := slices.Collect(strings.Lines(w.service.Transcript()))
		if w.unordered {
			slices.Sort(lines)
		}
		w.result += strings.Join(lines, "")
		if result != "" {
			w.result += "=> " + result + "\n"
		}
		if err != nil {
			w.result += "=> " + err.Error() + "\n"
		}
		return "", nil
	}, err
}

func wireOther(c *script.Command) (wireAction, error) {
	do, err := parseInner(c, parseWireCommand)
	return func(w *wire, _ func() *checkpointstore.BlobCheckpointStore) (string, error) { return do(w, w.other) }, err
}

// parseInner parses the command that a command ends with.
func parseInner(c *script.Command, parse func(*script.Command) (wireAction, error)) (wireAction, error) {
	inner, err := c.Command()
	if err != nil {
		return nil, err
	}
	return parse(inner)
}

func onService(do func(*fake.Service)) func(*script.Command) (wireAction, error) {
	return func(*script.Command) (wireAction, error) {
		return func(w *wire, _ func() *checkpointstore.BlobCheckpointStore) (string, error) {
			do(w.service)
			return "", nil
		}, nil
	}
}

func onPath(do func(*fake.Service, string)) func(*script.Command) (wireAction, error) {
	return func(c *script.Command) (wireAction, error) {
		path, _, ok := c.Next()
		if !ok {
			return nil, c.Errorf("%q takes a path", c.Word)
		}
		return func(w *wire, _ func() *checkpointstore.BlobCheckpointStore) (string, error) {
			do(w.service, blobtest.Namespace+"/"+blobtest.Hub+"/"+path)
			return "", nil
		}, nil
	}
}

func wirePut(c *script.Command) (wireAction, error) {
	metadata := make(map[string]string)
	put, err := onPath(func(s *fake.Service, name string) { s.Put(name, metadata) })(c)
	for {
		key, value, ok := c.Next()
		if !ok {
			return put, err
		}
		metadata[key] = value
	}
}

func wireClaim(c *script.Command) (wireAction, error) {
	var all []checkpointstore.Ownership
	owner, in := "", blobtest.Group
	err := c.Take(map[string]func(string) error{
		"owner":     func(v string) error { owner = v; return nil },
		"group":     func(v string) error { in = v; return nil },
		"partition": func(v string) error { all = append(all, blobtest.Claim(in, owner, v, nil)); return nil },
		"etag": func(v string) error {
			if len(all) == 0 {
				return fmt.Errorf("comes after a partition")
			}
			all[len(all)-1].ETag = blobtest.ETag(v)
			return nil
		},
	})
	return func(_ *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
		won, err := store().ClaimOwnership(context.Background(), all, nil)
		text := "won"
		for _, o := range won {
			text += fmt.Sprintf(" %s=%s at %s", o.PartitionID, *o.ETag, o.LastModifiedTime.Format(time.RFC3339))
		}
		return text, err
	}, err
}

// wireUpdate takes a sequence number, or none, and the options. The offset is 64 times the sequence number, unless there
// is offset= or no-offset.
func wireUpdate(c *script.Command) (wireAction, error) {
	sequenceNumber, _, _ := c.Next()
	n, err := strconv.ParseInt(sequenceNumber, 10, 64)
	position := blobtest.Checkpoint(blobtest.Group, "0", n)
	if err != nil && sequenceNumber == "none" {
		position.SequenceNumber, err = nil, nil
	}
	if err != nil {
		return nil, c.Errorf("%q is no sequence number", sequenceNumber)
	}
	options := &checkpointstore.UpdateCheckpointOptions{}
	err = c.Take(map[string]func(string) error{
		"group":     func(v string) error { position.ConsumerGroup = v; return nil },
		"offset":    func(v string) error { position.Offset = &v; return nil },
		"no-offset": func(string) error { position.Offset = nil; return nil },
		"rewind":    func(string) error { options.Rewind = true; return nil },
		"first":     func(string) error { options.First = true; return nil },
		"enqueued": func(v string) error {
			at, err := time.Parse(time.RFC3339Nano, v)
			options.EnqueuedTime = &at
			return err
		},
	})
	return func(_ *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
		return done(store().UpdateCheckpoint(context.Background(), position, options))
	}, err
}

func ensureContainer(_ *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
	return done(store().EnsureContainer(context.Background(), nil))
}

func done(err error) (string, error) {
	if err != nil {
		return "", err
	}
	return "done", nil
}

// reading parses the arguments of the methods that read.
func reading(read func(store *checkpointstore.BlobCheckpointStore, group, partition string) (string, error)) func(*script.Command) (wireAction, error) {
	return func(c *script.Command) (wireAction, error) {
		in, partition := blobtest.Group, "0"
		err := c.Take(map[string]func(string) error{
			"group":     func(v string) error { in = v; return nil },
			"partition": func(v string) error { partition = v; return nil },
		})
		return func(_ *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
			return read(store(), in, partition)
		}, err
	}
}

func listOwnership(store *checkpointstore.BlobCheckpointStore, group, _ string) (string, error) {
	all, err := store.ListOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, group, nil)
	text := fmt.Sprintf("%d records", len(all))
	for _, o := range all {
		text += fmt.Sprintf(" %s:%q%s", o.PartitionID, o.OwnerID, *o.ETag)
	}
	return text, err
}

func getOwnership(store *checkpointstore.BlobCheckpointStore, group, partition string) (string, error) {
	o, err := store.GetOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, group, partition, nil)
	return fmt.Sprintf("%s:%q", o.PartitionID, o.OwnerID), err
}

func listCheckpoints(store *checkpointstore.BlobCheckpointStore, group, _ string) (string, error) {
	all, err := store.ListCheckpoints(context.Background(), blobtest.Namespace, blobtest.Hub, group, nil)
	text := fmt.Sprintf("%d checkpoints", len(all))
	for _, c := range all {
		text += " " + positionText(c)
	}
	return text, err
}

func getCheckpoint(store *checkpointstore.BlobCheckpointStore, group, partition string) (string, error) {
	c, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, group, partition, nil)
	return positionText(c), err
}

func wholeRecords(store *checkpointstore.BlobCheckpointStore, group, _ string) (string, error) {
	spellings, err := store.ListRecords(context.Background(), blobtest.Namespace, blobtest.Hub, group, nil)
	var lines []string
	for _, s := range spellings {
		text := fmt.Sprintf("%s at %s:", s.ConsumerGroup, s.Time.Format(time.RFC3339))
		for _, o := range s.Ownerships {
			text += fmt.Sprintf(" %s:%q%s", o.PartitionID, o.OwnerID, *o.ETag)
		}
		for _, c := range s.Checkpoints {
			text += fmt.Sprintf(" %s generation %d client %q%s", positionText(c.Checkpoint), c.Generation, c.ClientID, *c.ETag)
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "\n=> "), err
}

func allScopes(store *checkpointstore.BlobCheckpointStore, _, _ string) (string, error) {
	scopes, err := store.ListScopes(context.Background(), nil)
	text := fmt.Sprintf("%d scopes", len(scopes))
	for _, s := range scopes {
		text += " " + s.FullyQualifiedNamespace + "/" + s.EventHubName + "/" + s.ConsumerGroup
	}
	return text, err
}

// deleting is the command of a method that deletes a record.
func deleting(remove func(store *checkpointstore.BlobCheckpointStore, group string, etag azcore.ETag) error) func(*script.Command) (wireAction, error) {
	return func(c *script.Command) (wireAction, error) {
		in, etag := blobtest.Group, azcore.ETag("")
		err := c.Take(map[string]func(string) error{
			"group": func(v string) error { in = v; return nil },
			"etag":  func(v string) error { etag = azcore.ETag(v); return nil },
		})
		return func(_ *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
			if err := remove(store(), in, etag); err != nil {
				return "", err
			}
			return "done", nil
		}, err
	}
}

func deleteOwnership(store *checkpointstore.BlobCheckpointStore, group string, etag azcore.ETag) error {
	return store.DeleteOwnership(context.Background(), blobtest.Claim(group, "", "0", &etag), nil)
}

func deleteCheckpoint(store *checkpointstore.BlobCheckpointStore, group string, etag azcore.ETag) error {
	return store.DeleteCheckpoint(context.Background(), checkpointstore.CheckpointRecord{Checkpoint: blobtest.Checkpoint(group, "0", 0), ETag: &etag}, nil)
}

func positionText(c checkpointstore.Checkpoint) string {
	sequenceNumber, offset := "none", "none"
	if c.SequenceNumber != nil {
		sequenceNumber = fmt.Sprint(*c.SequenceNumber)
	}
	if c.Offset != nil {
		offset = fmt.Sprintf("%q", *c.Offset)
	}
	return fmt.Sprintf("%s:%s/%s", c.PartitionID, sequenceNumber, offset)
}

func TestMistakesInWireScriptsAreErrors(t *testing.T) {
	for line, says := range map[string]string{
		"clam owner=a":                 `there is no command "clam"`,
		"call":                         `"call" takes a command`,
		"call clam":                    `there is no command "clam"`,
		"other clam":                   `there is no command "clam"`,
		"options typed":                `"options" does not take "typed"`,
		"unordered calls":              `"unordered" does not take "calls"`,
		"put":                          `"put" takes a path`,
		"lease":                        `"lease" takes a path`,
		"delete group/ownership/0 now": `"delete" does not take "now"`,
		"delete-container c":           `"delete-container" does not take "c"`,
		"fault":                        `there is no fault ""`,
		"fault lose-request":           `there is no fault "lose-request"`,
		"fault busy op=put":            `there is no operation "put"`,
		"fault busy times=x":           `times: `,
		"fault busy always":            `"fault" does not take "always"`,
		"fault none meanwhile":         `"fault" takes a command`,
		"fault none meanwhile clam":    `there is no command "clam"`,
		"claim etag=0x1":               `etag: comes after a partition`,
		"claim partition=0 rewind":     `"claim" does not take "rewind"`,
		"update":                       `"" is no sequence number`,
		"update 1 enqueued=now":        `enqueued: `,
		"update 1 partition=1":         `"update" does not take "partition=1"`,
		"list-ownership owner=a":       `"list-ownership" does not take "owner=a"`,
		"ensure-container c":           `"ensure-container" does not take "c"`,
	} {
		c, err := script.ParseCommand("x.txt:3", line)
		require.NoError(t, err)
		_, err = parseWireCommand(c)
		require.ErrorContains(t, err, "x.txt:3: ", line)
		require.ErrorContains(t, err, says, line)
	}
	for line, says := range map[string]string{ // mistakes that only show when they run
		"claim partition=": `x.txt:3: claim: `,
		"options logger":   `x.txt:3: options: `,
	} {
		c, err := script.ParseCommand("x.txt:3", line)
		require.NoError(t, err)
		step, err := parseWireStep(c)
		require.NoError(t, err)
		open := func(w *wire, store func() *checkpointstore.BlobCheckpointStore) (string, error) {
			store()
			return "", nil
		}
		_, err = runWire(t, blobtest.NewStore, []wireAction{open, step})
		require.ErrorContains(t, err, says)
	}
}
