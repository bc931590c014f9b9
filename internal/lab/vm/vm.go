//go:build linux

// Package vm runs a test's program in a virtual machine with Debian's kernel, for what the machine's own kernel lacks or what no
// test should do to it: device-mapper, kernel modules.
//
//	func TestMain(m *testing.M) { os.Exit(vm.Main(m.Run)) }
//
//	func TestMachine(t *testing.T) {
//		if !vm.Inside() {
//			vm.Run(t, &vm.Options{Modules: []string{"dm-thin-pool"}, Programs: []string{"lvm"}, DiskBytes: 1 << 30})
//			return
//		}
//		… // here is /dev/vda, an empty disk
//	}
//
// The machine has a file system in memory with the test's program, the programs that it names and the libraries of these, an empty
// disk, a loopback, and no other device: nothing that happens in it reaches the host. Inside, package lab's Inside is true too.
//
// It needs QEMU (qemu-system-x86), cpio, and the kernel that scripts/kernel unpacks into build/kernel. It runs without KVM, some 20 times
// slower than the host, and starts in about six seconds. It may be used from several tests at once.
package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// Options say what the machine has.
type Options struct {
	// Modules are the kernel's modules that are loaded; those that they need are found.
	Modules []string
	// Programs are of this machine's, by name or path; their libraries are found. Files are paths of others.
	Programs, Files []string
	// DiskBytes is the size of an empty disk, /dev/vda; none by default.
	DiskBytes int64
	// MemoryMiB is 2048 by default.
	MemoryMiB int
	// Match says which tests run inside, as -test.run has it; by default the one that calls.
	Match string
	// Arguments are further ones of the program inside.
	Arguments []string
	// Timeout bounds the machine's life; 10 minutes by default.
	Timeout time.Duration
}

func (o *Options) setDefaults(t testing.TB) {
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 2048
	}
	if o.Match == "" {
		o.Match = "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
}

// Run runs this test's program in a machine, passes its output on, and fails the test unless it ends well.
func Run(t *testing.T, options *Options) {
	t.Helper()
	o := *options
	o.setDefaults(t)
	labtest.RequireProgram(t, emulator, "qemu-system-x86")
	labtest.RequireProgram(t, "cpio", "cpio")
	kernel := kernelDir(t)
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	require.NoError(t, pack(dir, initrd, kernel, &o))
	ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
	defer cancel()
	code, err := boot(ctx, dir, initrd, kernel, &o, t.Output())
	require.NoError(t, err)
	require.Zero(t, code, "the tests in the machine failed")
}

// kernelDir is build/kernel above.
func kernelDir(t testing.TB) string {
	t.Helper()
	for at := "."; ; at = filepath.Join("..", at) {
		if _, err := os.Stat(filepath.Join(at, "build/kernel/from")); err == nil {
			return filepath.Join(at, "build/kernel")
		}
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil || len(at) > 100 {
			labtest.Skip(t, "needs a kernel with modules: scripts/kernel build/guest/.work/packages build/kernel")
		}
	}
}

const emulator = "qemu-system-x86_64"

// commandLine is the kernel's. Who reads a figure of the clock's, or of a mitigation, reads one of the emulator's.
const commandLine = "rdinit=" + program + " console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable mitigations=off nokaslr lsm= audit=0 " + variable + "=init"

// boot runs the machine until it ends, and returns the program's exit code.
func boot(ctx context.Context, dir, initrd, kernel string, o *Options, output io.Writer) (code int, err error) {
	console := filepath.Join(dir, "console")
	args := []string{
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(o.MemoryMiB), "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", initrd, "-append", commandLine,
		"-chardev", "file,id=console,path=" + console, "-serial", "chardev:console", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
	}
	for n, name := range ports {
		args = append(args, "-chardev", fmt.Sprintf("file,id=%s,path=/dev/fd/%d", name, 3+n), "-device", "virtserialport,chardev="+name+",name="+name)
	}
	if o.DiskBytes > 0 {
		disk := filepath.Join(dir, "disk")
		if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, o.DiskBytes)); err != nil {
			return 0, err
		}
		args = append(args, "-drive", "if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file="+disk, "-device", "virtio-blk-pci,drive=disk")
	}
	cmd := exec.CommandContext(ctx, emulator, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr, result bytes.Buffer
	cmd.Stderr = &stderr
	var copies sync.WaitGroup
	var ends []*os.File
	for _, to := range []io.Writer{output, &result} {
		from, end, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		cmd.ExtraFiles, ends = append(cmd.ExtraFiles, end), append(ends, from, end)
		copies.Go(func() { _, _ = io.Copy(to, from) })
	}
	err = cmd.Run()
	for n := 1; n < len(ends); n += 2 {
		_ = ends[n].Close()
	}
	copies.Wait()
	for n := 0; n < len(ends); n += 2 {
		_ = ends[n].Close()
	}
	if _, scan := fmt.Sscanf(result.String(), "exit %d", &code); scan == nil && err == nil {
		return code, nil
	}
	return 0, fmt.Errorf("the machine ended early (%w); its console: %s%s", errors.Join(err, ctx.Err()), lastLines(console), stderr.String())
}

// lastLines are the end of a file.
func lastLines(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	var lines []string
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		if lines = append(lines, scanner.Text()); len(lines) > 30 {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
