//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/internal/fault"
	"golang.org/x/sys/unix"
)

// ConsoleLog returns the last lines of what the server printed on its serial console, all that is kept when lines is 0.
func (d *Driver) ConsoleLog(_ context.Context, id string, lines int) ([]byte, error) {
	if err := validID(id); err != nil {
		return nil, err
	}
	if _, err := d.load(id); errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(ErrNotFound, "qemu: server %s does not exist here", id)
	}
	data, err := readTail(filepath.Join(d.dir(id), consoleFile), d.o.ConsoleBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("qemu: console of server %s: %w", id, err)
	}
	return lastLines(data, lines), nil
}

// lastLines cuts all but the last n lines away; a line without an end counts.
func lastLines(data []byte, n int) []byte {
	if n <= 0 {
		return data
	}
	end := len(data)
	if end > 0 && data[end-1] == '\n' {
		end--
	}
	for range n {
		if end = bytes.LastIndexByte(data[:end], '\n'); end < 0 {
			return data
		}
	}
	return data[end+1:]
}

// readTail reads the last limit bytes of a file.
func readTail(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	start := max(info.Size()-limit, 0)
	data, err := io.ReadAll(io.NewSectionReader(file, start, limit))
	if err != nil || start == 0 {
		return data, err
	}
	// What was cut out of the file before reads as zeros.
	return bytes.TrimLeft(data, "\x00"), nil
}

// trim gives back the space of all but the last limit bytes of a log that QEMU appends to; nothing is lost in between.
// Where the file system cannot punch holes the log begins anew.
func trim(path string, limit int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil || stat.Blocks*512 <= 2*limit {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, stat.Size-limit)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return file.Truncate(0)
	}
	return err
}
