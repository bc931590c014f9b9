// Package format looks into disk images while they stream by, before any tool opens them.
//
//	i := format.NewInspector("raw", false)
//	_, err := io.Copy(i, strings.NewReader("QFI\xfb, which is how a qcow2 begins"))
//	_, err = i.Close()
//
// An [Inspector] is written the bytes of an image and keeps no more than the first 64 KiB and the last 1.5 KiB (of a VHDX
// 1 MiB of its metadata too). It
// refuses contents that are not of the declared format, and those that are and could make a tool open another file, or
// choke: a qcow2 with a backing file or an external data file, encrypted, with features nobody knows or with tables
// that cannot be; a VMDK whose descriptor names other files; a VHD, VHDX or VDI that differs from a parent; every QED;
// and what begins like two of them. What
// is declared raw must not begin like one of these formats either: a tool that guesses would be fooled. Sources: QEMU's
// docs/interop (qcow2, VHDX, VMDK notes), Microsoft's VHD specification.
//
// An [OVAInspector] does the same for an OVA and the disks in it.
//
// It needs nothing from the host, and only the standard library. It does not read what is inside the disk (file
// systems, programs), and does not convert.
//
// Errors wrap [ErrMismatch] or [ErrUnsafe], and say what was found. An Inspector is not for concurrent use: it belongs
// to one goroutine and one image. Nothing of it outlives the process.
package format

import (
	"bytes"
	"errors"
	"fmt"
)

// The names of formats, as OpenStack's disk_format has them.
const (
	Raw   = "raw"
	Qcow2 = "qcow2"
	VMDK  = "vmdk"
	VHD   = "vhd"
	VHDX  = "vhdx"
	VDI   = "vdi"
	ISO   = "iso"
	Ploop = "ploop"
	// OVA is a container format: see [OVAInspector].
	OVA = "ova"
	// QED is a format that no one may upload. It is only ever recognized.
	QED = "qed"
)

// The two reasons to refuse a content.
var (
	// ErrMismatch is a content that is not of the format that it was said to be.
	ErrMismatch = errors.New("the content does not match the disk format")
	// ErrUnsafe is a content of the right format that must not be given to a tool.
	ErrUnsafe = errors.New("the content is unsafe")
)

func unsafef(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsafe}, args...)...)
}

const (
	headSize = 64 << 10
	tailSize = 3 * 512
)

// Info is what a content is.
type Info struct {
	// Format is the format that the content bears: one of this package's names. Content without any is raw.
	Format string
	// VirtualSize is the size in bytes of the disk that a server sees; zero where that is not known.
	VirtualSize int64
}

// Inspector is a writer that judges what is written to it. Create it with [NewInspector].
type Inspector struct {
	declared string
	lenient  bool
	head     []byte
	tail     []byte
	size     int64
	judged   bool
	found    string
	// vhdx looks at what lies behind a VHDX's head; nil where the content is none.
	vhdx *vhdx
	err  error
}

// NewInspector returns an inspector of a content that is said to be of the format declared. The formats aki, ari and ami
// (kernels, ramdisks and machine images) are judged like raw.
//
// A lenient inspector takes contents without any known format for whatever they were declared as, as Glance did before it
// inspected images.
func NewInspector(declared string, lenient bool) *Inspector {
	return &Inspector{declared: declared, lenient: lenient}
}

// Write takes the next bytes. It fails as soon as enough is known to refuse the content.
func (i *Inspector) Write(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	at := i.size
	i.size += int64(len(p))
	if room := headSize - len(i.head); room > 0 {
		i.head = append(i.head, p[:min(room, len(p))]...)
	}
	i.keepTail(p)
	if len(i.head) == headSize && !i.judged {
		i.judgeHead()
	}
	if i.vhdx != nil && i.err == nil {
		i.err = i.vhdx.take(at, p)
	}
	if i.err != nil {
		return 0, i.err
	}
	return len(p), nil
}

func (i *Inspector) keepTail(p []byte) {
	if len(p) >= tailSize {
		i.tail = append(i.tail[:0], p[len(p)-tailSize:]...)
		return
	}
	if over := len(i.tail) + len(p) - tailSize; over > 0 {
		i.tail = append(i.tail[:0], i.tail[over:]...)
	}
	i.tail = append(i.tail, p...)
}

// Close is called at the content's end, and says what it was.
func (i *Inspector) Close() (Info, error) {
	if !i.judged && i.err == nil {
		i.judgeHead()
	}
	if i.err != nil {
		return Info{}, i.err
	}
	info, err := i.judgeWhole()
	if err != nil {
		i.err = err
		return Info{}, err
	}
	return info, nil
}

// judgeHead decides what the content is, and whether what its head says is safe.
func (i *Inspector) judgeHead() {
	i.judged = true
	i.found = Detect(i.head)
	if other := detectOther(i.head, i.found); other != "" {
		i.err = unsafef("it bears the marks of both %s and %s", i.found, other)
		return
	}
	if i.found == QED {
		i.err = unsafef("qed images are not supported")
		return
	}
	if i.err = i.compare(); i.err != nil {
		return
	}
	switch i.found {
	case Qcow2:
		_, i.err = parseQcow2(i.head)
	case VMDK:
		_, i.err = parseVMDK(i.head)
	case VHD:
		_, i.err = parseVHD(i.head)
	case VDI:
		_, i.err = parseVDI(i.head)
	case VHDX:
		i.vhdx = newVHDX()
	}
}

// compare holds what was found against what was declared.
func (i *Inspector) compare() error {
	declared := i.declared
	switch declared {
	case "aki", "ari", "ami":
		declared = Raw
	}
	switch {
	case declared == i.found:
		return nil
	case declared == Raw && i.found == ISO:
		return nil // the content of a medium, as raw images are, and nothing in it names a file
	case declared == VHD && i.found == Raw:
		return nil // a fixed VHD says so only at its end
	case i.found == Raw && i.lenient:
		return nil
	case i.found == Raw:
		return fmt.Errorf("%w: it was said to be %s and does not begin like one", ErrMismatch, i.declared)
	}
	return fmt.Errorf("%w: it was said to be %s and is %s", ErrMismatch, i.declared, i.found)
}

// judgeWhole judges what only the whole content tells.
func (i *Inspector) judgeWhole() (Info, error) {
	info := Info{Format: i.found}
	switch i.found {
	case Qcow2:
		header, err := parseQcow2(i.head)
		if err != nil {
			return Info{}, err
		}
		info.VirtualSize = int64(header.size)
		return info, header.fits(i.size)
	case VMDK:
		header, err := parseVMDK(i.head)
		if err != nil {
			return Info{}, err
		}
		info.VirtualSize = int64(header.capacity * sector)
		return info, header.checkFooter(i.tail)
	case VHD:
		size, err := parseVHD(i.head)
		info.VirtualSize = size
		return info, err
	case VDI:
		size, err := parseVDI(i.head)
		info.VirtualSize = size
		return info, err
	case VHDX:
		size, err := i.vhdx.judge()
		info.VirtualSize = size
		return info, err
	case Raw:
		return i.judgeRaw()
	case ISO:
		info.VirtualSize = i.size
	}
	return info, nil
}

// judgeRaw tells fixed VHDs, whose mark is at the end, from contents without a format.
func (i *Inspector) judgeRaw() (Info, error) {
	if i.declared != VHD {
		return Info{Format: Raw, VirtualSize: i.size}, nil
	}
	if footer := i.tail[max(0, len(i.tail)-sector):]; bytes.HasPrefix(footer, []byte(vhdMagic)) {
		size, err := parseVHD(footer)
		return Info{Format: VHD, VirtualSize: size}, err
	}
	if i.lenient {
		return Info{Format: Raw, VirtualSize: i.size}, nil
	}
	return Info{}, fmt.Errorf("%w: it was said to be vhd and does not end like one", ErrMismatch)
}

// Detect names the format that a content begins like, from its first bytes; [Raw] where it is none that is known.
func Detect(head []byte) string {
	if other := detectOther(head, Raw); other != "" {
		return other
	}
	return Raw
}

// detectOther names the first format that a content begins like and that is not the one given; empty if there is none.
func detectOther(head []byte, but string) string {
	for _, s := range signatures {
		if s.format != but && len(head) >= s.offset && bytes.HasPrefix(head[s.offset:], []byte(s.magic)) {
			return s.format
		}
	}
	if but != VMDK && isDescriptor(head) {
		return VMDK
	}
	return ""
}

// isDescriptor says whether QEMU takes a text for the descriptor of a VMDK: behind comments and blank lines it begins
// with a version. See vmdk_probe in https://github.com/qemu/qemu/blob/master/block/vmdk.c.
func isDescriptor(head []byte) bool {
	for len(head) > 0 && (head[0] == '#' || head[0] == ' ') {
		line, rest, ended := bytes.Cut(head, []byte("\n"))
		if !ended || line[0] == ' ' && len(bytes.TrimRight(bytes.TrimSuffix(line, []byte("\r")), " ")) > 0 {
			return false
		}
		head = rest
	}
	for _, version := range []string{"version=1", "version=2", "version=3"} {
		if rest, ok := bytes.CutPrefix(head, []byte(version)); ok {
			return bytes.HasPrefix(rest, []byte("\n")) || bytes.HasPrefix(rest, []byte("\r\n"))
		}
	}
	return false
}

// signatures are what formats begin with.
// See https://github.com/qemu/qemu/tree/master/docs/interop and ECMA-119, section 8.1.
var signatures = []struct {
	format, magic string
	offset        int
}{
	{Qcow2, "QFI\xfb", 0},
	{QED, "QED\x00", 0},
	{VMDK, "KDMV", 0},
	{VMDK, "COWD", 0},
	{VMDK, "# Disk DescriptorFile", 0},
	{VHD, vhdMagic, 0},
	{VHDX, "vhdxfile", 0},
	{Ploop, "WithoutFreeSpace", 0},
	{Ploop, "WithouFreSpacExt", 0},
	{VDI, "\x7f\x10\xda\xbe", 0x40},
	{ISO, "CD001", 16*2048 + 1},
	{ISO, "BEA01", 16*2048 + 1},
}
