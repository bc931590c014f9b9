package nbd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// The protocol's numbers.
const (
	magicServer     = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption     = 0x49484156454f5054 // "IHAVEOPT"
	magicAnswer     = 0x3e889045565a9
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef

	handshakeFixed    = 1
	handshakeNoZeroes = 2

	optionStartTLS    = 5
	optionGo          = 7
	optionStructured  = 8
	optionMetaContext = 10

	answerAck         = 1
	answerInfo        = 3
	answerMetaContext = 4
	answerError       = 1 << 31

	infoExport = 0

	flagHasFlags    = 1 << 0
	flagReadOnly    = 1 << 1
	flagFlush       = 1 << 2
	flagTrim        = 1 << 5
	flagWriteZeroes = 1 << 6

	commandRead        = 0
	commandWrite       = 1
	commandDisconnect  = 2
	commandFlush       = 3
	commandTrim        = 4
	commandWriteZeroes = 6
	commandBlockStatus = 7

	chunkDone   = 1
	chunkNone   = 0
	chunkData   = 1
	chunkHole   = 2
	chunkStatus = 5
	chunkError  = 1 << 15

	stateZero = 2
)

// commandNames are for errors.
func commandName(command uint16) string {
	switch command {
	case commandRead:
		return "read"
	case commandWrite:
		return "write"
	case commandFlush:
		return "flush"
	case commandTrim:
		return "trim"
	case commandWriteZeroes:
		return "write zeroes"
	case commandBlockStatus:
		return "block status"
	}
	return fmt.Sprintf("command %d", command)
}

// maxAnswer bounds what a server may send outside of reads: 128 Ki extents, as many as QEMU sends.
const maxAnswer = 1<<20 + 64

// allocationContext is the context that tells holes.
const allocationContext = "base:allocation"

// open does the handshake.
func (c *Client) open(ctx context.Context) error {
	var hello struct {
		Magic, Option uint64
		Flags         uint16
	}
	if err := binary.Read(c.conn, binary.BigEndian, &hello); err != nil {
		return err
	}
	if hello.Magic != magicServer || hello.Option != magicOption || hello.Flags&handshakeFixed == 0 {
		return fmt.Errorf("%w: no fixed newstyle handshake", ErrProtocol)
	}
	if err := binary.Write(c.conn, binary.BigEndian, uint32(hello.Flags&(handshakeFixed|handshakeNoZeroes))); err != nil {
		return err
	}
	if c.o.TLS != nil {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	err := c.option(optionStructured, nil, nil)
	c.structured = err == nil
	if err := unlessRefused(err); err != nil {
		return err
	}
	if c.structured {
		if err := unlessRefused(c.askContext()); err != nil {
			return err
		}
	}
	return c.start()
}

// refusal is a server's answer to an option that it does not grant.
type refusal struct {
	option, kind uint32
	message      string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("NBD server: option %d refused (%#x): %s", r.option, r.kind, r.message)
}

func unlessRefused(err error) error {
	var r *refusal
	if errors.As(err, &r) {
		return nil
	}
	return err
}

// option sends one and reads the answers, up to the one that ends it. Those between go to got.
func (c *Client) option(option uint32, data []byte, got func(kind uint32, data []byte) error) error {
	b := binary.BigEndian.AppendUint64(nil, magicOption)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	if _, err := c.conn.Write(append(b, data...)); err != nil {
		return err
	}
	for {
		var head struct {
			Magic                uint64
			Option, Kind, Length uint32
		}
		if err := binary.Read(c.conn, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Magic != magicAnswer || head.Option != option || head.Length > maxAnswer {
			return fmt.Errorf("%w: an answer to option %d that is none", ErrProtocol, option)
		}
		data := make([]byte, head.Length)
		if _, err := io.ReadFull(c.conn, data); err != nil {
			return err
		}
		switch {
		case head.Kind == answerAck:
			return nil
		case head.Kind&answerError != 0:
			return &refusal{option, head.Kind, string(data)}
		case got == nil:
			return fmt.Errorf("%w: answer %d to option %d", ErrProtocol, head.Kind, option)
		}
		if err := got(head.Kind, data); err != nil {
			return err
		}
	}
}

func (c *Client) startTLS(ctx context.Context) error {
	if err := c.option(optionStartTLS, nil, nil); err != nil {
		return err
	}
	secured := tls.Client(c.conn, c.o.TLS)
	c.conn = secured
	return secured.HandshakeContext(ctx)
}

// askContext asks whether holes can be told.
func (c *Client) askContext() error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(c.o.Export)))
	b = append(b, c.o.Export...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(len(allocationContext)))
	return c.option(optionMetaContext, append(b, allocationContext...), func(kind uint32, data []byte) error {
		if kind == answerMetaContext && len(data) >= 4 && string(data[4:]) == allocationContext {
			c.context, c.allocation = binary.BigEndian.Uint32(data), true
		}
		return nil
	})
}

// start asks for the export.
func (c *Client) start() error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(c.o.Export)))
	b = append(b, c.o.Export...)
	// No information is asked for beyond what every server gives. One that is not asked for block sizes takes any.
	b = binary.BigEndian.AppendUint16(b, 0)
	told := false
	err := c.option(optionGo, b, func(kind uint32, data []byte) error {
		if kind != answerInfo || len(data) < 12 || binary.BigEndian.Uint16(data) != infoExport {
			return nil
		}
		size := binary.BigEndian.Uint64(data[2:])
		c.flags = binary.BigEndian.Uint16(data[10:])
		if size > math.MaxInt64 || c.flags&flagHasFlags == 0 {
			return fmt.Errorf("%w: an export of %d bytes, flags %#x", ErrProtocol, size, c.flags)
		}
		c.size, told = int64(size), true
		return nil
	})
	if err == nil && !told {
		err = fmt.Errorf("%w: an export without a size", ErrProtocol)
	}
	return err
}

// request is one of the transmission phase. What is read goes into into, extents to extents.
type request struct {
	command uint16
	offset  int64
	length  uint32
	data    []byte
	into    []byte
	extents *[]extent
}

func (r request) head(cookie uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, magicRequest)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, r.command)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
	return binary.BigEndian.AppendUint32(b, r.length)
}

// do sends a request and reads the reply.
func (c *Client) do(r request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	_ = c.conn.SetDeadline(time.Now().Add(c.o.Timeout))
	c.cookie++
	_, err := c.conn.Write(append(r.head(c.cookie), r.data...))
	if err == nil {
		err = c.reply(r)
	}
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		// What the server sends next belongs to nobody.
		c.failed = fmt.Errorf("NBD %s: %w", commandName(r.command), err)
		return c.failed
	}
	return err
}

func (c *Client) reply(r request) error {
	var magic uint32
	if err := binary.Read(c.conn, binary.BigEndian, &magic); err != nil {
		return err
	}
	switch {
	case magic == magicSimple && !(c.structured && r.into != nil):
		return c.simple(r)
	case magic == magicStructured && c.structured:
		return c.chunks(r)
	}
	return fmt.Errorf("%w: a reply begins with %#x", ErrProtocol, magic)
}

func (c *Client) simple(r request) error {
	var head struct {
		Error  uint32
		Cookie uint64
	}
	if err := binary.Read(c.conn, binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Cookie != c.cookie {
		return fmt.Errorf("%w: a reply to another request", ErrProtocol)
	}
	if head.Error != 0 {
		return &Error{Command: commandName(r.command), Number: head.Error}
	}
	_, err := io.ReadFull(c.conn, r.into)
	return err
}

// chunks reads a reply in pieces, up to the last.
func (c *Client) chunks(r request) error {
	var failed error
	left := int64(len(r.into))
	for {
		var head struct {
			Flags, Kind uint16
			Cookie      uint64
			Length      uint32
		}
		if err := binary.Read(c.conn, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Cookie != c.cookie || int64(head.Length) > maxAnswer+int64(len(r.into)) {
			return fmt.Errorf("%w: a chunk of another request, or too long", ErrProtocol)
		}
		n, err := c.chunk(r, head.Kind, int64(head.Length))
		var refused *Error
		if errors.As(err, &refused) {
			failed = err
		} else if err != nil {
			return err
		}
		left -= n
		if head.Flags&chunkDone != 0 {
			break
		}
		var magic uint32
		if err := binary.Read(c.conn, binary.BigEndian, &magic); err != nil {
			return err
		}
		if magic != magicStructured {
			return fmt.Errorf("%w: a chunk begins with %#x", ErrProtocol, magic)
		}
	}
	if failed == nil && left != 0 {
		return fmt.Errorf("%w: %d bytes were not sent", ErrProtocol, left)
	}
	return failed
}

// chunk takes one, and says how much of what is read it was.
func (c *Client) chunk(r request, kind uint16, length int64) (int64, error) {
	if kind == chunkData && length >= 8 && r.into != nil {
		var offset uint64
		if err := binary.Read(c.conn, binary.BigEndian, &offset); err != nil {
			return 0, err
		}
		part, err := r.part(offset, length-8)
		if err == nil {
			_, err = io.ReadFull(c.conn, part)
		}
		return length - 8, err
	}
	if length > maxAnswer {
		return 0, fmt.Errorf("%w: a chunk of %d bytes", ErrProtocol, length)
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return 0, err
	}
	switch {
	case kind == chunkNone && length == 0:
		return 0, nil
	case kind == chunkHole && length == 12 && r.into != nil:
		n := int64(binary.BigEndian.Uint32(b[8:]))
		part, err := r.part(binary.BigEndian.Uint64(b), n)
		clear(part)
		return n, err
	case kind == chunkStatus && length >= 12 && r.extents != nil && binary.BigEndian.Uint32(b) == c.context:
		all, err := parseExtents(b[4:])
		*r.extents = all
		return 0, err
	case kind&chunkError != 0 && length >= 6:
		message := b[6:][:min(length-6, int64(binary.BigEndian.Uint16(b[4:])))]
		return 0, &Error{commandName(r.command), binary.BigEndian.Uint32(b), string(bytes.ToValidUTF8(message, nil))}
	}
	return 0, fmt.Errorf("%w: a chunk of kind %d, %d bytes", ErrProtocol, kind, length)
}

// part is where so many bytes at offset go that were asked for.
func (r request) part(offset uint64, length int64) ([]byte, error) {
	at := int64(offset - uint64(r.offset))
	if offset < uint64(r.offset) || at < 0 || at > int64(len(r.into)) || length > int64(len(r.into))-at {
		return nil, fmt.Errorf("%w: %d bytes at %d were not asked for", ErrProtocol, length, offset)
	}
	return r.into[at:][:length], nil
}
