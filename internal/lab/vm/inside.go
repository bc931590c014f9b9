//go:build linux

package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/lab"
	"golang.org/x/sys/unix"
)

// variable tells the program where it is: the machine's first process, or what that has started.
const variable = "KINTOUN_VM"

// ports are those by which the machine says what the program writes, and how it has ended.
var ports = []string{"output", "result"}

// Inside says whether this process runs in a machine.
func Inside() bool { return os.Getenv(variable) == "inside" }

// Main runs run, and does before what a machine's first process has to do. Call it in TestMain.
func Main(run func() int) int {
	if os.Getenv(variable) != "init" || os.Getpid() != 1 && !lab.Inside() {
		return run()
	}
	if lab.Inside() { // the first process has started it, in the machine as it has furnished it
		_ = os.Setenv(variable, "inside")
		return run()
	}
	code, err := initialize()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
	}
	report(code, err)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	return code
}

// initialize makes of the machine what programs expect, runs the program, and returns its exit code.
func initialize() (code int, err error) {
	for _, m := range []struct{ what, at string }{{"devtmpfs", "/dev"}, {"sysfs", "/sys"}, {"proc", "/proc"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m.what, m.at, m.what, 0, ""); err != nil {
			return 0, fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	for link, to := range map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1"} {
		if err := os.Symlink(to, link); err != nil {
			return 0, err
		}
	}
	if err := loadModules(); err != nil {
		return 0, err
	}
	output, err := openPort("output")
	if err != nil {
		return 0, err
	}
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup3(int(output.Fd()), fd, 0); err != nil {
			return 0, err
		}
	}
	data, err := os.ReadFile(callFile)
	if err != nil {
		return 0, err
	}
	var c call
	if err := json.Unmarshal(data, &c); err != nil {
		return 0, err
	}
	os.Args = c.Args
	for _, v := range append(c.Env, "PATH=/usr/sbin:/usr/bin", "HOME=/root") {
		name, value, _ := strings.Cut(v, "=")
		_ = os.Setenv(name, value)
	}
	return lab.Init(nil), nil
}

func loadModules() error {
	names, err := os.ReadFile(loadFile)
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(names)) {
		f, err := os.Open(filepath.Join(modulesDir, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// openPort opens the port of that name once it is there.
func openPort(name string) (*os.File, error) {
	for range 500 {
		found, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if is, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(is)) == name {
				return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(path))), os.O_WRONLY, 0)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, fmt.Errorf("the machine has no port %q", name)
}

// report tells the host how the program ended; who hears nothing looks at the console.
func report(code int, err error) {
	if err != nil {
		return
	}
	if port, err := openPort("result"); err == nil {
		_, _ = fmt.Fprintf(port, "exit %d\n", code)
		_ = port.Close()
	}
}
