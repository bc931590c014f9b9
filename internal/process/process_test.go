//go:build linux

package process_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestMain is the tests', or the program of TestAProcessEndsWithItsLastThread.
func TestMain(m *testing.M) {
	if end := os.Getenv("END_AFTER_FIRST_THREAD"); end != "" {
		endAfterFirstThread(end)
	}
	os.Exit(m.Run())
}

// endAfterFirstThread ends the process's first thread, and the others a while later, when a file says so.
func endAfterFirstThread(path string) {
	go func() {
		time.Sleep(300 * time.Millisecond)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			panic(err)
		}
		os.Exit(0)
	}()
	for runtime.LockOSThread(); unix.Gettid() != unix.Getpid(); runtime.LockOSThread() {
		runtime.UnlockOSThread()
		runtime.Gosched()
	}
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

func start(t *testing.T, dir string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{Dir: dir, Path: "/bin/sleep", Args: []string{"60"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background(), 0) })
	return p
}

func TestAProcessIsFoundAgainAndStopped(t *testing.T) {
	dir := t.TempDir()
	found, err := process.Find(dir)
	require.NoError(t, err)
	require.Nil(t, found)

	p := start(t, dir)
	found, err = process.Find(dir)
	require.NoError(t, err)
	require.Equal(t, p, found)
	require.True(t, found.Alive())

	require.NoError(t, found.Stop(t.Context(), time.Second))
	require.False(t, p.Alive())
	require.ErrorIs(t, p.Signal(15), os.ErrProcessDone)
	found, err = process.Find(dir)
	require.NoError(t, err)
	require.Nil(t, found)
}

func TestAProcessIsFoundByItsMarkWhenTheFileWasNeverWritten(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	require.NoError(t, os.Remove(filepath.Join(dir, "pid")))
	require.Eventually(t, func() bool {
		found, err := process.Find(dir)
		return err == nil && found != nil && found.PID == p.PID
	}, 5*time.Second, 10*time.Millisecond)
}

func TestAnotherProcessWithTheSameNumberIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pid"), []byte("1 1\n"), 0o600))
	found, err := process.Find(dir)
	require.NoError(t, err)
	require.Nil(t, found)
}

// A server's first thread may be gone while another still has its socket: whoever then took its address for free would not get it.
func TestAProcessEndsWithItsLastThread(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	end := filepath.Join(dir, "end")
	p, err := process.Start(process.Spec{Dir: dir, Path: self, Env: []string{"END_AFTER_FIRST_THREAD=" + end}})
	require.NoError(t, err)
	require.NoError(t, p.Wait(t.Context()))
	require.FileExists(t, end)
	require.False(t, p.Alive())
}
