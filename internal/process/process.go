//go:build linux

// Package process runs programs that outlive the one that started them, and finds them again.
//
// Each process has a state directory with a file "pid" in it. A process is known again by its identifier and
// start time together, or, if its starter was killed before it could write the file, by a mark in its environment.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"golang.org/x/sys/unix"
)

const (
	pidFile = "pid"
	// mark names a process's state directory in its environment.
	mark = "KINTOUN_PROCESS"
)

// Spec says what to start.
type Spec struct {
	// Dir is the state directory; it exists. One process at a time belongs to it.
	Dir  string
	Path string
	Args []string
	// Namespace is the named network namespace to run in; empty is the caller's.
	Namespace string
	// Credential is whom to run as; nil is the caller.
	Credential *syscall.Credential
	// Stdin is the program's standard input; nil is empty.
	Stdin *os.File
	// Output receives standard output and error (created, appended to); empty discards them.
	Output string
	// Files are passed from descriptor 3 on.
	Files []*os.File
	// Cgroup is an existing cgroup directory to start in; empty is the caller's.
	Cgroup string
	// Env is added to the caller's environment.
	Env []string
	// Cloneflags makes namespaces of the process's own (clone(2), CLONE_NEW…).
	Cloneflags uintptr
}

// Process is a running program.
type Process struct {
	PID   int
	start uint64
}

// Start runs the program in a session of its own. It does not wait for it to be ready.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(append(os.Environ(), spec.Env...), mark+"="+spec.Dir)
	cmd.ExtraFiles = spec.Files
	if spec.Stdin != nil {
		cmd.Stdin = spec.Stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: spec.Credential, Cloneflags: spec.Cloneflags}
	if spec.Output != "" {
		out, err := os.OpenFile(spec.Output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { _ = out.Close() }()
		cmd.Stdout, cmd.Stderr = out, out
	}
	if spec.Cgroup != "" {
		dir, err := os.Open(spec.Cgroup)
		if err != nil {
			return nil, err
		}
		defer func() { _ = dir.Close() }()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	if err := netns.Do(spec.Namespace, cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(spec.Path), err)
	}
	// Reap it if it ends before we do; if we end first, the first process of the system does.
	go func() { _ = cmd.Wait() }()
	p := &Process{PID: cmd.Process.Pid}
	p.start, _ = startTime(p.PID)
	if err := p.record(spec.Dir); err != nil {
		_ = unix.Kill(p.PID, unix.SIGKILL)
		return nil, err
	}
	return p, nil
}

func (p *Process) record(dir string) error {
	path := filepath.Join(dir, pidFile)
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, "%d %d\n", p.PID, p.start), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Find returns the process that runs for dir, or nil if none does.
func Find(dir string) (*Process, error) {
	data, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err == nil {
		var p Process
		if _, err := fmt.Sscan(string(data), &p.PID, &p.start); err == nil && p.Alive() {
			return &p, nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return search(dir)
}

// search looks for the mark in every process's environment.
func search(dir string) (*Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	want := "\x00" + mark + "=" + dir + "\x00"
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if err != nil || !strings.Contains("\x00"+string(env)+"\x00", want) {
			continue
		}
		p := &Process{PID: pid}
		if p.start, err = startTime(pid); err == nil {
			return p, p.record(dir)
		}
	}
	return nil, nil
}

// Alive says whether the process still runs.
func (p *Process) Alive() bool {
	start, err := startTime(p.PID)
	return err == nil && start == p.start
}

// Signal sends a signal to the process, and to no other that got its number since.
func (p *Process) Signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || (err == nil && !p.Alive()) {
		if err == nil {
			_ = unix.Close(fd)
		}
		return os.ErrProcessDone
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Stop asks the process to end, and kills it when it has not done so within grace (at once when grace is zero).
func (p *Process) Stop(ctx context.Context, grace time.Duration) error {
	if grace > 0 {
		if err := p.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		waiting, cancel := context.WithTimeout(ctx, grace)
		err := p.Wait(waiting)
		cancel()
		if err == nil {
			return nil
		}
	}
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.Wait(ctx)
}

// startTime is the process's start in clock ticks since boot (proc(5), stat field 22). A zombie has ended, unless other threads
// than its first still end: they hold its files, addresses among them.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The program's name, in parentheses, may hold anything.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("process %d: unexpected stat", pid)
	}
	if threads := fields[17]; (fields[0] == "Z" && threads == "1") || fields[0] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
