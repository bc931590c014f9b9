//go:build linux

package volumetest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Gone says that a process has ended. Its number goes a moment after it does: when whoever started it has heard of the end.
func Gone(t testing.TB, pid int) {
	t.Helper()
	gone := func() bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }
	require.Eventually(t, gone, time.Minute, 10*time.Millisecond, "process %d still runs", pid)
}
