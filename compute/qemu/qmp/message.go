package qmp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	goqemu "github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"
)

// maxMessage bounds one message; the largest known reply, query-qmp-schema's, has 207 KB.
const maxMessage = 16 << 20

// message is anything QEMU sends: a greeting, a reply or an event, one line of JSON each.
type message struct {
	Greeting *struct {
		Version goqemu.Version `json:"version"`
	} `json:"QMP"`
	ID    json.RawMessage `json:"id"`
	Error *Error          `json:"error"`

	Event     string         `json:"event"`
	Data      map[string]any `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`

	raw []byte
}

// id is the identifier of the command that a reply answers; ours are strings.
func (m *message) id() string {
	var id string
	if json.Unmarshal(m.ID, &id) != nil {
		return ""
	}
	return id
}

func (m *message) event() Event {
	return Event{Event: m.Event, Data: m.Data, Timestamp: m.Timestamp}
}

// readMessage reads and decodes the next line that is not empty.
func readMessage(r *bufio.Reader) (message, error) {
	for {
		line, err := readLine(r)
		if err != nil {
			return message{}, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return decode(line)
		}
	}
}

func decode(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("not a QMP message: %w", err)
	}
	m.raw = line
	return m, nil
}

// readLine reads a line into memory of its own, refusing one that is longer than a message may be.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxMessage:
			return nil, fmt.Errorf("message of more than %d bytes", maxMessage)
		}
	}
}

// RunWithFile runs a command and hands QEMU an open file with it (SCM_RIGHTS), as getfd and add-fd need.
func (c *Client) RunWithFile(ctx context.Context, command []byte, file *os.File) ([]byte, error) {
	return c.run(ctx, command, unix.UnixRights(int(file.Fd())))
}
