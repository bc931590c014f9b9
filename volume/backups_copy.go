package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kintoun/kintoun/volume/driver"
)

// backupPlace is where the objects of a backup are.
type backupPlace struct {
	store                      BackupStore
	project, container, prefix string
	backupID, volumeID         string
	// chunk is how much of the volume an object covers, and pieces are the numbers of those that have one.
	chunk  int64
	pieces []int
}

func (p *backupPlace) object(number int) string { return fmt.Sprintf("%s-%05d", p.prefix, number+1) }

func (p *backupPlace) has(number int) bool {
	_, found := slices.BinarySearch(p.pieces, number)
	return found
}

// open opens a piece's object; the header says that it is the one that was asked for.
func (p *backupPlace) open(ctx context.Context, number int) (r io.ReadCloser, h *chunkHeader, hashes blockHashes, err error) {
	name := p.object(number)
	r, err = p.store.Open(ctx, p.project, p.container, name)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("object %s: %w", name, err)
	}
	h, hashes, err = decodeChunk(r)
	if err == nil && (h.VolumeID != p.volumeID || h.Number != number || h.Offset != int64(number)*p.chunk || h.Length > p.chunk) {
		err = damaged(nil, "it is another piece")
	}
	if err != nil {
		_ = r.Close()
		return nil, nil, nil, fmt.Errorf("object %s: %w", name, err)
	}
	return r, h, hashes, nil
}

// backupChain are a backup and those that it builds on, the full one first.
type backupChain []*backupPlace

// has says whether any of the chain has an object for the piece. If none has, it is zeroes.
func (c backupChain) has(number int) bool {
	return slices.ContainsFunc(c, func(p *backupPlace) bool { return p.has(number) })
}

// hashes are those of the blocks of a piece as the last backup of the chain has it.
func (c backupChain) hashes(ctx context.Context, number int, length int64) (blockHashes, error) {
	for _, p := range slices.Backward(c) {
		if !p.has(number) {
			continue
		}
		r, h, hashes, err := p.open(ctx, number)
		if err != nil {
			return nil, err
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
		return hashes.resized(h.Length, length), nil
	}
	return zeroHashes(length), nil
}

// resized are the hashes of a piece that was shorter when they were taken: what was not there differs from everything.
func (b blockHashes) resized(from, to int64) blockHashes {
	if from == to {
		return b
	}
	whole := from / backupBlock * int64(len(zeroHash(0)))
	return b[:min(whole, int64(len(b)))]
}

// read puts a piece as the last backup of the chain has it into data, and checks every block of it.
func (c backupChain) read(ctx context.Context, number int, data []byte) error {
	clear(data)
	var newest blockHashes
	for _, p := range c {
		if !p.has(number) {
			continue
		}
		r, h, hashes, err := p.open(ctx, number)
		if err != nil {
			return err
		}
		if h.Length > int64(len(data)) {
			err = damaged(nil, "it is larger than the backup")
		} else {
			err = decodePayload(r, h, hashes, data[:h.Length])
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("object %s: %w", p.object(number), err)
		}
		newest = hashes
	}
	have := hashBlocks(data)
	if newest != nil && !slices.Equal(have[:min(len(have), len(newest))], newest) {
		return fmt.Errorf("piece %d: %w: its blocks are not those that were read", number, errDamaged)
	}
	return nil
}

// backupProgress is how far a backup or a restoration is: all pieces before Next are done and durable.
type backupProgress struct {
	Next int `json:"next"`
	// Pieces are those of the pieces before Next that have an object.
	Pieces []int `json:"pieces,omitempty"`
}

// pieceCount is how many pieces a content of the size has.
func pieceCount(size, chunk int64) int { return int((size + chunk - 1) / chunk) }

// backUp writes the objects of the pieces from progress.Next on, of what differs from the chain of its parents. Each
// piece is reported when it is durable; an error of report ends the work.
func backUp(ctx context.Context, from driver.Device, to *backupPlace, parents backupChain, progress backupProgress, report func(backupProgress) error) error {
	size := from.Size()
	data := make([]byte, min(to.chunk, size))
	for number := progress.Next; number < pieceCount(size, to.chunk); number++ {
		offset := int64(number) * to.chunk
		piece := data[:min(to.chunk, size-offset)]
		progress.Next = number + 1
		empty, err := isHole(from, offset, int64(len(piece)))
		if err != nil {
			return fmt.Errorf("look for data at %d: %w", offset, err)
		}
		if empty && !parents.has(number) {
			continue
		}
		if err := readSparse(ctx, from, piece, offset); err != nil {
			return fmt.Errorf("read at %d: %w", offset, err)
		}
		before, err := parents.hashes(ctx, number, int64(len(piece)))
		if err != nil {
			return err
		}
		object, err := encodeChunk(chunkHeader{BackupID: to.backupID, VolumeID: to.volumeID, Number: number, Offset: offset}, piece, before)
		if err != nil {
			return err
		}
		if object != nil {
			if err := to.store.Put(ctx, to.project, to.container, to.object(number), newObjectReader(object)); err != nil {
				return fmt.Errorf("object %s: %w", to.object(number), err)
			}
			progress.Pieces = append(progress.Pieces, number)
		}
		if err := report(progress); err != nil {
			return err
		}
	}
	return report(progress)
}

// restore writes the content of the chain's last backup to a device that is at least as large, from piece next on.
// Report is told the next piece when all before it are durable.
func restore(ctx context.Context, chain backupChain, size int64, to driver.Device, next int, report func(next int) error) error {
	last := chain[len(chain)-1]
	data := make([]byte, min(last.chunk, size))
	for number := next; number < pieceCount(size, last.chunk); number++ {
		offset := int64(number) * last.chunk
		piece := data[:min(last.chunk, size-offset)]
		if err := restorePiece(ctx, chain, number, to, piece, offset); err != nil {
			return err
		}
		if err := to.Sync(); err != nil {
			return err
		}
		if err := report(number + 1); err != nil {
			return err
		}
	}
	return nil
}

func restorePiece(ctx context.Context, chain backupChain, number int, to driver.Device, piece []byte, offset int64) error {
	if sparse, ok := to.(driver.Sparse); ok && !chain.has(number) {
		return errors.Join(ctx.Err(), sparse.Zero(offset, int64(len(piece))))
	}
	if err := chain.read(ctx, number, piece); err != nil {
		return err
	}
	if err := writeSparse(ctx, to, piece, offset); err != nil {
		return fmt.Errorf("write at %d: %w", offset, err)
	}
	return nil
}
