//go:build linux

package qcow2volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// What the format says (docs/interop/qcow2.txt of QEMU's sources): numbers are big endian, and everything lies in clusters.
const (
	magic        = "QFI\xfb"
	headerBytes  = 104 // of version 3
	clusterBits  = 16
	clusterBytes = 1 << clusterBits
	entryBytes   = 8                                                         // of the tables L1 and L2
	tableSpan    = clusterBytes / entryBytes * clusterBytes                  // what one L2 table is about
	maxBytes     = (32 << 20) / entryBytes * tableSpan                       // QEMU's largest L1 table has 32 MiB
	copied       = uint64(1) << 63                                           // of an entry: nobody else refers to the cluster
	formatOfBase = 0xe2792aca                                                // the header extension with the backing file's format
	maxName      = 1023                                                      // of a backing file
	maxContent   = (clusterBytes/2 - 4 - 32<<20/clusterBytes) << clusterBits // what one block of reference counts is enough for
)

// The features that make a file more than it seems, by their bits.
const (
	featureDirty    = 1 << 0
	featureCorrupt  = 1 << 1
	featureDataFile = 1 << 2
	featuresKnown   = 1<<5 - 1
)

// header is what a file's header says.
type header struct {
	bytes     int64
	backing   string
	features  uint64
	encrypted bool
	snapshots uint32
	// the table L1: how many entries, and where
	entries uint32
	table   uint64
}

var errNoQCOW2 = fmt.Errorf("not a qcow2 file: %w", fs.ErrInvalid)

// readHeader reads one. It believes nothing: the file may be anybody's.
func readHeader(r io.ReaderAt) (h header, err error) {
	var b [headerBytes]byte
	n, err := r.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, err
	}
	version := binary.BigEndian.Uint32(b[4:])
	if n < 72 || string(b[:4]) != magic || version != 2 && (version != 3 || n < headerBytes) {
		return h, errNoQCOW2
	}
	offset, length, size := binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint64(b[24:])
	if bits := binary.BigEndian.Uint32(b[20:]); bits < 9 || bits > 21 || size > maxBytes || length > maxName || offset > clusterBytes<<5 {
		return h, errNoQCOW2
	}
	h = header{bytes: int64(size), encrypted: binary.BigEndian.Uint32(b[32:]) != 0, snapshots: binary.BigEndian.Uint32(b[60:]), entries: binary.BigEndian.Uint32(b[36:]), table: binary.BigEndian.Uint64(b[40:])}
	if version == 3 {
		h.features = binary.BigEndian.Uint64(b[72:])
	}
	if offset == 0 {
		return h, nil
	}
	name := make([]byte, length)
	if n, err := r.ReadAt(name, int64(offset)); n < len(name) {
		return h, fmt.Errorf("name of the backing file: %w: %w", errNoQCOW2, err)
	}
	h.backing = string(name)
	return h, nil
}

// empty says whether nothing was ever written to the file.
func empty(r io.ReaderAt) (bool, error) {
	h, err := readHeader(r)
	if err != nil || h.entries > maxBytes/tableSpan {
		return false, err
	}
	b := make([]byte, h.entries*entryBytes)
	if _, err := r.ReadAt(b, int64(h.table&(1<<62-1))); err != nil {
		return false, err
	}
	return bytes.Count(b, []byte{0}) == len(b), nil
}

// unfit says why a file that somebody made cannot become a volume.
func (h header) unfit() string {
	switch {
	case h.backing != "":
		return "it stands on another file (qemu-img convert makes it whole)"
	case h.features&featureDataFile != 0:
		return "its content is in another file"
	case h.encrypted:
		return "it is encrypted by qcow2's own means"
	case h.snapshots != 0:
		return "it has snapshots inside"
	case h.features&(featureDirty|featureCorrupt) != 0:
		return "it is damaged (qemu-img check -r all)"
	case h.features&^featuresKnown != 0:
		return "it has features that are not known"
	case h.bytes <= 0 || h.bytes%512 != 0:
		return "its size is not a multiple of 512 bytes"
	}
	return ""
}

// base is what a new file stands on.
type base struct{ name, format string }

// writeNew writes an empty file of so many bytes, on a base or alone, which begins with content.
//
// It has one cluster for the header, one for the table of reference counts and one of those, the table L1, and then, if there is
// content, a table L2 and the content's clusters. One block of reference counts is enough for 2 GiB of them.
func writeNew(w io.WriterAt, size int64, on base, content []byte) error {
	if size <= 0 || size > maxBytes || len(content) > maxContent || int64(len(content)) > min(size, tableSpan) {
		return fmt.Errorf("%d bytes are more than a qcow2 file holds, %d: %w", size, int64(maxBytes), fs.ErrInvalid)
	}
	entries := (size + tableSpan - 1) / tableSpan
	l1Clusters := clusters(entries * entryBytes)
	all := 3 + l1Clusters
	if len(content) > 0 {
		all += 1 + clusters(int64(len(content)))
	}
	counts := make([]byte, 2*all)
	for i := range all {
		counts[2*i+1] = 1
	}
	parts := []struct {
		offset int64
		data   []byte
	}{
		{0, newHeader(size, uint32(entries), on)},
		{1 * clusterBytes, binary.BigEndian.AppendUint64(nil, 2*clusterBytes)},
		{2 * clusterBytes, counts},
		// The last cluster is whole, so that the file ends with one.
		{all*clusterBytes - 1, []byte{0}},
	}
	if len(content) > 0 {
		l2 := (3 + l1Clusters) * clusterBytes
		var table []byte
		for i := range clusters(int64(len(content))) {
			table = binary.BigEndian.AppendUint64(table, copied|uint64(l2+(1+i)*clusterBytes))
		}
		parts = append(parts, parts[0], parts[0], parts[0])
		parts[4].offset, parts[4].data = 3*clusterBytes, binary.BigEndian.AppendUint64(nil, copied|uint64(l2))
		parts[5].offset, parts[5].data = l2, table
		parts[6].offset, parts[6].data = l2+clusterBytes, content
	}
	for _, p := range parts {
		if _, err := w.WriteAt(p.data, p.offset); err != nil {
			return err
		}
	}
	return nil
}

func clusters(bytes int64) int64 { return (bytes + clusterBytes - 1) / clusterBytes }

// newHeader is the first cluster's beginning: header, extensions, the base's name.
func newHeader(size int64, entries uint32, on base) []byte {
	var extensions []byte
	if on.name != "" {
		extensions = binary.BigEndian.AppendUint32(extensions, formatOfBase)
		extensions = binary.BigEndian.AppendUint32(extensions, uint32(len(on.format)))
		extensions = append(extensions, on.format...)
		extensions = append(extensions, make([]byte, -len(on.format)&7)...)
	}
	extensions = append(extensions, make([]byte, 8)...) // the end of them
	b := make([]byte, headerBytes)
	copy(b, magic)
	binary.BigEndian.PutUint32(b[4:], 3)
	if on.name != "" {
		binary.BigEndian.PutUint64(b[8:], uint64(headerBytes+len(extensions)))
		binary.BigEndian.PutUint32(b[16:], uint32(len(on.name)))
	}
	binary.BigEndian.PutUint32(b[20:], clusterBits)
	binary.BigEndian.PutUint64(b[24:], uint64(size))
	binary.BigEndian.PutUint32(b[36:], entries)
	binary.BigEndian.PutUint64(b[40:], 3*clusterBytes)
	binary.BigEndian.PutUint64(b[48:], 1*clusterBytes)
	binary.BigEndian.PutUint32(b[56:], 1)
	binary.BigEndian.PutUint32(b[96:], 4) // reference counts of 16 bits
	binary.BigEndian.PutUint32(b[100:], headerBytes)
	return append(append(b, extensions...), on.name...)
}
