// Package nbd is a client of the Network Block Device protocol
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md): an export of a server, over TCP or a Unix socket, with or
// without TLS, as a [driver.Device] that knows where nothing was written.
//
// It speaks the fixed newstyle handshake with NBD_OPT_GO, and asks for structured replies and the context base:allocation, without
// which all is taken for data. It needs a server, and nothing else of the host. It does not reconnect: when a connection has
// failed, each call fails.
//
// Errors of the server are [Error]; what the protocol forbids is [ErrProtocol]; others are the connection's. A client is safe for
// concurrent use; its requests are sent one after the other.
package nbd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
)

// ErrProtocol is wrapped by errors about a server that does not speak the protocol.
var ErrProtocol = errors.New("not the NBD protocol")

// Error is a server's answer to a request that failed: an error number of the protocol's, the same as Linux's.
type Error struct {
	Command string
	Number  uint32
	Message string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("NBD server: %s: %v", e.Command, syscall.Errno(e.Number))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap is the error number.
func (e *Error) Unwrap() error { return syscall.Errno(e.Number) }

// DefaultTimeout is how long one request may take.
const DefaultTimeout = time.Minute

// Options says what to ask a server for.
type Options struct {
	// Export is its name.
	Export string
	// TLS has the connection encrypted, and the server authenticated, before anything is asked; nil does not.
	TLS *tls.Config
	// Timeout bounds each request. Default: [DefaultTimeout].
	Timeout time.Duration
}

// Client is an open export.
type Client struct {
	size  int64
	flags uint16
	o     Options

	mu         sync.Mutex
	conn       net.Conn
	failed     error
	cookie     uint64
	structured bool
	context    uint32 // of base:allocation, if allocation
	allocation bool
}

var (
	_ driver.Device = (*Client)(nil)
	_ driver.Sparse = (*Client)(nil)
)

// Dial connects to a server and opens an export. Network and address are as for [net.Dial]. o may be nil.
func Dial(ctx context.Context, network, address string, o *Options) (*Client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return New(ctx, conn, o)
}

// New opens an export by a connection that it takes over, and closes when it fails.
func New(ctx context.Context, conn net.Conn, o *Options) (*Client, error) {
	c := &Client{conn: conn}
	if o != nil {
		c.o = *o
	}
	if c.o.Timeout <= 0 {
		c.o.Timeout = DefaultTimeout
	}
	ended := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	_ = conn.SetDeadline(time.Now().Add(c.o.Timeout))
	err := c.open(ctx)
	if !ended() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open export %q: %w", c.o.Export, err), c.conn.Close())
	}
	return c, nil
}

// Size is the export's.
func (c *Client) Size() int64 { return c.size }

// ReadOnly says whether the server refuses to write.
func (c *Client) ReadOnly() bool { return c.flags&flagReadOnly != 0 }

// largest is how much one request reads or writes; every server takes 32 MiB.
const largest = 4 << 20

// ReadAt reads.
func (c *Client) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("NBD read at %d: %w", offset, fs.ErrInvalid)
	}
	n := int(max(0, min(int64(len(b)), c.size-offset)))
	done := 0
	for part := range slices.Chunk(b[:n], largest) {
		if err := c.do(request{command: commandRead, offset: offset + int64(done), length: uint32(len(part)), into: part}); err != nil {
			return done, err
		}
		done += len(part)
	}
	if done < len(b) {
		return done, io.EOF
	}
	return done, nil
}

// inside says whether so many bytes at offset can be written.
func (c *Client) inside(offset, length int64) error {
	switch {
	case c.ReadOnly():
		return fmt.Errorf("NBD write: %w", fs.ErrPermission)
	case offset < 0 || length < 0 || offset > c.size || length > c.size-offset:
		return fmt.Errorf("NBD write of %d bytes at %d, not inside %d: %w", length, offset, c.size, fs.ErrInvalid)
	}
	return nil
}

// WriteAt writes. It is durable after Sync.
func (c *Client) WriteAt(b []byte, offset int64) (int, error) {
	if err := c.inside(offset, int64(len(b))); err != nil {
		return 0, err
	}
	done := 0
	for part := range slices.Chunk(b, largest) {
		if err := c.do(request{command: commandWrite, offset: offset + int64(done), length: uint32(len(part)), data: part}); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// Sync makes durable what was written, if the server can.
func (c *Client) Sync() error {
	if c.flags&flagFlush == 0 {
		return nil
	}
	return c.do(request{command: commandFlush})
}

// farthest is how much one request zeroes or asks for: a whole number of any block, in 32 bits.
const farthest = 1 << 30

// Zero makes zeroes of length bytes, as holes where the server can; by writing them where it cannot at all.
func (c *Client) Zero(offset, length int64) error {
	if err := c.inside(offset, length); err != nil {
		return err
	}
	if c.flags&flagWriteZeroes == 0 {
		return c.writeZeroes(offset, length)
	}
	return c.overAll(commandWriteZeroes, offset, length)
}

// Trim tells the server that the content of length bytes does not matter any more. Where it cannot be told, nothing happens.
func (c *Client) Trim(offset, length int64) error {
	if err := c.inside(offset, length); err != nil || c.flags&flagTrim == 0 {
		return err
	}
	return c.overAll(commandTrim, offset, length)
}

func (c *Client) overAll(command uint16, offset, length int64) error {
	for length > 0 {
		n := min(length, farthest)
		if err := c.do(request{command: command, offset: offset, length: uint32(n)}); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

func (c *Client) writeZeroes(offset, length int64) error {
	zeroes := make([]byte, min(length, largest))
	for length > 0 {
		n := min(length, largest)
		if _, err := c.WriteAt(zeroes[:n], offset); err != nil {
			return err
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// NextData finds the next extent that is not known to be zeroes.
func (c *Client) NextData(offset int64) (start, end int64, err error) {
	if offset < 0 {
		return 0, 0, fmt.Errorf("NBD extents at %d: %w", offset, fs.ErrInvalid)
	}
	for offset < c.size {
		if !c.allocation {
			return offset, c.size, nil
		}
		var extents []extent
		if err := c.do(request{command: commandBlockStatus, offset: offset, length: uint32(min(farthest, c.size-offset)), extents: &extents}); err != nil {
			return 0, 0, err
		}
		if len(extents) == 0 {
			return 0, 0, fmt.Errorf("%w: no extents", ErrProtocol)
		}
		for _, e := range extents {
			next := min(offset+int64(e.length), c.size)
			if !e.zero && start == end {
				start = offset
			}
			if !e.zero {
				end = next
			} else if start != end {
				return start, end, nil
			}
			offset = next
		}
		if start != end {
			return start, end, nil
		}
	}
	return 0, 0, io.EOF
}

// Close takes leave of the server.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(c.failed, fs.ErrClosed) {
		return c.failed
	}
	before := c.failed
	if before == nil {
		_ = c.conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.conn.Write(request{command: commandDisconnect}.head(c.cookie + 1))
	}
	c.failed = fmt.Errorf("NBD client: %w", fs.ErrClosed)
	if err := c.conn.Close(); before == nil {
		return err
	}
	return nil // the failure has been told
}

// extent is a part of an export.
type extent struct {
	length uint32
	zero   bool
}

func parseExtents(b []byte) ([]extent, error) {
	var all []extent
	for ; len(b) >= 8; b = b[8:] {
		e := extent{length: binary.BigEndian.Uint32(b), zero: binary.BigEndian.Uint32(b[4:])&stateZero != 0}
		if e.length == 0 {
			return nil, fmt.Errorf("%w: an extent of no length", ErrProtocol)
		}
		all = append(all, e)
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: half an extent", ErrProtocol)
	}
	return all, nil
}
