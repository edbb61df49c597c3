//go:build unix

package emulatortest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

const (
	consumerVariable = "EMULATOR_TEST_CONSUMER"
	levelVariable    = "EMULATOR_TEST_LEVEL"
)

// TestMain makes a consumer process of this binary if the environment asks for one.
func TestMain(m *testing.M) {
	if connection := os.Getenv(consumerVariable); connection != "" {
		if err := consume(connection, os.Getenv(levelVariable)); err != nil {
			fmt.Println(err)
		}
		return
	}
	os.Exit(m.Run())
}

// consume reads partition 0 and prints a line for each event.
func consume(connection, level string) error {
	ownerLevel, err := strconv.ParseInt(level, 10, 64)
	if err != nil {
		return err
	}
	client, err := azeventhubs.NewConsumerClientFromConnectionString(connection, "", "$Default", nil)
	if err != nil {
		return err
	}
	reader, err := client.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: to.Ptr(ownerLevel)})
	if err != nil {
		return err
	}
	for {
		events, err := reader.ReceiveEvents(context.Background(), 1, nil)
		if err != nil {
			return err
		}
		fmt.Println("event", events[0].SequenceNumber)
	}
}

// startConsumer starts a process that reads partition 0, and returns it when it has read five events.
func startConsumer(t *testing.T, e *emulator.Emulator, level int64) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	consumer := exec.Command(os.Args[0])
	consumer.Env = append(os.Environ(), consumerVariable+"="+e.ConnectionString(), levelVariable+"="+strconv.FormatInt(level, 10))
	output, err := consumer.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, consumer.Start())
	t.Cleanup(func() {
		_ = consumer.Process.Kill()
		_ = consumer.Wait()
	})
	lines := bufio.NewScanner(output)
	for i := range 5 {
		require.True(t, lines.Scan())
		require.Equal(t, fmt.Sprint("event ", i), lines.Text())
	}
	return consumer, lines
}

func TestKilledConsumerFreesThePartition(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	consumer, _ := startConsumer(t, e, 9)
	require.NoError(t, consumer.Process.Kill())
	requireFreed(t, e)
	require.Zero(t, e.Stats()["0"].LinksStolen)
}

func TestStoppedConsumerHoldsUpNobody(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 5})
	consumer, lines := startConsumer(t, e, 0)
	require.NoError(t, consumer.Process.Signal(syscall.SIGSTOP))
	e.Append(t, "0", 1000) // more than the stopped consumer takes
	thief := newReader(t, newConsumer(t, e, "$Default"), "0", owner(0))
	requireEvents(t, thief, "0", 0, 1005)
	require.EqualValues(t, 1, e.Stats()["0"].LinksStolen)

	require.NoError(t, consumer.Process.Signal(syscall.SIGCONT))
	last := ""
	for lines.Scan() { // what it had been sent before, and then why it ends
		last = lines.Text()
	}
	require.Contains(t, last, "ownershiplost")
	e.Append(t, "0", 1)
	requireEvents(t, thief, "0", 1005, 1)
}
