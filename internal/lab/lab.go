//go:build linux

// Package lab runs a program in a machine inside the machine: fresh network, mount and process namespaces with
// nothing but a loopback, no way out, and nothing left behind. When the lab's first process ends, the kernel ends
// every other one in it.
//
// A test package that touches the host's network runs inside a lab as a whole:
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }
//
//	func TestRouter(t *testing.T) {
//		labtest.Require(t)
//		…
//	}
//
// It needs root (CAP_SYS_ADMIN); without, tests that call labtest.Require are skipped, or fail where
// KINTOUN_REQUIRE=all is set.
package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"golang.org/x/sys/unix"
)

// stageVariable tells a re-executed program where it is: outer → "init" (first process) → "inside".
const stageVariable = "KINTOUN_LAB_STAGE"

// InitEnv and Cloneflags make of a program the first process of a new lab, for those who cannot use [Command].
const (
	InitEnv    = stageVariable + "=init"
	Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
)

// Main runs run inside a lab and returns its exit code. Without the rights to make one, it runs run where it is.
func Main(run func() int) int {
	switch {
	case Inside() || os.Geteuid() != 0:
		return run()
	case os.Getenv(stageVariable) == "init":
		return Init(nil)
	}
	cmd := Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	forward(cmd.Process)
	return exitCode(cmd.Wait())
}

// Inside says whether this process runs inside a lab.
func Inside() bool { return os.Getenv(stageVariable) == "inside" }

// IsInit says whether this process is a lab's first one, which has to call [Init].
func IsInit() bool { return os.Getenv(stageVariable) == "init" }

// Command prepares a program that becomes the first process of a new lab. It has to call [Init], as [Main] does.
func Command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), InitEnv)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: Cloneflags}
	return cmd
}

// InitOptions are optional.
type InitOptions struct {
	// Files are passed on, from descriptor 3.
	Files []*os.File
	// Restart starts the program again when a signal or a panic ended it. One that ends by itself, because it lacks
	// something, would only say so again.
	Restart bool
}

// ownFailure is the exit code of programs that ended by themselves; Go's panics have 2, signals over 128.
const ownFailure = 1

// restartPause is how long a program that failed is left alone.
const restartPause = time.Second

// Init is what the first process of a lab does: it furnishes the lab, runs this program again inside it, takes in
// orphans, and returns the program's exit code. When it returns and exits, the kernel ends all else in the lab.
func Init(options *InitOptions) int {
	if options == nil {
		options = &InitOptions{}
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	for {
		code, stopped, err := runInside(options.Files, signals)
		if err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			return 1
		}
		if stopped || code <= ownFailure || !options.Restart {
			return code
		}
		time.Sleep(restartPause)
	}
}

// runInside runs the program once. Signals end it, and stopped says that one came.
func runInside(files []*os.File, signals <-chan os.Signal) (code int, stopped bool, err error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = environment("inside")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	ended := make(chan int, 1)
	go func() { ended <- reap(cmd.Process.Pid) }()
	for {
		select {
		case s := <-signals:
			stopped = true
			_ = cmd.Process.Signal(s)
		case code := <-ended:
			return code, stopped, nil
		}
	}
}

func environment(stage string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, stageVariable+"=") {
			env = append(env, v)
		}
	}
	return append(env, stageVariable+"="+stage)
}

// furnish gives the new namespaces what programs expect: their own /proc, /sys and /run/netns, and a loopback.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// The machine's /sys shows the machine's network; a lab without its own can still work.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err == nil {
		_ = unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "")
	}
	if err := os.MkdirAll(netns.Dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", netns.Dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", netns.Dir, err)
	}
	return netns.LoopbackUp()
}

func forward(p *os.Process) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			_ = p.Signal(s)
		}
	}()
}

// reap waits for every child, adopted ones too, until the main one ends.
func reap(main int) int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1
		case pid == main && status.Exited():
			return status.ExitStatus()
		case pid == main && status.Signaled():
			return 128 + int(status.Signal())
		}
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	return 1
}
