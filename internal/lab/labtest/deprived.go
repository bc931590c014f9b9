//go:build linux

package labtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// deprivedVariable names the test that runs as a process without capabilities.
const deprivedVariable = "KINTOUN_DEPRIVED"

// answerFD is where such a process writes what run returned.
const answerFD = 3

// Deprived runs run in a process that lacks the capabilities (unix.CAP_…), and returns the text of its error, or nothing. The
// process is this test's own program, which comes to the same call: what the test does before is done there too.
func Deprived(t *testing.T, capabilities []uintptr, run func() error) string {
	t.Helper()
	if os.Getenv(deprivedVariable) == t.Name() {
		answer(run())
	}
	read, write, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), deprivedVariable+"="+t.Name())
	cmd.ExtraFiles = []*os.File{write}
	failed := make(chan error, 1)
	go func() {
		// The thread ends with the goroutine, and what it was deprived of with it.
		runtime.LockOSThread()
		failed <- startWithout(cmd, capabilities)
	}()
	require.NoError(t, <-failed)
	require.NoError(t, write.Close())
	text, err := io.ReadAll(read)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.NoError(t, read.Close())
	return string(text)
}

func answer(err error) {
	if err != nil {
		_, _ = fmt.Fprint(os.NewFile(answerFD, "answer"), err)
	}
	os.Exit(0)
}

// startWithout starts a process whose bounding set (capabilities(7)) lacks the capabilities: what it executes has none of them.
func startWithout(cmd *exec.Cmd, capabilities []uintptr) error {
	for _, c := range capabilities {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	return cmd.Start()
}

// Traceless fails the test if run leaves anything in the lab: a device, a mount, a name of a namespace, a process, a
// descriptor, or a temporary file.
func Traceless(t *testing.T, run func(ctx context.Context) error) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	// The runtime opens descriptors of its own once.
	require.NoError(t, run(t.Context()))
	before := traces(t)
	require.NoError(t, run(t.Context()))
	require.Equal(t, before, traces(t))
}

func traces(t *testing.T) []string {
	t.Helper()
	devices, err := net.Interfaces()
	require.NoError(t, err)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	all := strings.Split(string(mounts), "\n")
	for _, d := range devices {
		all = append(all, "device "+d.Name)
	}
	for _, dir := range []string{"/proc", "/run/netns", "/proc/self/fd", os.TempDir()} {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			if dir != "/proc" || strings.Trim(e.Name(), "0123456789") == "" {
				all = append(all, dir+"/"+e.Name())
			}
		}
	}
	slices.Sort(all)
	return all
}
