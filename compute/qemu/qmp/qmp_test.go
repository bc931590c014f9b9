package qmp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-qemu/qmp/raw"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}`

type command struct {
	Execute string `json:"execute"`
	ID      string `json:"id"`
}

// fake is the other end of a connection.
type fake struct {
	net.Conn
	lines *bufio.Scanner
}

func (f *fake) send(t testing.TB, format string, args ...any) {
	t.Helper()
	_, err := fmt.Fprintf(f, format+"\r\n", args...)
	require.NoError(t, err)
}

func (f *fake) receive(t testing.TB) command {
	t.Helper()
	require.True(t, f.lines.Scan(), "the client hung up")
	var c command
	require.NoError(t, json.Unmarshal(f.lines.Bytes(), &c))
	return c
}

// connect gives both ends of a negotiated connection.
func connect(t testing.TB) (*qmp.Client, *fake) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	accepted := make(chan *fake, 1)
	go func() {
		defer func() { _ = listener.Close() }()
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		f := &fake{conn, bufio.NewScanner(conn)}
		f.send(t, greeting)
		c := f.receive(t)
		f.send(t, `{"return": {}, "id": %q}`, c.ID)
		accepted <- f
	}()
	client, err := qmp.Dial(t.Context(), path)
	require.NoError(t, err)
	server := <-accepted
	t.Cleanup(func() {
		require.NoError(t, client.Disconnect())
		_ = server.Close()
	})
	require.Equal(t, "7.2.22", client.Version().String())
	return client, server
}

func TestRepliesFindTheirCommands(t *testing.T) {
	client, server := connect(t)
	type result struct {
		name  string
		reply []byte
		err   error
	}
	results := make(chan result, 2)
	for _, name := range []string{"first", "second"} {
		go func() {
			reply, err := client.RunContext(t.Context(), fmt.Appendf(nil, `{"execute":%q}`, name))
			results <- result{name, reply, err}
		}()
	}
	one, two := server.receive(t), server.receive(t)
	server.send(t, `{"return": {"is": %q}, "id": %q}`, two.Execute, two.ID)
	server.send(t, `{"return": {"is": "nobody's"}, "id": "777"}`)
	server.send(t, `{"return": {"is": %q}, "id": %q}`, one.Execute, one.ID)
	for range 2 {
		r := <-results
		require.NoError(t, r.err)
		require.Contains(t, string(r.reply), fmt.Sprintf(`{"is": %q}`, r.name))
	}
}

func TestTypedCommandsWork(t *testing.T) {
	client, server := connect(t)
	go func() {
		c := server.receive(t)
		server.send(t, `{"return": {"status": "running", "singlestep": false, "running": true}, "id": %q}`, c.ID)
	}()
	status, err := raw.NewMonitor(client.With(t.Context())).QueryStatus()
	require.NoError(t, err)
	require.Equal(t, raw.RunStateRunning, status.Status)
}

func TestAnErrorOfQEMUIsAnError(t *testing.T) {
	client, server := connect(t)
	go func() {
		c := server.receive(t)
		server.send(t, `{"error": {"class": "CommandNotFound", "desc": "no such command"}, "id": %q}`, c.ID)
	}()
	_, err := client.RunContext(t.Context(), []byte(`{"execute":"nonsense"}`))
	var answer *qmp.Error
	require.ErrorAs(t, err, &answer)
	require.Equal(t, "CommandNotFound", answer.Class)
	_, err = client.Run([]byte("nonsense"))
	require.Error(t, err)
	_, err = client.Run([]byte("null"))
	require.Error(t, err)
}

func TestALargeReplyArrivesWhole(t *testing.T) {
	client, server := connect(t)
	large := strings.Repeat("x", 300_000)
	go func() {
		c := server.receive(t)
		server.send(t, `{"return": %q, "id": %q}`, large, c.ID)
	}()
	reply, err := client.RunContext(t.Context(), []byte(`{"execute":"query-qmp-schema"}`))
	require.NoError(t, err)
	require.Contains(t, string(reply), large)
}

func TestACommandEndsWithItsContext(t *testing.T) {
	client, server := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		server.receive(t)
		cancel()
	}()
	_, err := client.RunContext(ctx, []byte(`{"execute":"stop"}`))
	require.ErrorIs(t, err, context.Canceled)
	// The connection is still good, and the late reply is nobody's.
	go func() {
		c := server.receive(t)
		server.send(t, `{"return": {}, "id": "2"}`)
		server.send(t, `{"return": {"n": 3}, "id": %q}`, c.ID)
	}()
	reply, err := client.RunContext(t.Context(), []byte(`{"execute":"cont"}`))
	require.NoError(t, err)
	require.Contains(t, string(reply), `"n": 3`)
}

func TestEventsReachEverySubscriberAndNobodyBlocks(t *testing.T) {
	client, server := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	one, err := client.Events(ctx)
	require.NoError(t, err)
	idle, err := client.Events(t.Context())
	require.NoError(t, err)
	server.send(t, `{"timestamp": {"seconds": 5, "microseconds": 6}, "event": "SHUTDOWN", "data": {"guest": true}}`)
	event := <-one
	require.Equal(t, "SHUTDOWN", event.Event)
	require.Equal(t, true, event.Data["guest"])
	require.EqualValues(t, 5, event.Timestamp.Seconds)
	cancel()
	for range one {
		t.Fatal("no event was sent")
	}
	for range 300 {
		server.send(t, `{"event": "RTC_CHANGE"}`)
	}
	// A reply that comes after them says that they were all handed out.
	go func() {
		c := server.receive(t)
		server.send(t, `{"return": {}, "id": %q}`, c.ID)
	}()
	_, err = client.RunContext(t.Context(), []byte(`{"execute":"stop"}`))
	require.NoError(t, err)
	n := 0
	for range idle {
		n++
	}
	require.Equal(t, 256, n, "a subscriber that does not read is dropped")
}

func TestAConnectionThatEndsFailsWhatWaits(t *testing.T) {
	client, server := connect(t)
	events, err := client.Events(t.Context())
	require.NoError(t, err)
	go func() {
		server.receive(t)
		_ = server.Close()
	}()
	_, err = client.RunContext(t.Context(), []byte(`{"execute":"quit"}`))
	require.ErrorIs(t, err, qmp.ErrClosed)
	_, open := <-events
	require.False(t, open)
	_, err = client.Run([]byte(`{"execute":"quit"}`))
	require.ErrorIs(t, err, qmp.ErrClosed)
	_, err = client.Events(t.Context())
	require.ErrorIs(t, err, qmp.ErrClosed)
}

func TestDialWaitsNoLongerThanItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = qmp.Dial(ctx, path)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = qmp.Dial(t.Context(), path+"-none")
	require.Error(t, err)
}
