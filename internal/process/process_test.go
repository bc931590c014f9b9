//go:build linux

package process_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/stretchr/testify/require"
)

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
