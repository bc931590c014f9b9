package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Where a VHDX keeps what the checks need. See Microsoft's VHDX Format Specification, sections 2.2, 2.5 and 2.6.
const (
	vhdxRegions     = 192 << 10
	vhdxRegionsCopy = 256 << 10
	vhdxTable       = 64 << 10
	vhdxEntry       = 32
	vhdxMaxEntries  = 2047
	// vhdxMost is how much of the metadata is looked at: the table, and the items behind it.
	vhdxMost      = 1 << 20
	vhdxHasParent = 1 << 1
	// vhdxMaxSize is the largest disk that the format has.
	vhdxMaxSize = 64 << 40
)

// The identifiers of regions and items, as they lie in the file.
const (
	vhdxMetadataRegion = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxFileParameters = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxDiskSize       = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxParentLocator  = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
)

// capture keeps the bytes of a stream from one place on.
type capture struct {
	from, most int64
	data       []byte
}

// take is given a piece of the stream that begins at.
func (c *capture) take(at int64, p []byte) {
	next := c.from + int64(len(c.data))
	if end := at + int64(len(p)); next < at || next >= end || int64(len(c.data)) >= c.most {
		return
	}
	p = p[next-at:]
	c.data = append(c.data, p[:min(int64(len(p)), c.most-int64(len(c.data)))]...)
}

// vhdx looks at a VHDX while it streams by: its region tables say where the metadata is, which comes behind them.
type vhdx struct {
	regions, regionsCopy, metadata capture
	located                        bool
}

func newVHDX() *vhdx {
	return &vhdx{regions: capture{from: vhdxRegions, most: vhdxTable}, regionsCopy: capture{from: vhdxRegionsCopy, most: vhdxTable}}
}

func (v *vhdx) take(at int64, p []byte) error {
	v.regions.take(at, p)
	v.regionsCopy.take(at, p)
	if !v.located && len(v.regionsCopy.data) == vhdxTable {
		if err := v.locate(); err != nil {
			return err
		}
	}
	if v.located {
		v.metadata.take(at, p)
	}
	return nil
}

// locate finds the metadata. Tools may believe either table, so both must say the same.
func (v *vhdx) locate() error {
	table := v.regions.data
	if !bytes.Equal(table, v.regionsCopy.data) {
		return unsafef("the VHDX image's region tables differ")
	}
	count := binary.LittleEndian.Uint32(table[8:])
	if !bytes.HasPrefix(table, []byte("regi")) || count > vhdxMaxEntries {
		return unsafef("the VHDX image has no valid region table")
	}
	for i := range int(count) {
		entry := table[16+i*vhdxEntry:][:vhdxEntry]
		if string(entry[:16]) != vhdxMetadataRegion {
			continue
		}
		from, length := binary.LittleEndian.Uint64(entry[16:]), binary.LittleEndian.Uint32(entry[24:])
		if v.located || from < 1<<20 || from > 1<<62 || length < vhdxTable {
			return unsafef("a VHDX metadata region of %d bytes at %d cannot be", length, from)
		}
		v.located = true
		v.metadata = capture{from: int64(from), most: min(int64(length), vhdxMost)}
	}
	if !v.located {
		return unsafef("the VHDX image has no metadata")
	}
	return nil
}

// judge says how large the disk is, when the whole image went by.
func (v *vhdx) judge() (int64, error) {
	table := v.metadata.data
	if !v.located || len(table) < vhdxTable {
		return 0, fmt.Errorf("%w: the VHDX image is cut short", ErrMismatch)
	}
	count := int(binary.LittleEndian.Uint16(table[10:]))
	if !bytes.HasPrefix(table, []byte("metadata")) || count > vhdxMaxEntries {
		return 0, unsafef("the VHDX image has no valid metadata table")
	}
	size := uint64(0)
	for i := range count {
		entry := table[32+i*vhdxEntry:][:vhdxEntry]
		at, length := uint64(binary.LittleEndian.Uint32(entry[16:])), uint64(binary.LittleEndian.Uint32(entry[20:]))
		item := func(want uint64) ([]byte, error) {
			if at < vhdxTable || length < want || at+want > uint64(len(table)) {
				return nil, unsafef("a VHDX metadata item of %d bytes at %d cannot be", length, at)
			}
			return table[at:][:want], nil
		}
		switch string(entry[:16]) {
		case vhdxParentLocator:
			return 0, unsafef("the VHDX image differs from a parent")
		case vhdxFileParameters:
			b, err := item(8)
			if err != nil {
				return 0, err
			}
			if binary.LittleEndian.Uint32(b[4:])&vhdxHasParent != 0 {
				return 0, unsafef("the VHDX image differs from a parent")
			}
		case vhdxDiskSize:
			b, err := item(8)
			if err != nil {
				return 0, err
			}
			size = binary.LittleEndian.Uint64(b)
		}
	}
	if size == 0 || size > vhdxMaxSize {
		return 0, unsafef("a VHDX disk of %d bytes cannot be", size)
	}
	return int64(size), nil
}
