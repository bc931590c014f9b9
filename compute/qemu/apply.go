//go:build linux

package qemu

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/digitalocean/go-qemu/qmp/raw"
	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"golang.org/x/sys/unix"
)

const (
	// killDeadline bounds the wait for a process that was killed, startDeadline that for one to set up its machine.
	killDeadline  = 20 * time.Second
	startDeadline = 60 * time.Second
	// controlDeadline bounds one conversation with a running QEMU, powerdownAgain is when a guest that has not reacted
	// to the power button (it may not have been up yet) feels it again.
	controlDeadline = 5 * time.Second
	powerdownAgain  = 5 * time.Second
)

func validID(id string) error {
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return fault.Wrap(ErrInvalid, "qemu: server %q: the identifier is not a UUID in lower case", id)
	}
	return nil
}

func validate(want driver.Server) error {
	if err := validID(want.ID); err != nil {
		return err
	}
	switch {
	case want.VCPUs < 1 || want.VCPUs > 255:
		return fault.Wrap(ErrInvalid, "qemu: server %s: %d processors", want.ID, want.VCPUs)
	case want.MemoryMiB < 1:
		return fault.Wrap(ErrInvalid, "qemu: server %s: %d MiB of memory", want.ID, want.MemoryMiB)
	case want.Root.SizeGiB < 0 || want.Running && want.Root == (driver.Disk{}) && len(want.Volumes) == 0:
		return fault.Wrap(ErrInvalid, "qemu: server %s: the disk has no size", want.ID)
	case want.Root.Base != "" && want.Root.Format != "raw" && want.Root.Format != "qcow2":
		return fault.Wrap(ErrInvalid, "qemu: server %s: image format %q", want.ID, want.Root.Format)
	case want.Initrd != "" && want.Kernel == "":
		return fault.Wrap(ErrInvalid, "qemu: server %s: an initrd without a kernel", want.ID)
	case strings.ContainsRune(want.CommandLine, 0):
		return fault.Wrap(ErrInvalid, "qemu: server %s: the kernel's command line holds a zero byte", want.ID)
	}
	return validateVolumes(want)
}

// fingerprint identifies what a server is made of, apart from whether and how often it runs.
func fingerprint(want driver.Server) string {
	want.Running, want.Boots, want.Hard = false, 0, false
	// Volumes come and go, and their secrets leave no trace here.
	want.Volumes = nil
	data, _ := json.Marshal(want)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Apply makes the server exist and run, or not, as want says. Where it runs since an earlier count of boots it is
// powered off by its guest, or by force when want.Hard is set or Options.Grace has passed, and started anew, as Nova
// reboots. A server that ended by itself is started.
func (d *Driver) Apply(ctx context.Context, want driver.Server) error {
	if err := validate(want); err != nil {
		return err
	}
	lock := d.lock(want.ID)
	lock.Lock()
	defer lock.Unlock()
	if err := d.apply(ctx, want); err != nil {
		return fmt.Errorf("qemu: server %s: %w", want.ID, err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, want driver.Server) error {
	rec, err := d.load(want.ID)
	if errors.Is(err, os.ErrNotExist) {
		rec, err = d.create(ctx, want)
	}
	if err != nil {
		return err
	}
	var proc *process.Process
	if rec.mayRun() {
		if proc, err = d.find(ctx, want.ID, rec); err != nil {
			return err
		}
	}
	if print := fingerprint(want); rec.Want != print {
		rec.Want = print
		if err := d.save(want.ID, rec); err != nil {
			return err
		}
	}
	if proc != nil {
		// A record of "starting" beside a process is one whose writer was killed in between.
		if want.Running && rec.Boots >= want.Boots && rec.Phase != phaseStopping {
			return d.keep(ctx, want, rec)
		}
		if rec, err = d.stop(ctx, want.ID, rec, proc, want.Hard); err != nil {
			return err
		}
	} else if rec.mayRun() {
		d.clean(want.ID)
		rec = d.ended(want.ID, rec)
		if err := d.save(want.ID, rec); err != nil {
			return err
		}
	}
	if !want.Running {
		return nil
	}
	return d.start(ctx, want, rec)
}

// keep leaves a server running, with the volumes that it is to have.
func (d *Driver) keep(ctx context.Context, want driver.Server, rec record) error {
	if rec.Phase != phaseRunning || !rec.Plugged && len(want.Volumes) > 0 {
		rec.Phase, rec.Plugged = phaseRunning, rec.Plugged || len(want.Volumes) > 0
		if err := d.save(want.ID, rec); err != nil {
			return err
		}
	}
	if !rec.Plugged {
		return nil
	}
	return d.changeVolumes(ctx, want)
}

// create makes the server's directory with its disk, wholly or not at all.
func (d *Driver) create(ctx context.Context, want driver.Server) (record, error) {
	// A name of its own: a qemu-img whose starter was killed may still be writing to an earlier one.
	making, err := os.MkdirTemp(d.instances(), want.ID+"-*"+extMaking)
	if err != nil {
		return record{}, err
	}
	rec := record{Phase: phaseStopped, Boots: want.Boots, Want: fingerprint(want)}
	if want.Root != (driver.Disk{}) {
		err = d.makeDisk(ctx, want.Root, filepath.Join(making, diskFile))
	}
	if err == nil {
		err = saveRecord(making, rec)
	}
	if err == nil {
		err = os.Rename(making, d.dir(want.ID))
	}
	if err != nil {
		return record{}, errors.Join(err, os.RemoveAll(making))
	}
	return rec, nil
}

// stop ends the server's process: at the guest's own pace, or by force.
func (d *Driver) stop(ctx context.Context, id string, rec record, proc *process.Process, hard bool) (record, error) {
	rec.Phase = phaseStopping
	if err := d.save(id, rec); err != nil {
		return rec, err
	}
	if !hard {
		if err := d.powerDown(ctx, id, proc); err != nil {
			return rec, err
		}
	}
	if err := kill(ctx, proc); err != nil {
		return rec, err
	}
	d.clean(id)
	rec.Phase, rec.Reason = phaseStopped, ""
	return rec, d.save(id, rec)
}

// powerDown presses the power button until the guest has ended or its grace is over. Only a context that ends is an error.
func (d *Driver) powerDown(ctx context.Context, id string, proc *process.Process) error {
	grace, cancel := context.WithTimeout(ctx, d.o.Grace)
	defer cancel()
	for grace.Err() == nil {
		// A QEMU that does not answer will be killed.
		_ = d.control(grace, id, func(m *raw.Monitor) error { return m.SystemPowerdown() })
		again, cancel := context.WithTimeout(grace, powerdownAgain)
		err := proc.Wait(again)
		cancel()
		if err == nil {
			return nil
		}
	}
	return ctx.Err()
}

// control has one conversation with a running QEMU.
func (d *Driver) control(ctx context.Context, id string, talk func(*raw.Monitor) error) error {
	ctx, cancel := context.WithTimeout(ctx, controlDeadline)
	defer cancel()
	client, err := qmp.Dial(ctx, d.qmpPath(id))
	if err != nil {
		return err
	}
	return errors.Join(talk(raw.NewMonitor(client.With(ctx))), client.Disconnect())
}

func kill(ctx context.Context, proc *process.Process) error {
	ctx, cancel := context.WithTimeout(ctx, killDeadline)
	defer cancel()
	if err := proc.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := proc.Wait(ctx); err != nil {
		return fmt.Errorf("process %d does not end: %w", proc.PID, err)
	}
	return nil
}

// ended says of a server whose process is gone whether its guest powered it off, we did, or it crashed.
func (d *Driver) ended(id string, rec record) record {
	wished := rec.Phase == phaseStopping
	rec.Phase, rec.Reason = phaseStopped, ""
	if wished {
		return rec
	}
	guest, last := readOutput(filepath.Join(d.dir(id), outputFile))
	if !guest {
		rec.Phase = phaseCrashed
		rec.Reason = "QEMU was killed, or died with the host"
		if last != "" {
			rec.Reason = "QEMU ended: " + last
		}
	}
	return rec
}

// readOutput reads what QEMU wrote since it was started: its events, one JSON object a line, and complaints.
// It says whether the guest powered itself off, and gives the last complaint.
func readOutput(path string) (guest bool, complaint string) {
	data, err := readTail(path, 64<<10)
	if err != nil {
		return false, ""
	}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		var event struct {
			Event string
			Data  struct{ Guest bool }
		}
		switch {
		case line == "":
		case json.Unmarshal([]byte(line), &event) != nil:
			complaint = line
		case event.Event == "SHUTDOWN":
			guest = event.Data.Guest
		}
	}
	return guest, complaint
}

// clean removes what a process that ended leaves outside the server's directory.
func (d *Driver) clean(id string) {
	_ = os.RemoveAll(d.run(id))
	d.removeCgroup(id)
}

// Remove kills the server and deletes its disk and everything else of it.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := validID(id); err != nil {
		return err
	}
	lock := d.lock(id)
	lock.Lock()
	defer lock.Unlock()
	if err := d.remove(ctx, id); err != nil {
		return fmt.Errorf("qemu: server %s: %w", id, err)
	}
	return nil
}

func (d *Driver) remove(ctx context.Context, id string) error {
	dir := d.dir(id)
	if _, err := os.Stat(dir); err == nil {
		rec, err := d.load(id)
		if err != nil {
			// Whatever the record said, a process may run.
			rec.Phase = phaseStarting
		}
		proc, err := d.find(ctx, id, rec)
		if err != nil {
			return err
		}
		if proc != nil {
			if err := kill(ctx, proc); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(dir + extGone); err != nil {
			return err
		}
		if err := os.Rename(dir, dir+extGone); err != nil {
			return err
		}
	}
	d.clean(id)
	return os.RemoveAll(dir + extGone)
}
