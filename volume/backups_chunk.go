package volume

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A backup is kept in pieces of a volume, each an object of its own that says by itself what it is:
//
//	magic, 8 bytes | length of the header, 4 | SHA-256 of the header, 32 | header, JSON | SHA-256 of each block | payload
//
// The payload is those blocks that differ from the parent's (of a full backup: from zeroes), one after the other,
// compressed where that helps. A piece in which nothing differs has no object.

const (
	chunkMagic = "kintoun1"
	// backupBlock is the unit that an incremental backup compares, as in Cinder (backup_swift_block_size).
	backupBlock = 32 << 10
	// defaultBackupChunk is how much of a volume an object covers, as in Cinder (backup_swift_object_size).
	defaultBackupChunk = 50 << 20
	// maxChunk and maxChunkHeader bound what is believed of an object.
	maxChunk       = 1 << 30
	maxChunkHeader = 4 << 20
)

// errDamaged is an object of a backup that is not what was stored.
var errDamaged = errors.New("the backup is damaged")

// extent is a run of bytes of a piece, from its beginning.
type extent struct{ Offset, Length int64 }

// chunkHeader says what an object is.
type chunkHeader struct {
	BackupID string `json:"backup"`
	VolumeID string `json:"volume"`
	// Number counts the pieces from zero; Offset and Length are those of the piece in the volume, in bytes.
	Number         int      `json:"number"`
	Offset         int64    `json:"offset"`
	Length         int64    `json:"length"`
	Block          int64    `json:"block"`
	Extents        []extent `json:"extents"`
	Compression    string   `json:"compression"`
	Stored         int64    `json:"stored"`
	SHA256OfBlocks string   `json:"blocks_sha256"`
	SHA256         string   `json:"sha256"` // of the payload as it is stored
}

func (h *chunkHeader) blocks() int { return int((h.Length + h.Block - 1) / h.Block) }

// blockHashes are the hashes of the blocks of a piece, one after the other.
type blockHashes []byte

func (b blockHashes) at(i int) []byte { return b[i*sha256.Size : (i+1)*sha256.Size] }

// hashBlocks returns the hashes of the blocks of data. Blocks of zeroes, which most are, cost a comparison.
func hashBlocks(data []byte) blockHashes {
	hashes := make(blockHashes, 0, (len(data)/backupBlock+1)*sha256.Size)
	for len(data) > 0 {
		block := data[:min(backupBlock, len(data))]
		var sum [sha256.Size]byte
		if zeroes(block) {
			sum = zeroHash(len(block))
		} else {
			sum = sha256.Sum256(block)
		}
		hashes = append(hashes, sum[:]...)
		data = data[len(block):]
	}
	return hashes
}

// zeroHashes are the hashes of a piece of zeroes.
func zeroHashes(length int64) blockHashes {
	whole := zeroHash(backupBlock)
	hashes := bytes.Repeat(whole[:], int(length/backupBlock))
	if rest := int(length % backupBlock); rest > 0 {
		sum := zeroHash(rest)
		hashes = append(hashes, sum[:]...)
	}
	return hashes
}

// zeroBlock is sha256.Sum256 of backupBlock zeroes.
const zeroBlock = "c35020473aed1b4642cd726cad727b63fff2824ad68cedd7ffb73c7cbd890479"

func zeroHash(length int) (sum [sha256.Size]byte) {
	if length != backupBlock {
		return sha256.Sum256(make([]byte, length))
	}
	_, _ = hex.Decode(sum[:], []byte(zeroBlock))
	return sum
}

// encodeChunk returns the object for a piece whose parent had the given hashes; nil if nothing differs.
func encodeChunk(h chunkHeader, data []byte, parent blockHashes) ([]byte, error) {
	hashes := hashBlocks(data)
	if bytes.Equal(hashes, parent) {
		return nil, nil
	}
	h.Length, h.Block = int64(len(data)), backupBlock
	h.Extents = changedExtents(data, hashes, parent)
	payload, compression, err := compress(data, h.Extents)
	if err != nil {
		return nil, err
	}
	h.Compression, h.Stored = compression, int64(len(payload))
	h.SHA256OfBlocks, h.SHA256 = hexSum(hashes), hexSum(payload)
	header, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(header)
	object := make([]byte, 0, len(chunkMagic)+4+len(sum)+len(header)+len(hashes)+len(payload))
	object = append(object, chunkMagic...)
	object = binary.BigEndian.AppendUint32(object, uint32(len(header))) //nolint:gosec // a header is far from 4 GiB
	object = append(object, sum[:]...)
	object = append(object, header...)
	object = append(object, hashes...)
	return append(object, payload...), nil
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// changedExtents are the runs of blocks that differ from the parent's and hold more than zeroes.
func changedExtents(data []byte, hashes, parent blockHashes) []extent {
	var all []extent
	for i := range len(hashes) / sha256.Size {
		offset := int64(i) * backupBlock
		length := min(backupBlock, int64(len(data))-offset)
		block := data[offset : offset+length]
		if i < len(parent)/sha256.Size && bytes.Equal(hashes.at(i), parent.at(i)) || zeroes(block) {
			continue
		}
		if last := len(all) - 1; last >= 0 && all[last].Offset+all[last].Length == offset {
			all[last].Length += length
		} else {
			all = append(all, extent{offset, length})
		}
	}
	return all
}

// compress returns the extents of data one after the other, compressed if they are smaller so.
func compress(data []byte, extents []extent) (payload []byte, compression string, err error) {
	var plain int64
	for _, e := range extents {
		plain += e.Length
	}
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	if err != nil {
		return nil, "", err
	}
	for _, e := range extents {
		if _, err := w.Write(data[e.Offset : e.Offset+e.Length]); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	if int64(b.Len()) < plain {
		return b.Bytes(), "zlib", nil
	}
	payload = make([]byte, 0, plain)
	for _, e := range extents {
		payload = append(payload, data[e.Offset:e.Offset+e.Length]...)
	}
	return payload, "none", nil
}

// decodeChunk reads an object up to its payload, and checks what it has read.
func decodeChunk(r io.Reader) (*chunkHeader, blockHashes, error) {
	var fixed [len(chunkMagic) + 4 + sha256.Size]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return nil, nil, damaged(err, "its beginning cannot be read")
	}
	length := binary.BigEndian.Uint32(fixed[len(chunkMagic):])
	if string(fixed[:len(chunkMagic)]) != chunkMagic || length > maxChunkHeader {
		return nil, nil, damaged(nil, "it does not begin as one")
	}
	header, err := readExactly(r, int64(length))
	if err != nil {
		return nil, nil, damaged(err, "its header cannot be read")
	}
	if sum := sha256.Sum256(header); !bytes.Equal(sum[:], fixed[len(chunkMagic)+4:]) {
		return nil, nil, damaged(nil, "its header is not what was stored")
	}
	var h chunkHeader
	if err := json.Unmarshal(header, &h); err != nil {
		return nil, nil, damaged(err, "its header is not JSON")
	}
	if err := h.check(); err != nil {
		return nil, nil, err
	}
	hashes, err := readExactly(r, int64(h.blocks())*sha256.Size)
	if err != nil {
		return nil, nil, damaged(err, "its hashes cannot be read")
	}
	if hexSum(hashes) != h.SHA256OfBlocks {
		return nil, nil, damaged(nil, "its hashes are not what was stored")
	}
	return &h, hashes, nil
}

// check refuses a header that no backup has.
func (h *chunkHeader) check() error {
	if h.Block != backupBlock || h.Length <= 0 || h.Length > maxChunk || h.Offset < 0 || h.Stored < 0 || h.Stored > h.Length {
		return damaged(nil, "its header makes no sense")
	}
	end := int64(0)
	for _, e := range h.Extents {
		if e.Offset < end || e.Length <= 0 || e.Length > h.Length-e.Offset {
			return damaged(nil, "its extents make no sense")
		}
		end = e.Offset + e.Length
	}
	return nil
}

// decodePayload reads what follows the hashes of an object and puts it in its place in data, which has the piece as it
// was before. Blocks that are zeroes now become zeroes.
func decodePayload(r io.Reader, h *chunkHeader, hashes blockHashes, data []byte) error {
	stored, err := readExactly(r, h.Stored)
	if err != nil {
		return damaged(err, "its payload cannot be read")
	}
	if hexSum(stored) != h.SHA256 {
		return damaged(nil, "its payload is not what was stored")
	}
	zeroes := zeroHashes(h.Length)
	for i := range h.blocks() {
		if bytes.Equal(hashes.at(i), zeroes.at(i)) {
			from := int64(i) * h.Block
			clear(data[from:min(from+h.Block, h.Length)])
		}
	}
	plain := io.Reader(bytes.NewReader(stored))
	switch h.Compression {
	case "none":
	case "zlib":
		z, err := zlib.NewReader(plain)
		if err != nil {
			return damaged(err, "its payload is not compressed")
		}
		defer func() { _ = z.Close() }()
		plain = z
	default:
		return damaged(nil, "its payload is compressed by "+h.Compression)
	}
	for _, e := range h.Extents {
		if _, err := io.ReadFull(plain, data[e.Offset:e.Offset+e.Length]); err != nil {
			return damaged(err, "its payload is too short")
		}
	}
	return nil
}

// readExactly reads length bytes, without believing that there are so many.
func readExactly(r io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.CopyN(&b, r, length)
	if err == nil && n < length {
		err = io.ErrUnexpectedEOF
	}
	return b.Bytes(), err
}

func damaged(cause error, what string) error {
	if cause != nil {
		return fmt.Errorf("%w: %s: %w", errDamaged, what, cause)
	}
	return fmt.Errorf("%w: %s", errDamaged, what)
}
