//go:build linux

// Package qemu runs servers as QEMU processes, one for each: a driver of package compute/driver.
//
//	servers, err := qemu.New(ctx, &qemu.Options{Dir: "/var/lib/kintoun/compute"})
//	want := driver.Server{
//		ID: "8d1c7c3e-52f5-4a0f-9a4b-3c1f4ad2f1b0", Name: "vm1", VCPUs: 1, MemoryMiB: 512, Running: true, Boots: 1,
//		Root: driver.Disk{Base: "/var/lib/kintoun/images/debian.qcow2", Format: "qcow2", SizeGiB: 10},
//	}
//	if err := servers.Apply(ctx, want); err != nil {
//		log.Fatal(err)
//	}
//	console, err := servers.ConsoleLog(ctx, want.ID, 10)
//
// A QEMU runs unprivileged, under QEMU's own system call filter and, where cgroup v2 can be written, in a cgroup of its
// own; it opens nothing by path, but is handed its disks, its tap devices and its sockets as open files. Everything
// about a server lies in one directory, Options.Dir/instances/ID: its disk (a qcow2 layer over the image), its
// console's log, its record, QEMU's output. A whole program: examples/vmrunner, which boots an image and prints what
// the guest says.
//
// # What it needs
//
// QEMU 7.2 or later (Debian: qemu-system-x86, qemu-utils), and root, unless the user may open the tap devices and needs
// no other account; [Probe] starts a guest for an instant and names what is missing. KVM is used where it really runs
// guests, which is tried once per boot of the host; QEMU's own emulation (TCG) otherwise. What would make servers
// faster or safer, [Driver.Advice] says.
//
// # What it does not do
//
// It makes no tap devices: a [driver.NIC] names one that exists, a fabric's. It does not copy images, and does not look
// into them: package image/format does, before. It runs x86-64 guests on a BIOS or a kernel; there is no UEFI, no live
// migration, no resize. A change of a server's processors, memory, kernel or NICs takes effect when it boots next.
//
// # Volumes
//
// A server's [driver.Volume] is a virtio disk on a PCIe port of its own, whose serial number is the first 20 characters of the
// volume's identifier. Apply gives a running server those that it has not got, as far as Options.HotPlugPorts go, takes those
// that it is not to have (an error after 20 s, if the guest does not let go; the next Apply asks again), and tells it when one has
// grown. What QEMU has is asked of it each time, so that a program that is killed meanwhile leaves nothing that the next one does
// not find. A volume is a file or block device, an image in a Ceph cluster, or an export of an NBD server: one that dies stalls its
// guests, for a day at most, until it is back at the same address. The socket of one need not be below a directory that QEMU's account may enter, but
// the directory that it is in lasts and may be searched by it (0711), and the socket may be written to (0666). Keys and passphrases
// are never in a command line and on no disk once QEMU has read them. A server of NBD that has made an export larger hangs up: QEMU
// learns the size when it connects again.
//
// # Copies of disks
//
// [Driver.Capture] copies a server's disk, on its own, with QEMU's mirror job: into a file beside the disk, which has no name from
// the moment that it is whole. A running guest notices nothing but the load; it needs room for what the disk holds, until the copy
// is closed. A copy of a guest that writes faster than the host copies is not done before the guest pauses for breath.
//
// # Errors
//
// Errors are wrapped with the server's identifier; [ErrInvalid] (a value that cannot be), [ErrNotFound] (no such
// server, no console yet) and [ErrUnavailable] (something is missing, or QEMU ended while it started, with its
// complaint) are the kinds. What is missing is a [probe.Missing], found with errors.As. A guest's own crash is no
// error: List says [driver.Crashed] and the reason.
//
// # Concurrency
//
// A [Driver] is safe for concurrent use; calls for one server are made one after the other. Only one process at a time
// should have a directory. It holds a goroutine for each QEMU that it started, and Watch one for each that runs.
//
// # When the process ends
//
// Servers go on: a QEMU is no child that ends with its starter. A new Driver over the same directory finds it by its
// pid and start time, or by a mark in its environment if the starter was killed in between; what a killed Apply left
// half made is completed or removed.
package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"golang.org/x/sys/unix"
)

// The kinds of error.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrNotFound    = fault.ErrNotFound
	ErrUnavailable = fault.ErrUnavailable
)

// Options says how to run servers. The zero value of each field but Dir is a default.
type Options struct {
	// Dir keeps the servers. It is made if it does not exist.
	Dir string
	// RunDir keeps the servers' sockets; its path is short (at most 60 bytes). Default: Dir/run.
	RunDir string
	// Accelerator is "kvm", "tcg" or "auto" (the default): KVM if it works.
	Accelerator string
	// User is the account that QEMU runs as, by name or number. Default: "libvirt-qemu" if there is one, else "nobody";
	// without root it is always the caller.
	User string
	// Binary and ImageBinary are QEMU and qemu-img. Default: those on PATH.
	Binary, ImageBinary string
	// CPU is QEMU's processor model. Default: "host" with KVM, "qemu64" without.
	CPU string
	// Grace is how long a guest may take to power itself off before it is killed. Default: 60 s, as Nova's.
	Grace time.Duration
	// HotPlugPorts is how many PCIe ports are kept free in each server for volumes to come. Default: 16, without KVM 4, where
	// each adds about 25 ms to a guest's start; negative: none.
	HotPlugPorts int
	// NoOffload makes guests compute checksums and segment packets themselves, for fabrics that cannot.
	NoOffload bool
	// ConsoleBytes bounds each server's console log. Default: 1 MiB.
	ConsoleBytes int64
	// Cgroup is the directory (cgroup v2) to make the servers' cgroups in. Default: "kintoun" in the hierarchy's root
	// where that can be written, else none; "none" for none.
	Cgroup string
}

// Driver runs servers with QEMU.
type Driver struct {
	o           Options
	accelerator string
	credential  *syscall.Credential
	cgroup      string

	mu sync.Mutex
	// locks serialize what is done to one server.
	locks map[string]*sync.Mutex

	ends process.Ends
}

var (
	_ driver.Servers  = (*Driver)(nil)
	_ driver.Consoles = (*Driver)(nil)
	_ driver.Watcher  = (*Driver)(nil)
	_ driver.Disks    = (*Driver)(nil)
	_ driver.Imager   = (*Driver)(nil)
)

// maxRunDir keeps socket paths, RunDir/ID/serial, below the 108 bytes of unix(7).
const maxRunDir = 60

// New prepares to run servers below o.Dir, and finds those that run. It decides on the accelerator, which, the first
// time since the host's boot, may take some seconds.
func New(ctx context.Context, o *Options) (*Driver, error) {
	d := &Driver{o: *o, locks: map[string]*sync.Mutex{}}
	if err := errors.Join(d.setDefaults(), d.findBinary(), d.findImageBinary()); err != nil {
		return nil, err
	}
	var err error
	if d.credential, err = credential(d.o.User); err != nil {
		return nil, err
	}
	for _, dir := range []string{d.instances(), d.o.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("qemu: %w", err)
		}
	}
	if err := d.removeHalfMade(); err != nil {
		return nil, err
	}
	if d.accelerator, err = d.chooseAccelerator(ctx); err != nil {
		return nil, err
	}
	setDefault(&d.o.HotPlugPorts, freePorts(d.accelerator))
	d.cgroup = prepareCgroup(d.o.Cgroup)
	return d, nil
}

func (d *Driver) setDefaults() error {
	o := &d.o
	if o.Dir == "" {
		return fault.Wrap(ErrInvalid, "qemu: no directory")
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.RunDir == "" {
		o.RunDir = filepath.Join(o.Dir, "run")
	}
	if len(o.RunDir) > maxRunDir {
		return fault.Wrap(ErrInvalid, "qemu: the run directory %s is longer than %d bytes, too long for sockets: choose another", o.RunDir, maxRunDir)
	}
	setDefault(&o.Accelerator, acceleratorAny)
	switch o.Accelerator {
	case acceleratorAny, acceleratorKVM, acceleratorTCG:
	default:
		return fault.Wrap(ErrInvalid, "qemu: accelerator %q: it is auto, kvm or tcg", o.Accelerator)
	}
	setDefault(&o.Binary, "qemu-system-x86_64")
	setDefault(&o.ImageBinary, "qemu-img")
	setDefault(&o.Grace, 60*time.Second)
	setDefault(&o.ConsoleBytes, 1<<20)
	return nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// credential is whom to run as; nil is the caller.
func credential(name string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	candidates := []string{name}
	if name == "" {
		candidates = []string{"libvirt-qemu", "nobody"}
	}
	for _, candidate := range candidates {
		account, err := user.Lookup(candidate)
		if err != nil {
			account, err = user.LookupId(candidate)
		}
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(account.Uid, 10, 32)
		gid, _ := strconv.ParseUint(account.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: kvmGroup()}, nil
	}
	return nil, fault.Wrap(ErrInvalid, "qemu: there is no account %v to run servers as", candidates)
}

// UID is the numeric user that servers run as.
func (d *Driver) UID() int {
	if d.credential == nil {
		return os.Geteuid()
	}
	return int(d.credential.Uid)
}

// Accelerator is what runs the guests' instructions: "kvm" or "tcg".
func (d *Driver) Accelerator() string { return d.accelerator }

func (d *Driver) instances() string        { return filepath.Join(d.o.Dir, "instances") }
func (d *Driver) dir(id string) string     { return filepath.Join(d.instances(), id) }
func (d *Driver) run(id string) string     { return filepath.Join(d.o.RunDir, id) }
func (d *Driver) qmpPath(id string) string { return filepath.Join(d.run(id), "qmp") }
func (d *Driver) lock(id string) *sync.Mutex {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.locks[id]
	if l == nil {
		l = &sync.Mutex{}
		d.locks[id] = l
	}
	return l
}

// List says what exists, in the order of identifiers. It asks the kernel, not the guests.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	entries, err := os.ReadDir(d.instances())
	if err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	var all []driver.Observed
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if validID(entry.Name()) != nil {
			continue
		}
		one, err := d.observe(ctx, entry.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("qemu: server %s: %w", entry.Name(), err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (d *Driver) observe(ctx context.Context, id string) (driver.Observed, error) {
	// While something is done to the server its record is not ours to correct.
	lock := d.lock(id)
	locked := lock.TryLock()
	if locked {
		defer lock.Unlock()
	}
	rec, err := d.load(id)
	if err != nil {
		return driver.Observed{}, err
	}
	one := driver.Observed{ID: id, State: driver.Stopped, Boots: rec.Boots, Reason: rec.Reason}
	if rec.Phase == phaseCrashed {
		one.State = driver.Crashed
	}
	if !rec.mayRun() {
		return one, nil
	}
	proc, err := d.find(ctx, id, rec)
	if err != nil {
		return one, err
	}
	switch {
	case proc != nil:
		one.State, one.PID = driver.Running, proc.PID
		return one, nil
	case !locked && rec.Phase == phaseStarting:
		// Somebody is starting it.
		one.State = driver.Running
		return one, nil
	}
	rec = d.ended(id, rec)
	one.Reason = rec.Reason
	if rec.Phase == phaseCrashed {
		one.State = driver.Crashed
	}
	if locked {
		d.clean(id)
		return one, d.save(id, rec)
	}
	return one, nil
}

// removeHalfMade deletes what a creation or removal that was cut short left behind.
func (d *Driver) removeHalfMade() error {
	entries, err := os.ReadDir(d.instances())
	if err != nil {
		return fmt.Errorf("qemu: %w", err)
	}
	for _, entry := range entries {
		switch filepath.Ext(entry.Name()) {
		case extMaking, extGone:
			err := os.RemoveAll(filepath.Join(d.instances(), entry.Name()))
			// An orphan may be writing to it still: the next time, then.
			if err != nil && !errors.Is(err, unix.ENOTEMPTY) {
				return fmt.Errorf("qemu: %w", err)
			}
		}
	}
	return nil
}

// phase is what was last meant to happen to a server's process.
type phase string

const (
	// phaseStopped: no process, by wish or because the guest powered itself off.
	phaseStopped phase = "stopped"
	// phaseStarting: a process may exist that the record does not know of yet.
	phaseStarting phase = "starting"
	phaseRunning  phase = "running"
	// phaseStopping: the process is being ended by wish.
	phaseStopping phase = "stopping"
	// phaseCrashed: the process ended by a fault.
	phaseCrashed phase = "crashed"
)

// record is what is remembered of a server in its directory.
type record struct {
	Phase phase
	// Boots is the count of the last boot that was begun.
	Boots int
	// Want is the fingerprint of what was last applied.
	Want   string
	Reason string
	// Plugged says that the process that runs may have volumes, or what is left of some.
	Plugged bool `json:",omitempty"`
}

func (r record) mayRun() bool {
	return r.Phase == phaseStarting || r.Phase == phaseRunning || r.Phase == phaseStopping
}

const (
	recordFile = "record.json"
	extMaking  = ".making"
	extGone    = ".gone"
)

func (d *Driver) load(id string) (record, error) {
	var rec record
	data, err := os.ReadFile(filepath.Join(d.dir(id), recordFile))
	if err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(data, &rec)
}

func (d *Driver) save(id string, rec record) error { return saveRecord(d.dir(id), rec) }

func saveRecord(dir string, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, recordFile)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
