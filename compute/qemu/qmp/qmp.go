// Package qmp is a client of QEMU's control protocol (QMP: docs/interop/qmp-spec.rst in QEMU's sources).
//
//	client, err := qmp.Dial(ctx, "/run/vm1/qmp")
//	defer func() { _ = client.Disconnect() }()
//	status, err := raw.NewMonitor(client.With(ctx)).QueryStatus()
//
// It implements the Monitor interface of github.com/digitalocean/go-qemu/qmp, so that the typed commands of its package
// raw work over it, and differs from that module's own client in what a host that runs many servers needs: every call
// ends with its context, replies belong to commands by identifier, a reply may be of any size up to a bound, and events
// never stop replies.
//
// It needs nothing from the host but the Unix socket of a running QEMU. It does not start QEMU, does not reconnect, and
// knows no commands itself.
//
// Errors that QEMU answers are of type [*Error]; a connection that ended gives [ErrClosed], a call that was given up
// its context's error. A [Client] is safe for concurrent use: calls wait for their own replies. It holds a goroutine
// until Disconnect or until QEMU hangs up; QEMU notices neither, and goes on.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	goqemu "github.com/digitalocean/go-qemu/qmp"
)

// ErrClosed is returned for commands on a connection that has ended.
var ErrClosed = errors.New("qmp: connection closed")

// eventBuffer is how many events may wait for one subscriber.
const eventBuffer = 256

// Event is something that happened in QEMU.
type Event = goqemu.Event

// Error is QEMU's answer to a command that failed.
type Error struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *Error) Error() string { return "qmp: " + e.Desc }

var _ goqemu.Monitor = (*Client)(nil)

// Client is a connection to one QEMU.
type Client struct {
	conn *net.UnixConn
	// version is what the greeting said.
	version goqemu.Version
	// write is held while a command is written.
	write sync.Mutex

	mu      sync.Mutex
	next    uint64
	pending map[string]chan message
	events  map[chan Event]struct{}
	// done is closed, and err set, when the connection has ended.
	done chan struct{}
	err  error
}

// Dial connects to the QMP socket at path and negotiates. QEMU serves one client at a time and greets it when the
// machine has been set up: until then, or while somebody else is connected, Dial waits, as long as ctx allows.
func Dial(ctx context.Context, path string) (*Client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	client, err := negotiate(ctx, conn.(*net.UnixConn))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return client, nil
}

func negotiate(ctx context.Context, conn *net.UnixConn) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	reader := bufio.NewReader(conn)
	greeting, err := readMessage(reader)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("qmp: greeting: %w", err), ctx.Err())
	}
	if greeting.Greeting == nil {
		return nil, errors.New("qmp: not a QMP server: no greeting")
	}
	c := &Client{
		conn: conn, version: greeting.Greeting.Version,
		pending: map[string]chan message{}, events: map[chan Event]struct{}{}, done: make(chan struct{}),
	}
	go c.read(reader)
	if _, err := c.RunContext(ctx, []byte(`{"execute":"qmp_capabilities"}`)); err != nil {
		// Where ctx ended, the reader may have found the connection closed first.
		return nil, errors.Join(err, ctx.Err(), c.Disconnect())
	}
	return c, nil
}

// Version is QEMU's version.
func (c *Client) Version() goqemu.Version { return c.version }

// Connect is part of go-qemu's interface; a Client is connected from the start.
func (c *Client) Connect() error { return nil }

// Disconnect ends the connection; commands under way fail and the channels of events are closed.
func (c *Client) Disconnect() error {
	err := c.conn.Close()
	<-c.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// With is the client with a context for every command: raw.NewMonitor(client.With(ctx)).
func (c *Client) With(ctx context.Context) goqemu.Monitor { return &bound{c, ctx} }

type bound struct {
	*Client
	ctx context.Context
}

func (b *bound) Run(command []byte) ([]byte, error) { return b.RunContext(b.ctx, command) }

// Run runs a command, given as JSON, without a deadline: see [Client.RunContext].
func (c *Client) Run(command []byte) ([]byte, error) {
	return c.RunContext(context.Background(), command)
}

// RunContext runs a command, given as JSON ({"execute": …, "arguments": …}), and returns QEMU's whole reply
// ({"return": …}). A command that was sent is not undone when ctx ends first.
func (c *Client) RunContext(ctx context.Context, command []byte) ([]byte, error) {
	return c.run(ctx, command, nil)
}

func (c *Client) run(ctx context.Context, command, control []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(command, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("qmp: a command is a JSON object: %w", err)
	}
	id, reply, err := c.register()
	if err != nil {
		return nil, err
	}
	defer c.forget(id)
	fields["id"] = json.RawMessage(strconv.Quote(id))
	line, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	if err := c.send(ctx, append(line, '\n'), control); err != nil {
		return nil, err
	}
	select {
	case answer := <-reply:
		if answer.Error != nil {
			return nil, answer.Error
		}
		return answer.raw, nil
	case <-c.done:
		return nil, c.err
	case <-ctx.Done():
		return nil, fmt.Errorf("qmp: %s: %w", fields["execute"], ctx.Err())
	}
}

func (c *Client) register() (string, chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		return "", nil, c.err
	}
	c.next++
	id := strconv.FormatUint(c.next, 10)
	reply := make(chan message, 1)
	c.pending[id] = reply
	return id, reply, nil
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// send writes one command. Half a command would spoil the connection, so that one cut short ends it.
func (c *Client) send(ctx context.Context, line, control []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	n, _, err := c.conn.WriteMsgUnix(line, control, nil)
	if err == nil && n < len(line) {
		_, err = c.conn.Write(line[n:])
	}
	if !stop() {
		<-interrupted
		_ = c.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	_ = c.conn.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// Events subscribes to what happens from now on. The channel is closed when ctx ends, when the connection ends, or
// when 256 events wait in it unread.
func (c *Client) Events(ctx context.Context) (<-chan Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == nil {
		return nil, c.err
	}
	events := make(chan Event, eventBuffer)
	c.events[events] = struct{}{}
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.unsubscribe(events)
	})
	return events, nil
}

// unsubscribe closes a channel of events once; c.mu is held.
func (c *Client) unsubscribe(events chan Event) {
	if _, ok := c.events[events]; ok {
		delete(c.events, events)
		close(events)
	}
}

// read hands out what QEMU sends, until the connection ends.
func (c *Client) read(reader *bufio.Reader) {
	for {
		m, err := readMessage(reader)
		if err != nil {
			c.fail(err)
			return
		}
		c.deliver(m)
	}
}

func (c *Client) deliver(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case m.Event != "":
		for events := range c.events {
			select {
			case events <- m.event():
			default:
				c.unsubscribe(events)
			}
		}
	case m.id() != "":
		if reply, ok := c.pending[m.id()]; ok {
			delete(c.pending, m.id())
			reply <- m
		}
	}
}

func (c *Client) fail(err error) {
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	c.pending = nil
	for events := range c.events {
		c.unsubscribe(events)
	}
	c.events = nil
	close(c.done)
}
