//go:build linux

package vm_test

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/vm"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(vm.Main(m.Run)) }

func TestMachine(t *testing.T) {
	if !vm.Inside() {
		t.Setenv("KINTOUN_SAYS", "hello")
		vm.Run(t, &vm.Options{Modules: []string{"dm-thin-pool"}, Programs: []string{"cat"}, DiskBytes: 1 << 30})
		return
	}
	comeToHarm(t)
	require.True(t, lab.Inside())
	require.Equal(t, "hello", os.Getenv("KINTOUN_SAYS"))
	links, err := net.Interfaces()
	require.NoError(t, err)
	require.Len(t, links, 1)
	require.Equal(t, "lo", links[0].Name)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	_, err = os.Stat("/dev/mapper/control")
	require.NoError(t, err)
	f, err := os.Open("/dev/vda")
	require.NoError(t, err)
	size, err := f.Seek(0, 2)
	require.NoError(t, err)
	require.Equal(t, int64(1<<30), size)
	require.NoError(t, os.WriteFile("/etc/what", []byte("it"), 0o600))
	out, err := exec.Command("cat", "/etc/what").Output()
	require.NoError(t, err)
	require.Equal(t, "it", string(out))
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
}

// badVariable says how a program in the machine comes to harm.
const badVariable = "KINTOUN_TEST_BAD"

// TestHarm runs this program again, for TestMachine to fail there.
func TestHarm(t *testing.T) {
	if vm.Inside() || os.Getenv(badVariable) != "" {
		return
	}
	for bad, says := range map[string]string{"fails": "this test fails", "panics": "this test panics", "ends": "the machine ended early"} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestMachine$", "-test.v")
		cmd.Env = append(os.Environ(), badVariable+"="+bad)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, bad)
		require.Contains(t, string(out), says)
		require.Contains(t, string(out), "--- FAIL: TestMachine")
	}
}

func comeToHarm(t *testing.T) {
	switch os.Getenv(badVariable) {
	case "fails":
		require.Fail(t, "this test fails")
	case "panics":
		panic("this test panics")
	case "ends":
		require.NoError(t, os.WriteFile("/proc/sysrq-trigger", []byte("o"), 0))
		select {}
	}
}
