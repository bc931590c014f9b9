// Package alone runs a package's tests in namespaces of their own, in the way that the README of Kintoun's examples has it.
package alone

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

const inside = "OUTSIDE_ALONE"

// Main is for TestMain. Without root it runs the tests where they are.
func Main(m *testing.M) int {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		return m.Run()
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	const first = `mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec "$0" "$@"`
	cmd := exec.Command("unshare", append([]string{
		"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", first,
	}, os.Args...)...)
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Require skips a test that is not alone, or has not the programs.
func Require(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
}
