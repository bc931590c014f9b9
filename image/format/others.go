package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	sector   = 512
	vhdMagic = "conectix"
)

// vmdkHeader is what of a sparse VMDK's header the checks need.
// See VMware's Virtual Disk Format 5.0, "Hosted Sparse Extent Header".
type vmdkHeader struct {
	capacity                        uint64 // in sectors
	descriptorOffset, descriptorLen uint64 // in sectors
	grainDirectory                  uint64
}

const (
	vmdkHeaderLength = 79
	vmdkAtEnd        = ^uint64(0)
	// vmdkMaxCapacity keeps arithmetic on bytes within 64 bits.
	vmdkMaxCapacity = 1 << 52
)

func readVMDK(b []byte) vmdkHeader {
	return vmdkHeader{
		capacity:         binary.LittleEndian.Uint64(b[12:]),
		descriptorOffset: binary.LittleEndian.Uint64(b[28:]),
		descriptorLen:    binary.LittleEndian.Uint64(b[36:]),
		grainDirectory:   binary.LittleEndian.Uint64(b[56:]),
	}
}

// parseVMDK reads the header and the embedded descriptor, and refuses all but self-contained images.
func parseVMDK(head []byte) (*vmdkHeader, error) {
	if !bytes.HasPrefix(head, []byte("KDMV")) {
		return nil, unsafef("only self-contained sparse VMDK images are supported")
	}
	if len(head) < vmdkHeaderLength {
		return nil, fmt.Errorf("%w: the VMDK header is cut short", ErrMismatch)
	}
	h := readVMDK(head)
	if h.capacity == 0 || h.capacity > vmdkMaxCapacity {
		return nil, unsafef("a VMDK disk of %d sectors cannot be", h.capacity)
	}
	most := uint64(len(head) / sector)
	if h.descriptorOffset == 0 || h.descriptorLen == 0 || h.descriptorOffset > most || h.descriptorLen > most-h.descriptorOffset {
		return nil, unsafef("the VMDK image has no descriptor at its beginning")
	}
	descriptor := head[h.descriptorOffset*sector : (h.descriptorOffset+h.descriptorLen)*sector]
	return &h, checkDescriptor(string(bytes.TrimRight(descriptor, "\x00")))
}

// checkDescriptor takes descriptors of one extent that lies in the file itself, without a parent.
func checkDescriptor(text string) error {
	kind, extents := "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, "=")
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch key := strings.ToLower(strings.TrimSpace(key)); {
		case key == "createtype":
			if kind != "" {
				return unsafef("the VMDK descriptor names its type twice")
			}
			kind = value
		case key == "parentcid" && !strings.EqualFold(value, "ffffffff"), key == "parentfilenamehint":
			return unsafef("the VMDK image differs from a parent")
		case strings.HasPrefix(line, "RW ") || strings.HasPrefix(line, "RDONLY ") || strings.HasPrefix(line, "NOACCESS "):
			extents++
			if words := strings.Fields(line); len(words) < 3 || words[2] != "SPARSE" {
				return unsafef("the VMDK image has an extent in another file")
			}
		}
	}
	if kind != "monolithicSparse" && kind != "streamOptimized" {
		return unsafef("VMDK images of type %.40q are not supported", kind)
	}
	if extents != 1 {
		return unsafef("a VMDK image of %d extents is not self-contained", extents)
	}
	return nil
}

// checkFooter holds the header at the end of a stream-optimized image, which tools believe, against the first.
func (h *vmdkHeader) checkFooter(tail []byte) error {
	if h.grainDirectory != vmdkAtEnd {
		return nil
	}
	if len(tail) < 2*sector {
		return fmt.Errorf("%w: the VMDK footer is cut short", ErrMismatch)
	}
	footer := tail[len(tail)-2*sector:]
	if !bytes.HasPrefix(footer, []byte("KDMV")) {
		return unsafef("the VMDK image has no footer")
	}
	if f := readVMDK(footer); f.capacity != h.capacity || f.descriptorOffset != h.descriptorOffset && f.descriptorOffset != 0 {
		return unsafef("the VMDK image's header and footer differ")
	}
	return nil
}

// parseVHD reads a VHD footer, or its copy at the beginning, and returns the disk's size.
// See Microsoft's Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format".
func parseVHD(footer []byte) (int64, error) {
	const differencing = 4
	if len(footer) < sector {
		return 0, fmt.Errorf("%w: the VHD footer is cut short", ErrMismatch)
	}
	if kind := binary.BigEndian.Uint32(footer[60:]); kind == differencing {
		return 0, unsafef("the VHD image differs from a parent")
	}
	return boundedSize("VHD", binary.BigEndian.Uint64(footer[48:]))
}

// parseVDI reads a VDI header and returns the disk's size.
func parseVDI(head []byte) (int64, error) {
	const differencing = 4
	if len(head) < sector {
		return 0, fmt.Errorf("%w: the VDI header is cut short", ErrMismatch)
	}
	if kind := binary.LittleEndian.Uint32(head[0x4c:]); kind == differencing {
		return 0, unsafef("the VDI image differs from a parent")
	}
	return boundedSize("VDI", binary.LittleEndian.Uint64(head[0x170:]))
}

func boundedSize(format string, size uint64) (int64, error) {
	if size > 1<<62 {
		return 0, unsafef("a %s disk of %d bytes cannot be", format, size)
	}
	return int64(size), nil
}
