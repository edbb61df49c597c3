package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/azurite"
	"github.com/ea947076/checkpointstore/internal/emulator"
)

var update = flag.Bool("update", false, "write what the commands print into testdata")

// TestTranscripts runs the commands of testdata/*.txt and compares what they print.
//
// A line "$ command" is given to a shell. What follows is its standard output, then
// its standard error with "2> " before each line, and "exit status N" if that is not
// 0. Times are replaced by fixed ones. A line "% step" is a step of the test;
// # begins a comment.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before, err := os.ReadFile(name)
			require.NoError(t, err)
			after := w.play(string(before))
			if *update {
				require.NoError(t, os.WriteFile(name, []byte(after), 0o666))
			}
			require.Equal(t, string(before), after, "go test -run TestTranscripts -update writes it anew")
		})
	}
}

// eventTime is written in transcripts for the time of the event that "% time" names.
const eventTime = "2026-11-21T14:00:00Z"

// play returns the transcript as it is now.
func (w *world) play(transcript string) string {
	w.t.Helper()
	at := eventTime
	var b strings.Builder
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "% time "):
			fields := strings.Fields(line)
			n, err := strconv.ParseInt(fields[3], 10, 64)
			require.NoError(w.t, err)
			enqueued, err := w.hub.EnqueuedTime(fields[2], n)
			require.NoError(w.t, err)
			at = enqueued.Format(time.RFC3339Nano)
			fmt.Fprintln(&b, line)
		case strings.HasPrefix(line, "% "):
			w.step(strings.Fields(line)[1:])
			fmt.Fprintln(&b, line)
		case strings.HasPrefix(line, "$ "):
			got := w.shell(strings.ReplaceAll(line[2:], eventTime, at))
			fmt.Fprintln(&b, line)
			b.WriteString(aligned(w.normalised(got.stdout)))
			for errorLine := range strings.Lines(w.normalised(got.stderr)) {
				b.WriteString("2> " + errorLine)
			}
			if got.status != 0 {
				fmt.Fprintf(&b, "exit status %d\n", got.status)
			}
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// step is a step of the test: what happens to the container and the hub.
func (w *world) step(fields []string) {
	w.t.Helper()
	number := func(i int) int64 {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		require.NoError(w.t, err)
		return n
	}
	switch fields[0] {
	case "names": // NAMESPACE HUB GROUP: of the records that the next steps write
		w.scope = checkpointstore.Scope{FullyQualifiedNamespace: fields[1], EventHubName: fields[2], ConsumerGroup: fields[3]}
	case "verbatim": // names are written as they are typed
		w.naming = checkpointstore.BlobNamingVerbatim
	case "hub": // PARTITIONS EVENTS FIRST-SEQUENCE-NUMBER
		w.startHub(int(number(1)), int(number(2)), number(3))
	case "deny": // CONDITION: every request to the hub's management
		require.NoError(w.t, w.hub.Deny(emulator.Management, emulator.Condition(fields[1])))
	case "reader": // PARTITION: a consumer with an owner level reads it
		client, err := azeventhubs.NewConsumerClientFromConnectionString(w.hub.ConnectionString(), "", w.scope.ConsumerGroup, nil)
		require.NoError(w.t, err)
		w.t.Cleanup(func() { _ = client.Close(context.Background()) })
		reader, err := client.NewPartitionClient(fields[1], &azeventhubs.PartitionClientOptions{
			OwnerLevel: to.Ptr[int64](0), StartPosition: azeventhubs.StartPosition{Earliest: to.Ptr(true)},
		})
		require.NoError(w.t, err)
		_, err = reader.ReceiveEvents(w.t.Context(), 1, nil)
		require.NoError(w.t, err)
	case "append": // PARTITION EVENTS
		w.hub.Append(w.t, fields[1], int(number(2)))
	case "claim": // OWNER PARTITION...
		w.claim(fields[1], fields[2:]...)
	case "relinquish": // PARTITION...
		w.claim("", fields[1:]...)
	case "checkpoint": // PARTITION SEQUENCE-NUMBER
		w.checkpoint(fields[1], number(2))
	case "blob": // NAME CONTENT
		w.blob(fields[1], strings.Join(fields[2:], " "))
	case "later": // DURATION: the service's clock
		d, err := time.ParseDuration(fields[1])
		require.NoError(w.t, err)
		w.service.ahead.Add(int64(d))
	case "sas": // PERMISSIONS
		permissions := sas.ContainerPermissions{}
		for _, p := range fields[1] {
			switch p {
			case 'r':
				permissions.Read = true
			case 'l':
				permissions.List = true
			case 'w':
				permissions.Write = true
			default:
				w.t.Fatalf("permission %c", p)
			}
		}
		w.useSAS(permissions)
	case "wrong-key":
		const key = "d3Jvbmcga2V5LCB3aGljaCBpcyBsb25nIGVub3VnaA=="
		w.secrets = append(w.secrets, key)
		w.env["AZURE_STORAGE_CONNECTION_STRING"] = strings.Replace(w.service.connectionString, azurite.AccountKey, key, 1)
	case "env": // NAME=VALUE
		name, value, _ := strings.Cut(strings.Join(fields[1:], " "), "=")
		w.env[name] = value
	case "unset": // NAME
		delete(w.env, fields[1])
	default:
		w.t.Fatalf("unknown step %q", fields)
	}
}

// normalised replaces what differs from run to run.
func (w *world) normalised(text string) string {
	text = strings.NewReplacer(
		w.container, "checkpoints",
		w.service.endpoint, "http://127.0.0.1:10000/devstoreaccount1",
		strings.TrimPrefix(strings.TrimSuffix(w.service.endpoint, "/devstoreaccount1"), "http://"), "127.0.0.1:10000",
		w.folder, ".",
	).Replace(text)
	if w.hub != nil {
		text = strings.ReplaceAll(text, w.hub.Namespace(), "127.0.0.1:5672")
	}
	for _, r := range []struct{ pattern, with string }{
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, eventTime},
		{`\d{8}T\d{6}\.\d{3}Z`, "20261121T140000.000Z"},
		{`written \d+s ago`, "written 3s ago"}, // a local file
		{`([1-9]\d*\s+)(?:\d+[dhm])*[\d.]+m?s(\s+(?:ok|expired))`, "${1}12m4s${2}"},
		// A clock is compared by whole seconds, and with the time that a request takes.
		{`clock is (?:5\ds|1m\ds) behind`, "clock is 1m0s behind"},
		{`clock is (?:1h59m5\ds|2h0m\ds) behind`, "clock is 2h0m0s behind"},
		// Writes of more than a second are a warning, as on a machine that is busy.
		{`half within [\dm.]+[mµ]?s, 99% within [\dm.]+[mµ]?s`, "half within 2.1ms, 99% within 4.3ms"},
		{`(?m)^(latency +)warning( .*4\.3ms) +use an account.*$`, "${1}ok${2}  -"},
		{`(?m)^(latency,)warning(,"[^"]*",).*$`, "${1}ok${2}"},
		{`(checkpointstore-(?:ops|check)-)[A-Z0-9]+`, "${1}ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

var (
	tableHead = regexp.MustCompile(`^[A-Z][A-Z ]+$`)
	gap       = regexp.MustCompile(`\s{2,}`)
)

// aligned aligns the columns of a table again.
func aligned(text string) string {
	head, _, _ := strings.Cut(text, "\n")
	if !tableHead.MatchString(head) {
		return text
	}
	var rows [][]string
	var widths []int
	for line := range strings.Lines(text) {
		row := gap.Split(strings.TrimSpace(line), -1)
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
		rows = append(rows, row)
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += fmt.Sprintf("%-*s  ", widths[i], cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// TestREADME: each command in a console block of the README is in a transcript, with
// the same output.
func TestREADME(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	played := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, command := range commands(string(text)) {
			played[command] = true
		}
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.GreaterOrEqual(t, len(blocks), 7)
	for _, block := range blocks {
		for _, command := range commands(block[1]) {
			require.True(t, played[command], "not in a transcript, or not with this output:\n%s", command)
		}
	}
}

// commands splits a transcript into commands with their output, as a terminal shows it.
func commands(transcript string) (all []string) {
	for line := range strings.Lines(transcript) {
		switch {
		case strings.HasPrefix(line, "$ "):
			all = append(all, line)
		case strings.HasPrefix(line, "% ") || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "exit status ") || line == "\n":
		default:
			all[len(all)-1] += strings.TrimPrefix(line, "2> ")
		}
	}
	return all
}
