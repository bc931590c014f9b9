package format

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	tarBlock = 512
	// ovaMembers bounds an OVA's files, ovaDescriptor the bytes of the one that describes the others.
	ovaMembers    = 100
	ovaDescriptor = 1 << 20
)

// OVAInspector is a writer that judges an OVA: a tar archive whose first file, an OVF descriptor, names the others. It
// refuses archives of anything but plain files side by side, descriptors that name what is not in the archive or build
// disks upon others, and VMDKs that an [Inspector] refuses. Create it with [NewOVAInspector].
// See DMTF DSP0243, sections 5.3 and 7.1.
type OVAInspector struct {
	header []byte
	// left and padding are the bytes that are still to come of the present file and behind it.
	left, padding int64
	name          string
	names         map[string]bool
	descriptor    []byte
	disk          *Inspector
	size          int64
	ended         bool
	err           error
}

// NewOVAInspector returns an inspector of one OVA.
func NewOVAInspector() *OVAInspector { return &OVAInspector{names: map[string]bool{}} }

// Write takes the next bytes. It fails as soon as enough is known to refuse the content.
func (o *OVAInspector) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 && !o.ended && o.err == nil {
		var n int
		switch {
		case o.left > 0:
			n = int(min(o.left, int64(len(p))))
			o.err = o.body(p[:n])
		case o.padding > 0:
			n = int(min(o.padding, int64(len(p))))
			o.padding -= int64(n)
		default:
			n = min(tarBlock-len(o.header), len(p))
			if o.header = append(o.header, p[:n]...); len(o.header) == tarBlock {
				o.err = o.begin()
				o.header = o.header[:0]
			}
		}
		p = p[n:]
	}
	if o.err != nil {
		return 0, o.err
	}
	return all, nil
}

// begin reads the header of a file.
func (o *OVAInspector) begin() error {
	h := o.header
	if len(bytes.Trim(h, "\x00")) == 0 {
		o.ended = true
		return nil
	}
	if !tarSum(h) {
		return fmt.Errorf("%w: it was said to be an OVA and is no tar archive", ErrMismatch)
	}
	name, _, _ := bytes.Cut(h[:100], []byte{0})
	o.name = string(name)
	size, ok := tarSize(h[124:136])
	switch {
	case h[156] != '0' && h[156] != 0:
		return unsafef("the OVA has a member that is no plain file: %.100q", o.name)
	case o.name == "" || strings.ContainsAny(o.name, `/\`) || o.name == "." || o.name == ".." || bytes.HasPrefix(h[257:], []byte("ustar\x00")) && h[345] != 0:
		return unsafef("the OVA has a file that would lie elsewhere: %.100q", o.name)
	case o.names[o.name] || len(o.names) == ovaMembers:
		return unsafef("the OVA has a file twice, or more than %d", ovaMembers)
	case !ok:
		return unsafef("the OVA has a file of a size that cannot be: %.100q", o.name)
	case len(o.names) == 0 && !o.describes():
		return fmt.Errorf("%w: an OVA begins with an OVF descriptor", ErrMismatch)
	case o.describes() && (len(o.names) > 0 || size > ovaDescriptor):
		return unsafef("the OVA has several descriptors, or one of more than %d bytes", ovaDescriptor)
	}
	o.names[o.name] = true
	o.left, o.padding = size, (tarBlock-size%tarBlock)%tarBlock
	if strings.HasSuffix(strings.ToLower(o.name), ".vmdk") {
		o.disk = NewInspector(VMDK, false)
	}
	if size == 0 {
		return o.end()
	}
	return nil
}

func (o *OVAInspector) describes() bool { return strings.HasSuffix(strings.ToLower(o.name), ".ovf") }

// body takes a piece of the present file.
func (o *OVAInspector) body(p []byte) error {
	o.left -= int64(len(p))
	if o.describes() {
		o.descriptor = append(o.descriptor, p...)
	}
	if o.disk != nil {
		if _, err := o.disk.Write(p); err != nil {
			return fmt.Errorf("%q in the OVA: %w", o.name, err)
		}
	}
	if o.left == 0 {
		return o.end()
	}
	return nil
}

// end judges a file that is complete.
func (o *OVAInspector) end() error {
	if o.disk == nil {
		return nil
	}
	info, err := o.disk.Close()
	if err != nil {
		return fmt.Errorf("%q in the OVA: %w", o.name, err)
	}
	if o.disk = nil; o.size+info.VirtualSize < o.size {
		return unsafef("the OVA's disks are larger than can be")
	}
	o.size += info.VirtualSize
	return nil
}

// Close is called at the content's end, and says what it was.
func (o *OVAInspector) Close() (Info, error) {
	if o.err != nil {
		return Info{}, o.err
	}
	if o.left > 0 || len(o.header) > 0 || len(o.names) == 0 {
		return Info{}, fmt.Errorf("%w: the OVA is cut short", ErrMismatch)
	}
	if err := o.checkDescriptor(); err != nil {
		return Info{}, err
	}
	return Info{Format: OVA, VirtualSize: o.size}, nil
}

// checkDescriptor holds the files that the descriptor names against those that there are.
func (o *OVAInspector) checkDescriptor() error {
	d := xml.NewDecoder(bytes.NewReader(o.descriptor))
	envelope := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && envelope {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: the OVF descriptor cannot be read", ErrMismatch)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		envelope = envelope || element.Name.Local == "Envelope"
		for _, a := range element.Attr {
			switch {
			case element.Name.Local == "File" && a.Name.Local == "href" && !o.names[a.Value]:
				return unsafef("the OVF descriptor names a file outside of the archive: %.100q", a.Value)
			case element.Name.Local == "File" && a.Name.Local == "chunkSize":
				return unsafef("the OVF descriptor names a file in chunks")
			case element.Name.Local == "Disk" && a.Name.Local == "parentRef":
				return unsafef("the OVF descriptor has a disk that differs from a parent")
			}
		}
	}
}

// tarSum says whether a header's checksum is right: that of its bytes with blanks for the sum itself.
func tarSum(h []byte) bool {
	want, err := strconv.ParseInt(strings.Trim(string(h[148:156]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	sum := int64(8 * ' ')
	for i, c := range h {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum == want
}

// tarSize reads a size: octal digits, or a binary number where there are too many of them.
func tarSize(field []byte) (int64, bool) {
	if field[0] == 0x80 {
		size := binary.BigEndian.Uint64(field[4:])
		return int64(size), bytes.Equal(field[1:4], make([]byte, 3)) && size < 1<<62
	}
	size, err := strconv.ParseInt(strings.Trim(string(field), " \x00"), 8, 64)
	return size, err == nil && size >= 0
}
