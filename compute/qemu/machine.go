//go:build linux

package qemu

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/compute/driver"
)

// machine is a server in terms of the descriptors that its QEMU is handed; zero is none.
type machine struct {
	server       driver.Server
	accelerator  string
	cpu          string
	hotPlugPorts int
	offload      bool

	disk, base, console, kernel, initrd, qmp, serial int
	nics                                             []machineNIC
	volumes                                          []*backend
	// sets are the descriptors that volumes have.
	sets []volumeSet
}

type volumeSet struct {
	fd     int
	volume string
}

// portPrefix begins the names of PCIe ports.
const portPrefix = "port"

type machineNIC struct{ tap, vhost int }

// arguments is the machine as QEMU's command line. Files are named by their descriptors: block devices and
// logs as /dev/fdset/N, for which -add-fd is given, those that QEMU opens with the C library as /dev/fd/N.
func (m *machine) arguments() []string {
	s := m.server
	args := []string{
		"-name", "guest=" + s.ID,
		"-uuid", s.ID,
		"-machine", "q35,vmport=off,dump-guest-core=off",
		"-m", strconv.Itoa(s.MemoryMiB),
		"-smp", strconv.Itoa(s.VCPUs),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", sandbox,
		// cloud-init knows OpenStack by these.
		"-smbios", "type=1,manufacturer=OpenStack Foundation,product=OpenStack Nova,version=1,serial=" + s.ID + ",uuid=" + s.ID + ",family=Virtual Machine",
		"-rtc", "base=utc",
		"-boot", "strict=on",
	}
	args = append(args, m.acceleratorArguments()...)
	args = append(args, m.kernelArguments()...)
	args = append(args, m.diskArguments()...)
	args = append(args,
		"-add-fd", fmt.Sprintf("fd=%d,set=%d", m.console, m.console),
		"-chardev", fmt.Sprintf("socket,id=serial,fd=%d,server=on,wait=off,logfile=/dev/fdset/%d,logappend=on", m.serial, m.console),
		"-device", "isa-serial,chardev=serial",
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", m.qmp),
		"-mon", "chardev=qmp,mode=control",
		"-chardev", "stdio,id=events,signal=off",
		"-mon", "chardev=events,mode=control",
		"-device", "virtio-rng-pci",
	)
	return append(args, m.portArguments()...)
}

func (m *machine) acceleratorArguments() []string {
	cpu := m.cpu
	if m.accelerator == acceleratorKVM {
		setDefault(&cpu, "host")
		return []string{"-accel", "kvm", "-cpu", cpu}
	}
	setDefault(&cpu, "qemu64")
	// A small translation buffer suffices for small guests and keeps QEMU small.
	return []string{"-accel", "tcg,tb-size=32", "-cpu", cpu}
}

func (m *machine) kernelArguments() []string {
	if m.kernel == 0 {
		return nil
	}
	args := []string{"-kernel", devFD(m.kernel), "-append", m.server.CommandLine}
	if m.initrd != 0 {
		args = append(args, "-initrd", devFD(m.initrd))
	}
	return args
}

// sandbox is QEMU's own filter of system calls.
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

func devFDSet(set int) string { return fmt.Sprintf("/dev/fdset/%d", set) }

func devFD(fd int) string { return filepath.Join("/dev/fd", strconv.Itoa(fd)) }

// rootNode is the block node of the server's own disk.
const rootNode = "root"

// diskArguments gives the machine its own disk.
func (m *machine) diskArguments() []string {
	if m.disk == 0 {
		return nil
	}
	return append(m.diskNodes(false), "-device", "virtio-blk-pci,drive="+rootNode+",bootindex=2,serial=root")
}

// diskNodes describes the disk and the image below it explicitly: what the files' own headers name is never opened.
func (m *machine) diskNodes(readOnly bool) []string {
	root := map[string]any{
		"driver": "qcow2", "node-name": rootNode, "read-only": readOnly, "discard": "unmap", "file": fileNode(m.disk), "backing": nil,
	}
	args := []string{"-add-fd", fmt.Sprintf("fd=%d,set=%d", m.disk, m.disk)}
	if m.base != 0 {
		base := map[string]any{"driver": m.server.Root.Format, "node-name": "base", "read-only": true, "file": fileNode(m.base)}
		if m.server.Root.Format == "qcow2" {
			base["backing"] = nil
		}
		root["backing"] = "base"
		args = append(args, "-add-fd", fmt.Sprintf("fd=%d,set=%d", m.base, m.base), "-blockdev", object(base))
	}
	return append(args, "-blockdev", object(root))
}

func fileNode(fd int) map[string]any {
	return map[string]any{"driver": "file", "filename": devFDSet(fd)}
}

func object(value map[string]any) string {
	data, _ := json.Marshal(value)
	return string(data)
}

// freePorts is how many ports are kept free unless something else is said: firmware and kernel look at each.
func freePorts(accelerator string) int {
	if accelerator == acceleratorKVM {
		return 16
	}
	return 4
}

// portArguments gives each NIC and volume a PCIe port of its own, which lets it be unplugged, and adds free ones. Ports are
// functions of few slots, eight each.
func (m *machine) portArguments() []string {
	var args []string
	for i := range len(m.nics) + len(m.volumes) + m.hotPlugPorts {
		port := fmt.Sprintf("pcie-root-port,id=%s%d,chassis=%d,bus=pcie.0,addr=%#x.%#x", portPrefix, i, i+1, 0x10+i/8, i%8)
		if i%8 == 0 {
			port += ",multifunction=on"
		}
		args = append(args, "-device", port)
	}
	for i, nic := range m.nics {
		want := m.server.NICs[i]
		netdev := fmt.Sprintf("tap,id=net%d,fd=%d", i, nic.tap)
		if nic.vhost != 0 {
			netdev += fmt.Sprintf(",vhost=on,vhostfd=%d", nic.vhost)
		}
		device := fmt.Sprintf("virtio-net-pci,id=nic%d,netdev=net%d,bus=port%d,mac=%s,romfile=", i, i, i, strings.ToLower(want.MAC))
		if want.MTU > 0 {
			device += fmt.Sprintf(",host_mtu=%d", want.MTU)
		}
		if !m.offload {
			device += ",csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
		}
		args = append(args, "-netdev", netdev, "-device", device)
	}
	for _, set := range m.sets {
		args = append(args, "-add-fd", fmt.Sprintf("fd=%d,set=%d,opaque=%s%s", set.fd, set.fd, volumePrefix, set.volume))
	}
	for i, b := range m.volumes {
		args = append(args, b.arguments(fmt.Sprintf("%s%d", portPrefix, len(m.nics)+i), 1)...)
	}
	return args
}
