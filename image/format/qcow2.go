package format

import (
	"encoding/binary"
	"fmt"
)

// qcow2Header is what of a qcow2 header the checks need.
// See https://github.com/qemu/qemu/blob/master/docs/interop/qcow2.rst.
type qcow2Header struct {
	size                uint64
	l1Offset, l1Bytes   uint64
	refOffset, refBytes uint64
	snapshots           uint32
	snapshotsOffset     uint64
}

const (
	qcow2V2Length = 72
	qcow2V3Length = 104

	// Incompatible features: a program that does not know one must not open the image.
	qcow2Dirty        = 1 << 0
	qcow2Corrupt      = 1 << 1
	qcow2ExternalData = 1 << 2
	qcow2Compression  = 1 << 3
	qcow2ExtendedL2   = 1 << 4

	// The largest tables that QEMU opens.
	qcow2MaxL1        = 32 << 20
	qcow2MaxRefTable  = 8 << 20
	qcow2MaxSnapshots = 65536
	// qcow2MaxSize keeps arithmetic on sizes within 64 bits: no disk has 4 EiB.
	qcow2MaxSize = 1 << 62

	qcow2ExtEnd        = 0
	qcow2ExtDataFile   = 0x44415441
	qcow2ExtEncryption = 0x0537be77
)

// parseQcow2 reads the header and its extensions, and refuses what is unsafe or cannot be.
func parseQcow2(head []byte) (*qcow2Header, error) {
	if len(head) < qcow2V2Length {
		return nil, fmt.Errorf("%w: the qcow2 header is cut short", ErrMismatch)
	}
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(head[at:]) }
	version := u32(4)
	switch {
	case version != 2 && version != 3:
		return nil, unsafef("qcow version %d is not supported", version)
	case u64(8) != 0 || u32(16) != 0:
		return nil, unsafef("the qcow2 image has a backing file")
	case u32(32) != 0:
		return nil, unsafef("the qcow2 image is encrypted")
	}
	length, features := uint32(qcow2V2Length), uint64(0)
	if version == 3 {
		if len(head) < qcow2V3Length {
			return nil, fmt.Errorf("%w: the qcow2 header is cut short", ErrMismatch)
		}
		length, features = u32(100), u64(72)
		if order := u32(96); order > 6 {
			return nil, unsafef("a qcow2 refcount order of %d cannot be", order)
		}
	}
	if err := qcow2Features(features); err != nil {
		return nil, err
	}
	h := &qcow2Header{
		size:     u64(24),
		l1Offset: u64(40), l1Bytes: uint64(u32(36)) * 8,
		refOffset: u64(48), snapshots: u32(60), snapshotsOffset: u64(64),
	}
	clusterBits := u32(20)
	if clusterBits < 9 || clusterBits > 21 {
		return nil, unsafef("qcow2 clusters of 2^%d bytes cannot be", clusterBits)
	}
	h.refBytes = uint64(u32(56)) << clusterBits
	if err := h.tables(clusterBits, features); err != nil {
		return nil, err
	}
	if length < qcow2V2Length || version == 3 && length < qcow2V3Length || length%8 != 0 || uint64(length) > 1<<clusterBits {
		return nil, unsafef("a qcow2 header of %d bytes cannot be", length)
	}
	return h, qcow2Extensions(head, uint64(length), 1<<clusterBits)
}

func qcow2Features(features uint64) error {
	known := uint64(qcow2Dirty | qcow2Corrupt | qcow2ExternalData | qcow2Compression | qcow2ExtendedL2)
	switch {
	case features&qcow2ExternalData != 0:
		return unsafef("the qcow2 image has an external data file")
	case features&qcow2Corrupt != 0:
		return unsafef("the qcow2 image is marked corrupt")
	case features&^known != 0:
		return unsafef("the qcow2 image has unknown features %#x", features&^known)
	}
	return nil
}

// tables checks the tables' sizes and alignment.
func (h *qcow2Header) tables(clusterBits uint32, features uint64) error {
	cluster := uint64(1) << clusterBits
	entry := uint64(8)
	if features&qcow2ExtendedL2 != 0 {
		entry = 16
	}
	// The bytes of the disk that one entry of the L1 table leads to.
	reach := cluster / entry << clusterBits
	switch {
	case h.size > qcow2MaxSize:
		return unsafef("a qcow2 disk of %d bytes cannot be", h.size)
	case h.l1Bytes > qcow2MaxL1:
		return unsafef("a qcow2 L1 table of %d bytes cannot be", h.l1Bytes)
	case (h.size+reach-1)/reach > h.l1Bytes/8:
		return unsafef("the qcow2 L1 table is too small for a disk of %d bytes", h.size)
	case h.refBytes == 0 || h.refBytes > qcow2MaxRefTable && h.refBytes > cluster:
		return unsafef("a qcow2 refcount table of %d bytes cannot be", h.refBytes)
	case h.snapshots > qcow2MaxSnapshots:
		return unsafef("%d snapshots in a qcow2 image cannot be", h.snapshots)
	case h.l1Offset%cluster != 0 || h.refOffset%cluster != 0 || h.snapshotsOffset%cluster != 0:
		return unsafef("the qcow2 tables do not begin at a cluster")
	case h.refOffset == 0 || h.l1Offset == 0 && h.l1Bytes > 0:
		return unsafef("a qcow2 table lies over the header")
	}
	return nil
}

// fits checks that the tables lie within the file.
func (h *qcow2Header) fits(size int64) error {
	end := uint64(max(size, 0))
	inside := func(offset, bytes uint64) bool { return bytes == 0 || offset < end && bytes <= end-offset }
	if !inside(h.l1Offset, h.l1Bytes) || !inside(h.refOffset, h.refBytes) || !inside(h.snapshotsOffset, uint64(h.snapshots)) {
		return unsafef("the qcow2 image is cut short: its tables lie beyond its end")
	}
	return nil
}

// qcow2Extensions walks the header extensions, which end with the first cluster at the latest.
func qcow2Extensions(head []byte, at, end uint64) error {
	for {
		if at == end {
			return nil
		}
		if at+8 > end || at+8 > uint64(len(head)) {
			return unsafef("the qcow2 header extensions do not end")
		}
		kind := binary.BigEndian.Uint32(head[at:])
		length := uint64(binary.BigEndian.Uint32(head[at+4:]))
		at += 8
		switch {
		case kind == qcow2ExtEnd:
			return nil
		case kind == qcow2ExtDataFile:
			return unsafef("the qcow2 image names an external data file")
		case kind == qcow2ExtEncryption:
			return unsafef("the qcow2 image is encrypted")
		case length > end-at:
			return unsafef("a qcow2 header extension of %d bytes cannot be", length)
		}
		at += (length + 7) &^ 7
	}
}
