package fileobjects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A lab has mounts of its own: small disks.
func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// smallDisk is a directory with so much room.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	labtest.Require(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// used is how many bytes of the disk are.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	var s unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &s))
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// TestFullDiskOfFiles has the disk of the files full, and the index elsewhere.
func TestFullDiskOfFiles(t *testing.T) {
	disk, elsewhere := smallDisk(t, 4<<20), t.TempDir()
	s, err := fileobjects.New(t.Context(), disk, database(t, elsewhere), nil)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "fits", bytes.NewReader(make([]byte, 1<<20)), 1<<20)
	require.NoError(t, err)
	before := used(t, disk)
	for _, size := range []int64{5 << 20, -1} {
		_, err = s.Put(t.Context(), "too-large", bytes.NewReader(make([]byte, 5<<20)), size)
		require.ErrorIs(t, err, syscall.ENOSPC, "said to be %d", size)
		require.Equal(t, before, used(t, disk))
	}
	requireRefs(t, s, "fits")
	require.Len(t, contentFiles(t, disk), 1)
	_, err = s.Put(t.Context(), "too-large", bytes.NewReader(make([]byte, 2<<20)), -1)
	require.NoError(t, err, "there is room for less")
	require.NoError(t, s.Remove(t.Context(), "fits", "too-large"))
	require.NoError(t, s.Close())
	require.Empty(t, contentFiles(t, disk))
}

// TestFullDiskOfAll fills the disk that has files and index by many at once, with small and with large contents: what was
// acknowledged is there, and nothing else.
func TestFullDiskOfAll(t *testing.T) {
	disk := smallDisk(t, 12<<20)
	db := database(t, disk)
	s, err := fileobjects.New(t.Context(), filepath.Join(disk, "objects"), db, nil)
	require.NoError(t, err)
	var mu sync.Mutex
	var kept []string
	var wg sync.WaitGroup
	problems := make([]error, 8)
	for i := range problems {
		wg.Go(func() {
			for n := 0; problems[i] == nil; n++ {
				ref := fmt.Sprintf("r%d%05d-%d", i, n, []int{100, 15_000, 40_000, 300_000}[rand.IntN(4)])
				content := contentOf(ref)
				if _, problems[i] = s.Put(context.Background(), ref, bytes.NewReader(content), int64(len(content))); problems[i] == nil {
					mu.Lock()
					kept = append(kept, ref)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range problems {
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	large := 0
	for _, ref := range kept {
		require.True(t, bytes.Equal(contentOf(ref), read(t, s, ref)), ref)
		if len(contentOf(ref)) > fileobjects.DefaultPackLimit {
			large++
		}
	}
	requireRefs(t, s, kept...)
	require.Len(t, contentFiles(t, filepath.Join(disk, "objects")), large)

	// It can be closed, opened and read while it is full.
	require.NoError(t, s.Close())
	s, err = fileobjects.New(t.Context(), filepath.Join(disk, "objects"), db, nil)
	require.NoError(t, err)
	requireRefs(t, s, kept...)
	require.Empty(t, damaged(t, s))
	require.NoError(t, s.Close())
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, fileobjects.Probe(t.Context(), filepath.Join(dir, "not", "yet"), nil))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, fileobjects.Probe(ctx, dir, nil), context.Canceled)

	// Nobody can write to /proc, root neither.
	err = fileobjects.Probe(t.Context(), "/proc/objects", nil)
	require.ErrorIs(t, err, probe.ErrUnavailable)
	require.ErrorContains(t, err, "a writable /proc: missing, needed for the contents of objects: choose another directory")
}

func TestProbeSaysThatTheDiskIsFull(t *testing.T) {
	disk := smallDisk(t, 64<<10)
	err := os.WriteFile(filepath.Join(disk, "all"), make([]byte, 64<<10), 0o600)
	require.True(t, err == nil || errors.Is(err, syscall.ENOSPC), "%v", err)
	err = fileobjects.Probe(t.Context(), filepath.Join(disk, "objects"), nil)
	require.ErrorIs(t, err, probe.ErrUnavailable)
	require.ErrorContains(t, err, "room in ")
	left, err := os.ReadDir(disk)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
