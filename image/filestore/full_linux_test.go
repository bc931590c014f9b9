package filestore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A lab has mounts of its own: small disks.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir, os.Getenv(victimWeb)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(lab.Main(m.Run))
}

// smallDisk is a directory with so much room, on a file system of the type.
func smallDisk(t *testing.T, kind string, bytes int) string {
	t.Helper()
	labtest.Require(t)
	dir := t.TempDir()
	if kind == "tmpfs" {
		require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	} else {
		labtest.RequireProgram(t, "mkfs.ext4", "e2fsprogs")
		disk := filepath.Join(t.TempDir(), "disk")
		require.NoError(t, os.WriteFile(disk, nil, 0o600))
		require.NoError(t, os.Truncate(disk, int64(bytes)))
		run(t, "mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", disk)
		run(t, "mount", "-o", "loop", disk, dir)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// used is how many bytes of the disk are.
func used(t *testing.T, dir string) int64 {
	t.Helper()
	var s unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &s))
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// TestFullDisk has uploads, staged and downloaded contents and copies that do not fit: all is as before, and what fits does.
func TestFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) { fullDisk(t, smallDisk(t, kind, 8<<20)) })
	}
}

const megabyte = 1 << 20

// serviceOver is a service that does its tasks, with a default store and another one.
func serviceOver(t *testing.T, first string, stores map[string]driver.Store) *imageService {
	t.Helper()
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	further := maps.Clone(stores)
	delete(further, first)
	s, err := image.New(t.Context(), db, stores[first], &image.Options{StoreName: first, Stores: further, AllowUnknownContent: true, Web: anything{}})
	require.NoError(t, err)
	working, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(working) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	return &imageService{Service: s}
}

func fullDisk(t *testing.T, disk string) {
	ctx := t.Context()
	small, err := filestore.New(filepath.Join(disk, "images"), nil)
	require.NoError(t, err)
	stores := map[string]driver.Store{"small": small, "large": memstore.New(nil)}
	s := serviceOver(t, "small", stores)

	fits := queued(t, s, "1-1048576")
	_, err = s.Upload(ctx, everybody, fits, bytes.NewReader(contentOf("1-1048576")), -1)
	require.NoError(t, err)
	before := used(t, disk)
	asBefore := func(id string) {
		t.Helper()
		img, err := s.Get(ctx, everybody, id)
		require.NoError(t, err)
		require.Equal(t, image.Queued, img.Status)
		require.Nil(t, img.Staged)
		require.Equal(t, before, used(t, disk))
		require.Empty(t, names(t, disk, "images", "tmp"))
	}

	much := make([]byte, 12*megabyte)
	full := queued(t, s, "much")
	for _, size := range []int64{-1, int64(len(much))} {
		_, err = s.Upload(ctx, everybody, full, bytes.NewReader(much), size)
		require.ErrorIs(t, err, image.ErrTooLarge)
		require.ErrorContains(t, err, "the image storage is full")
		asBefore(full)
		_, err = s.Stage(ctx, everybody, full, bytes.NewReader(much), size)
		require.ErrorIs(t, err, image.ErrTooLarge)
		asBefore(full)
	}
	_, err = s.imported(ctx, full, image.ImportSpec{Method: image.WebDownload, Address: "http://much"})
	require.ErrorContains(t, err, "the image storage is full")
	asBefore(full)

	// A copy that does not fit leaves the image where it is.
	_, err = s.UploadTo(ctx, everybody, full, "large", bytes.NewReader(much), -1)
	require.NoError(t, err)
	_, err = s.imported(ctx, full, image.ImportSpec{Method: image.CopyImage, Stores: []string{"small"}})
	require.ErrorContains(t, err, "store small: the image storage is full")
	img, err := s.Get(ctx, everybody, full)
	require.NoError(t, err)
	require.Equal(t, image.Active, img.Status)
	require.Equal(t, []string{"large"}, img.Data.Stores())
	require.Equal(t, before, used(t, disk))

	// So does an import of what was staged elsewhere.
	s = serviceOver(t, "large", map[string]driver.Store{"small": nothingListed{small}, "large": memstore.New(nil)})
	staged := queued(t, s, "much")
	_, err = s.Stage(ctx, everybody, staged, bytes.NewReader(much), -1)
	require.NoError(t, err)
	_, err = s.imported(ctx, staged, image.ImportSpec{Method: image.GlanceDirect, Stores: []string{"small"}})
	require.ErrorContains(t, err, "store small: the image storage is full")
	asBefore(staged)

	// What fits still works in every way, and gives its room back.
	later := queued(t, s, "2-2097152")
	_, err = s.Stage(ctx, everybody, later, bytes.NewReader(contentOf("2-2097152")), -1)
	require.NoError(t, err)
	img, err = s.imported(ctx, later, image.ImportSpec{Method: image.GlanceDirect, AllStores: true})
	require.NoError(t, err)
	require.Equal(t, hashOf(contentOf("2-2097152")), img.Data.HashValue)
	require.NoError(t, s.Delete(ctx, everybody, later))
	require.Equal(t, before, used(t, disk))
}

func queued(t *testing.T, s *imageService, name string) string {
	t.Helper()
	img, err := s.Create(t.Context(), everybody, image.Spec{Name: name, DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	require.NoError(t, err)
	return img.ID
}

// nothingListed keeps a service from taking another one's contents for leftovers.
type nothingListed struct{ driver.Store }

func (nothingListed) List(context.Context) ([]string, error) { return nil, nil }

// anything is a web where every address has more than fits.
type anything struct{}

func (anything) Check(string) error { return nil }

func (anything) Open(context.Context, string) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader(make([]byte, 12*megabyte))), -1, nil
}
