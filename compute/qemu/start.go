//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"golang.org/x/sys/unix"
)

const (
	diskFile    = "disk.qcow2"
	consoleFile = "console.log"
	// outputFile holds QEMU's events and complaints since its start.
	outputFile = "qemu.log"
	// lockFile is held (flock(2)) by a server's process from the moment it is forked: one whose starter was killed
	// before it had become QEMU is not overlooked.
	lockFile = "lock"
)

// lockWait bounds the wait for a forked process to become QEMU, or for one that ended to let go of its files.
const lockWait = 10 * time.Second

// firstFD is the descriptor that the first of a process's extra files gets.
const firstFD = 3

// files are the open files that a QEMU is handed.
type files struct {
	all []*os.File
	// read are directories that QEMU has read when it has set up its machine.
	read []string
}

// forget removes what nobody needs after the start.
func (f *files) forget() {
	for _, dir := range f.read {
		_ = os.RemoveAll(dir)
	}
}

// add takes the file over and says which descriptor it will be.
func (f *files) add(file *os.File) int {
	f.all = append(f.all, file)
	return firstFD + len(f.all) - 1
}

func (f *files) open(path string, flag int, mode os.FileMode) (int, error) {
	file, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return 0, err
	}
	return f.add(file), nil
}

func (f *files) close() {
	for _, file := range f.all {
		_ = file.Close()
	}
}

// find returns the server's process, or nil. One that a killed starter has forked is waited for until it can be seen.
func (d *Driver) find(ctx context.Context, id string, rec record) (*process.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		proc, err := process.Find(d.dir(id))
		if err != nil || proc != nil || rec.Phase != phaseStarting {
			return proc, err
		}
		free, err := d.tryLock(id)
		if err != nil {
			return nil, err
		}
		if free != nil {
			return nil, free.Close()
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, fmt.Errorf("a process that holds %s cannot be found: %w", lockFile, err)
		}
	}
}

// tryLock takes the lock of the server's process; nil if a process has it.
func (d *Driver) tryLock(id string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(d.dir(id), lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, errors.Join(err, file.Close())
}

func pause(ctx context.Context, interval time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(interval):
		return nil
	}
}

// lockProcess takes the lock for a process to come. A process forked for something else may hold it for a moment.
func (d *Driver) lockProcess(ctx context.Context, id string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		file, err := d.tryLock(id)
		if err != nil || file != nil {
			return file, err
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, fmt.Errorf("another process of the server runs: %w", err)
		}
	}
}

// start starts the server's QEMU and waits until it has set up its machine, which its guest does not wait for.
func (d *Driver) start(ctx context.Context, want driver.Server, rec record) error {
	var f files
	defer f.close()
	lock, err := d.lockProcess(ctx, want.ID)
	if err != nil {
		return err
	}
	f.add(lock)
	defer f.forget()
	m, err := d.prepare(want, &f)
	if err != nil {
		return err
	}
	events, err := eventsInput(&f)
	if err != nil {
		return err
	}
	defer func() { _ = events.Close() }()
	dir := d.dir(want.ID)
	output := filepath.Join(dir, outputFile)
	if err := os.WriteFile(output, nil, 0o600); err != nil {
		return err
	}
	before := rec
	rec.Phase, rec.Boots, rec.Reason, rec.Plugged = phaseStarting, max(want.Boots, rec.Boots), "", len(want.Volumes) > 0
	if err := d.save(want.ID, rec); err != nil {
		return err
	}
	proc, err := process.Start(process.Spec{
		Dir: dir, Path: d.o.Binary, Args: m.arguments(), Credential: d.credential,
		Stdin: events, Output: output, Files: f.all, Cgroup: d.makeCgroup(want),
	})
	f.close()
	if err == nil {
		err = d.awaitStart(ctx, want.ID, proc)
	}
	if err != nil {
		// It never ran: the same boot is tried again.
		d.clean(want.ID)
		before.Phase, before.Reason = phaseCrashed, err.Error()
		return errors.Join(err, d.save(want.ID, before))
	}
	rec.Phase = phaseRunning
	if err := d.save(want.ID, rec); err != nil {
		return err
	}
	d.ends.Started(want.ID, proc)
	return nil
}

// awaitStart waits for QEMU's greeting, which it gives when its machine is set up.
func (d *Driver) awaitStart(ctx context.Context, id string, proc *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	client, err := qmp.Dial(ctx, d.qmpPath(id))
	if err == nil {
		return client.Disconnect()
	}
	if proc.Alive() && ctx.Err() == nil {
		// It hung up and is about to end.
		ending, cancel := context.WithTimeout(ctx, time.Second)
		_ = proc.Wait(ending)
		cancel()
	}
	if ctx.Err() == nil {
		if _, complaint := readOutput(filepath.Join(d.dir(id), outputFile)); complaint != "" {
			err = fault.Wrap(ErrUnavailable, "%s", complaint)
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), killDeadline)
	defer cancel()
	return errors.Join(err, kill(stopping, proc))
}

// prepare opens everything that QEMU needs and describes the machine in terms of the descriptors.
func (d *Driver) prepare(want driver.Server, f *files) (*machine, error) {
	dir := d.dir(want.ID)
	m := &machine{
		server: want, accelerator: d.accelerator, cpu: d.o.CPU, hotPlugPorts: max(d.o.HotPlugPorts, 0), offload: !d.o.NoOffload,
	}
	var err error
	if want.Root != (driver.Disk{}) {
		if m.disk, err = f.open(filepath.Join(dir, diskFile), os.O_RDWR, 0); err != nil {
			return nil, err
		}
	}
	if want.Root.Base != "" {
		if m.base, err = f.open(want.Root.Base, os.O_RDONLY, 0); err != nil {
			return nil, fault.Wrap(ErrUnavailable, "image: %v", err)
		}
	}
	if m.console, err = f.open(filepath.Join(dir, consoleFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	if want.Kernel != "" {
		if m.kernel, err = f.readable(want.Kernel, filepath.Join(dir, "kernel")); err != nil {
			return nil, fault.Wrap(ErrUnavailable, "kernel: %v", err)
		}
	}
	if want.Initrd != "" {
		if m.initrd, err = f.readable(want.Initrd, filepath.Join(dir, "initrd")); err != nil {
			return nil, fault.Wrap(ErrUnavailable, "initrd: %v", err)
		}
	}
	if err := os.MkdirAll(d.run(want.ID), 0o700); err != nil {
		return nil, err
	}
	if m.qmp, err = f.listen(d.qmpPath(want.ID)); err != nil {
		return nil, err
	}
	if m.serial, err = f.listen(filepath.Join(d.run(want.ID), "serial")); err != nil {
		return nil, err
	}
	for _, v := range want.Volumes {
		b, credentials, err := d.openVolume(want.ID, v, false, func(file *os.File, node bool) (string, error) {
			fd := f.add(file)
			if !node {
				return devFD(fd), nil
			}
			m.sets = append(m.sets, volumeSet{fd, v.ID})
			return devFDSet(fd), nil
		})
		if credentials != "" {
			f.read = append(f.read, credentials)
		}
		if err != nil {
			return nil, err
		}
		m.volumes = append(m.volumes, b)
	}
	for _, nic := range want.NICs {
		taps, err := openTap(nic.Device)
		if err != nil {
			return nil, err
		}
		n := machineNIC{tap: f.add(taps.tap)}
		if taps.vhost != nil {
			n.vhost = f.add(taps.vhost)
		}
		m.nics = append(m.nics, n)
	}
	return m, nil
}

// readable opens a file that QEMU will open again by its descriptor, which it may only if it may read it: one that is
// not everybody's to read is copied first.
func (f *files) readable(path, copyTo string) (int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if info.Mode().Perm()&0o004 != 0 || os.Geteuid() != 0 {
		return f.open(path, os.O_RDONLY, 0)
	}
	if err := copyFile(path, copyTo); err != nil {
		return 0, err
	}
	return f.open(copyTo, os.O_RDONLY, 0)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// listen makes a listening socket that stays when we end.
func (f *files) listen(path string) (int, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return 0, err
	}
	listener.SetUnlinkOnClose(false)
	defer func() { _ = listener.Close() }()
	file, err := listener.File()
	if err != nil {
		return 0, err
	}
	return f.add(file), nil
}

// eventsInput is the standard input of a QEMU whose second QMP monitor writes every event to its standard output: how
// a server ended is on record even if nobody watched. The other end of the pipe is QEMU's too, so that it never ends.
func eventsInput(f *files) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	f.add(write)
	if _, err := write.WriteString(`{"execute":"qmp_capabilities"}` + "\n"); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	return read, nil
}

type tapFiles struct{ tap, vhost *os.File }

// openTap opens an existing tap device of the caller's network namespace, and vhost-net where the kernel has it.
func openTap(name string) (tapFiles, error) {
	if _, err := net.InterfaceByName(name); err != nil {
		return tapFiles{}, fault.Wrap(ErrUnavailable, "device %s: %v", name, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return tapFiles{}, fault.Wrap(ErrUnavailable, "/dev/net/tun: %v", err)
	}
	tap := os.NewFile(uintptr(fd), name)
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return tapFiles{}, errors.Join(fault.Wrap(ErrUnavailable, "tap device %s: %v", name, err), tap.Close())
	}
	vhost, err := os.OpenFile("/dev/vhost-net", os.O_RDWR, 0)
	if err != nil {
		vhost = nil
	}
	return tapFiles{tap, vhost}, nil
}
