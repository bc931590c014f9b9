package volume

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/kintoun/kintoun/volume/driver"
)

// copyBlock is how much is read, written, or found to be zeroes, at once.
const copyBlock = 1 << 20

// newObjectReader reads an object that is in memory.
func newObjectReader(object []byte) io.Reader { return bytes.NewReader(object) }

// nextDataer knows where there may be something but zeroes: [driver.Sparse], [SparseImage].
type nextDataer interface {
	NextData(offset int64) (start, end int64, err error)
}

// readSparse fills data from offset on, and reads only where there may be something but zeroes.
func readSparse(ctx context.Context, from io.ReaderAt, data []byte, offset int64) error {
	sparse, ok := from.(nextDataer)
	if !ok {
		return readBlocks(ctx, from, data, offset)
	}
	clear(data)
	end := offset + int64(len(data))
	for at := offset; at < end; {
		start, stop, err := sparse.NextData(at)
		if errors.Is(err, io.EOF) || err == nil && start >= end {
			return nil
		}
		if err != nil {
			return err
		}
		start, stop = max(start, at), min(stop, end)
		if err := readBlocks(ctx, from, data[start-offset:stop-offset], start); err != nil {
			return err
		}
		at = stop
	}
	return nil
}

func readBlocks(ctx context.Context, from io.ReaderAt, data []byte, offset int64) error {
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		block := data[:min(copyBlock, len(data))]
		if n, err := from.ReadAt(block, offset); n < len(block) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		data, offset = data[len(block):], offset+int64(len(block))
	}
	return nil
}

// writeSparse writes data at offset; runs of zeroes are not written where the device can have them in another way.
func writeSparse(ctx context.Context, to driver.Device, data []byte, offset int64) error {
	sparse, ok := to.(driver.Sparse)
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		run, zero := runOf(data)
		var err error
		if zero && ok {
			err = sparse.Zero(offset, int64(run))
		} else {
			_, err = to.WriteAt(data[:run], offset)
		}
		if err != nil {
			return err
		}
		data, offset = data[run:], offset+int64(run)
	}
	return nil
}

// runOf is how much of data, in blocks of a backup, is alike: nothing but zeroes, or not. What is not is cut at copyBlock.
func runOf(data []byte) (length int, zero bool) {
	zero = zeroes(data[:min(backupBlock, len(data))])
	for length < len(data) {
		block := data[length:min(length+backupBlock, len(data))]
		if zeroes(block) != zero || !zero && length >= copyBlock {
			break
		}
		length += len(block)
	}
	return length, zero
}

// isHole says that nothing was ever written in a range, as far as the content knows.
func isHole(from io.ReaderAt, offset, length int64) (bool, error) {
	sparse, ok := from.(nextDataer)
	if !ok {
		return false, nil
	}
	start, _, err := sparse.NextData(offset)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return err == nil && start >= offset+length, err
}

// copyDevice copies size bytes from offset next on, and reports how far it is when that is durable. Fresh says
// that the device reads, where nothing was written, as holes of the other do.
func copyDevice(ctx context.Context, from io.ReaderAt, to driver.Device, fresh bool, next, size int64, report func(next int64) error) error {
	data := make([]byte, min(defaultBackupChunk, size))
	for next < size {
		piece := data[:min(int64(len(data)), size-next)]
		empty, err := isHole(from, next, int64(len(piece)))
		if err != nil {
			return err
		}
		if fresh && empty && next+int64(len(piece)) < size {
			next += int64(len(piece))
			continue
		}
		if err := readSparse(ctx, from, piece, next); err != nil {
			return err
		}
		if err := writeSparse(ctx, to, piece, next); err != nil {
			return err
		}
		if err := to.Sync(); err != nil {
			return err
		}
		next += int64(len(piece))
		if err := report(next); err != nil {
			return err
		}
	}
	return nil
}
