//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"golang.org/x/sys/unix"
)

const (
	acceleratorKVM = "kvm"
	acceleratorTCG = "tcg"
	acceleratorAny = "auto"

	kvmDevice = "/dev/kvm"
	// probeDeadline is generous for a KVM that works, which needs a quarter of a second, and hopeless for one
	// that emulates instructions one by one.
	probeDeadline = 5 * time.Second
	probeExit     = 33
)

// verdict is what a trial of KVM showed. It holds for one boot of the host, one QEMU and one account.
type verdict struct {
	Boot, Binary string
	UID          int
	Works        bool
	Reason       string
}

func (d *Driver) verdictPath() string { return filepath.Join(d.o.Dir, "accelerator.json") }

// verdict is the remembered one, or the zero one if nothing was tried.
func (d *Driver) verdict() verdict {
	var v verdict
	if data, err := os.ReadFile(d.verdictPath()); err == nil {
		_ = json.Unmarshal(data, &v)
	}
	return v
}

func (d *Driver) chooseAccelerator(ctx context.Context) (string, error) {
	if d.o.Accelerator == acceleratorTCG {
		return acceleratorTCG, nil
	}
	v, err := d.tryKVM(ctx)
	switch {
	case err != nil:
		return "", err
	case v.Works:
		return acceleratorKVM, nil
	case d.o.Accelerator == acceleratorKVM:
		return "", fault.Wrap(ErrUnavailable, "qemu: KVM does not run guests here: %s", v.Reason)
	}
	return acceleratorTCG, nil
}

// tryKVM finds out whether KVM runs guests: a present /dev/kvm alone says little.
func (d *Driver) tryKVM(ctx context.Context) (verdict, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return verdict{}, err
	}
	want := verdict{Boot: strings.TrimSpace(string(boot)), Binary: d.o.Binary, UID: d.UID()}
	if v := d.verdict(); v.Boot == want.Boot && v.Binary == want.Binary && v.UID == want.UID {
		return v, nil
	}
	want.Reason, err = d.probeKVM(ctx)
	if err != nil {
		return verdict{}, err
	}
	want.Works = want.Reason == ""
	data, err := json.Marshal(want)
	if err != nil {
		return verdict{}, err
	}
	return want, os.WriteFile(d.verdictPath(), data, 0o600)
}

// probeFirmware is a machine's whole firmware, 64 KiB: from the reset vector it jumps to a loop of eight million
// instructions of real mode, then ends QEMU through isa-debug-exit with the status probeExit.
func probeFirmware() []byte {
	rom := make([]byte, 1<<16)
	copy(rom, []byte{
		0x66, 0xb9, 0x00, 0x00, 0x40, 0x00, // mov ecx, 4<<20
		0x66, 0x49, // dec ecx
		0x75, 0xfc, // jnz to the dec
		0xb0, 0x10, // mov al, 16 (the exit status is twice that, plus one)
		0xba, 0xf4, 0x00, // mov dx, 0xf4
		0xee, // out dx, al
		0xf4, // hlt
	})
	copy(rom[0xfff0:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // jmp f000:0000
	return rom
}

// probeKVM runs the probe firmware and says why it failed; an error is one of the probe itself.
func (d *Driver) probeKVM(ctx context.Context) (string, error) {
	if _, err := os.Stat(kvmDevice); errors.Is(err, os.ErrNotExist) {
		return "there is no " + kvmDevice, nil
	}
	return d.tryGuest(ctx, acceleratorKVM, d.probeCPU(), probeDeadline)
}

// tryGuest runs the probe firmware, from memory, and says why it failed; an error is one of the probe itself.
func (d *Driver) tryGuest(ctx context.Context, accelerator, cpu string, deadline time.Duration) (string, error) {
	fd, err := unix.MemfdCreate("probe.rom", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), "probe.rom")
	defer func() { _ = file.Close() }()
	if _, err := file.Write(probeFirmware()); err != nil {
		return "", err
	}
	trial, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(trial, d.o.Binary, "-machine", "q35", "-accel", accelerator, "-cpu", cpu, "-m", "16", "-nodefaults", "-no-user-config",
		"-display", "none", "-bios", devFD(firstFD), "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-sandbox", sandbox)
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.credential}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case trial.Err() != nil:
		return "a guest's first instructions did not end in " + deadline.String(), nil
	case errors.As(err, &exit) && exit.ExitCode() == probeExit:
		return "", nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		first, _, _ := strings.Cut(text, "\n")
		return first, nil
	}
	if err != nil {
		return err.Error(), nil
	}
	return "the guest ended with " + cmd.ProcessState.String(), nil
}

func (d *Driver) probeCPU() string {
	cpu := d.o.CPU
	setDefault(&cpu, "host")
	return cpu
}

// kvmGroup is the group that may use KVM, for QEMU to belong to.
func kvmGroup() []uint32 {
	var stat syscall.Stat_t
	if syscall.Stat(kvmDevice, &stat) != nil || stat.Gid == 0 || stat.Mode&0o060 != 0o060 {
		return nil
	}
	return []uint32{stat.Gid}
}
