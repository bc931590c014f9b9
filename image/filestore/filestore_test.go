//go:build unix

package filestore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/stretchr/testify/require"
)

func open(t testing.TB, dir string) *filestore.Store {
	t.Helper()
	s, err := filestore.New(dir, nil)
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	drivertest.TestStore(t, func(t testing.TB) driver.Store { return open(t, t.TempDir()) })
}

func BenchmarkPut(b *testing.B) {
	drivertest.BenchmarkPut(b, func(b testing.TB) driver.Store { return open(b, b.TempDir()) })
}

func names(t testing.TB, dir ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir...))
	require.NoError(t, err)
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestEqualContentsShareAFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, ref := range []string{"a", "b"} {
		_, err := s.Put(t.Context(), ref, strings.NewReader("the same"))
		require.NoError(t, err)
	}
	var files [2]os.FileInfo
	for i, ref := range []string{"a", "b"} {
		name, err := s.Path(t.Context(), ref)
		require.NoError(t, err)
		files[i], err = os.Stat(name)
		require.NoError(t, err)
	}
	require.True(t, os.SameFile(files[0], files[1]))
	require.EqualValues(t, 0o640, files[0].Mode().Perm())
	require.Empty(t, names(t, dir, "tmp"))
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Len(t, names(t, dir, "blobs"), 1)
	require.NoError(t, s.Remove(t.Context(), "b"))
	require.Empty(t, names(t, dir, "blobs"))
	require.Empty(t, names(t, dir, "refs"))
}

func TestStateOutlivesTheStore(t *testing.T) {
	dir := t.TempDir()
	_, err := open(t, dir).Put(t.Context(), "a", strings.NewReader("kept"))
	require.NoError(t, err)
	f, err := open(t, dir).Open(t.Context(), "a")
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "kept", string(content))
}

// TestKilledUpload kills a process in the midst of a Put: nothing of the content is seen, and the next start removes
// the leftover, but not what another process is still writing.
func TestKilledUpload(t *testing.T) {
	dir := os.Getenv("FILESTORE_TEST_DIR")
	if dir != "" {
		uploadForEver(dir)
		return
	}
	dir = t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledUpload$")
	child.Env = append(os.Environ(), "FILESTORE_TEST_DIR="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "writing\n", line)

	s := open(t, dir)
	require.Len(t, names(t, dir, "tmp"), 1, "an upload under way is left alone")
	refs, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, refs)

	require.NoError(t, child.Process.Signal(syscall.SIGKILL))
	require.Error(t, child.Wait())
	require.Len(t, names(t, dir, "tmp"), 1)
	s = open(t, dir)
	require.Empty(t, names(t, dir, "tmp"))
	_, err = s.Put(t.Context(), "a", strings.NewReader("again"))
	require.NoError(t, err)
}

// uploadForEver says "writing" when some of an upload has been taken, and waits to be killed.
func uploadForEver(dir string) {
	s, err := filestore.New(dir, nil)
	if err != nil {
		panic(err)
	}
	r, w := io.Pipe()
	go func() {
		for i := 0; ; i++ {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
			if i == 2 {
				fmt.Println("writing")
				select {}
			}
		}
	}()
	_, _ = s.Put(context.Background(), "a", r)
}

// TestKilledBetweenSteps plays what a death between the steps of Put and Remove leaves: a reference that leads nowhere.
func TestKilledBetweenSteps(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	require.NoError(t, os.Symlink("../blobs/0123/a", filepath.Join(dir, "refs", "a")))
	s := open(t, dir)
	refs, err := s.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, refs)
	_, err = s.Open(t.Context(), "a")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Empty(t, names(t, dir, "refs"))
}

func TestNewNeedsADirectory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	_, err := filestore.New(name, nil)
	require.Error(t, err)
	_, err = filestore.New(filepath.Join(name, "below"), nil)
	require.Error(t, err)
}

func Example() {
	dir, _ := os.MkdirTemp("", "images")
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	s, err := filestore.New(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	content, _ := s.Put(ctx, "image-1", strings.NewReader("a disk"))
	name, _ := s.Path(ctx, "image-1")
	text, _ := os.ReadFile(name)
	fmt.Println(content.Size, content.MD5, string(text))
	// Output: 6 9f3dcc17b3660ff7eb3be3e5f62f58c7 a disk
}
