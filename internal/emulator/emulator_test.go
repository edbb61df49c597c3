package emulator_test

// What clients see is tested with azeventhubs' own, in processor/internal/emulatortest.

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore/internal/emulator"
)

// testContext bounds what must happen, so that a defect fails instead of hanging.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestArguments(t *testing.T) {
	e := emulator.Start(t, emulator.Options{Partitions: 2, Events: 3, FirstSequenceNumber: 10})
	ctx := testContext(t)
	_, stealing := e.Steal("2")
	_, before := e.EnqueuedTime("0", 9)
	_, after := e.EnqueuedTime("0", 13)
	_, elsewhere := e.EnqueuedTime("2", 10)
	for says, err := range map[string]error{
		`deny: no partition 2`:                                               e.Deny(emulator.Partition("2"), emulator.NotFound),
		`deny: no partition 02`:                                              e.Deny(emulator.Partition("02"), emulator.NotFound),
		`allow: no partition 2`:                                              e.Allow(emulator.Partition("2")),
		`hang: no partition 2`:                                               e.Hang(emulator.Partition("2")),
		`resume: no partition 2`:                                             e.Resume(emulator.Partition("2")),
		`steal: no partition 2`:                                              stealing,
		`hang: "" is not a target`:                                           e.Hang(""),
		`hang: "0" is not a target`:                                          e.Hang("0"),
		`hang: "partition " is not a target`:                                 e.Hang(emulator.Partition("")),
		`deny: "" is not an AMQP error condition`:                            e.Deny(emulator.Everything, ""),
		`deny: "unauthorized" is not an AMQP error condition`:                e.Deny(emulator.Everything, "unauthorized"),
		`deny: "amqp:" is not an AMQP error condition`:                       e.Deny(emulator.Everything, "amqp:"),
		`expand: the hub has 2 partitions`:                                   e.Expand(2),
		`time: no event 9 in partition 0`:                                    before,
		`time: no event 13 in partition 0`:                                   after,
		`time: no partition 2`:                                               elsewhere,
		`partition 2, 1 opened: await: no partition 2`:                       e.Await(ctx, emulator.Partition("2"), emulator.LinksOpened, 1),
		`partition 0, 1 answered: await: answered is not counted here`:       e.Await(ctx, emulator.Partition("0"), emulator.RequestsAnswered, 1),
		`management, 1 opened: await: opened is not counted here`:            e.Await(ctx, emulator.Management, emulator.LinksOpened, 1),
		`partitions, 1 opened: await: nothing is counted for all partitions`: e.Await(ctx, emulator.AllPartitions, emulator.LinksOpened, 1),
		`zz, 1 opened: "zz" is not a target`:                                 e.Await(ctx, "zz", emulator.LinksOpened, 1),
		`partition 0, 1 toString: await: toString is not counted here`:       e.Await(ctx, emulator.Partition("0"), "toString", 1),
	} {
		require.ErrorContains(t, err, says)
	}
	require.ErrorContains(t, e.Expand(1), "the hub has 2 partitions")
	require.ErrorContains(t, e.Expand(-1), "the hub has 2 partitions")
	for _, condition := range []emulator.Condition{
		emulator.UnauthorizedAccess, emulator.NotFound, emulator.ResourceLimitExceeded, emulator.ServerBusy, emulator.LinkStolen,
		"com.microsoft:georeplication:invalid-offset",
	} {
		require.NoError(t, e.Deny(emulator.AllPartitions, condition))
	}
	require.NoError(t, e.Expand(3))
	require.NoError(t, e.Hang(emulator.Partition("2")))
	require.EqualValues(t, 9, e.Last("2"))
	readers, err := e.Steal("2")
	require.NoError(t, err)
	require.Zero(t, readers)
}

func TestEnqueuedTimesDoNotDecrease(t *testing.T) {
	const first = 1 << 60 // more than a JavaScript number can tell apart
	e := emulator.Start(t, emulator.Options{Partitions: 1, Events: 3, FirstSequenceNumber: first})
	e.Append(t, "0", 2)
	e.Append(t, "0", 1)
	var times []time.Time
	for n := range int64(6) {
		when, err := e.EnqueuedTime("0", first+n)
		require.NoError(t, err)
		times = append(times, when)
	}
	require.Equal(t, time.Millisecond, times[1].Sub(times[0]))
	require.Equal(t, time.Millisecond, times[2].Sub(times[1]))
	require.True(t, times[3].After(times[2]))
	require.Equal(t, times[3], times[4], "appended together")
	require.True(t, times[5].After(times[4]))
}

func TestOffsetAndBody(t *testing.T) {
	require.Equal(t, "64", emulator.Offset(0))
	require.Equal(t, "640", emulator.Offset(9))
	require.Equal(t, `{"p":"3","n":9}`, emulator.Body("3", 9))
}

// TestConnections counts plain TCP connections, which say nothing of AMQP.
func TestConnections(t *testing.T) {
	e := emulator.Start(t, emulator.Options{})
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", e.Namespace())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	first := dial()
	require.NoError(t, e.Await(testContext(t), emulator.Everything, emulator.ConnectionsAccepted, 1))
	require.NoError(t, e.Hang(emulator.Everything))
	second := dial()
	require.NoError(t, e.Await(testContext(t), emulator.Everything, emulator.ConnectionsHeld, 1))
	n, err := e.DropConnections()
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, conn := range []net.Conn{first, second} {
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err, "the end of the connection")
	}
	n, err = e.DropConnections()
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestAfterCloseNothingWorks(t *testing.T) {
	e := emulator.Start(t, emulator.Options{})
	waiting := make(chan error, 1)
	go func() { waiting <- e.Await(context.Background(), emulator.Management, emulator.RequestsAnswered, 1) }()
	e.Close()
	e.Close()
	require.Error(t, <-waiting)
	for i, err := range []error{e.AppendAll(1), e.SetRate(1), e.Expand(9), e.Deny(emulator.Everything, emulator.NotFound), e.Hang(emulator.Everything)} {
		require.Error(t, err, fmt.Sprint(i))
	}
	require.EqualValues(t, -1, e.Last("0"))
	require.Nil(t, e.Stats())
}
