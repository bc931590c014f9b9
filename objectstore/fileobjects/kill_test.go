//go:build unix

package fileobjects_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/stretchr/testify/require"
)

var kills = flag.Int("kills", 15, "how often TestKill kills a process")

// contentOf is what the killed process puts as ref, whose name says how large it is.
func contentOf(ref string) []byte {
	var number, size int
	_, _ = fmt.Sscanf(ref, "r%d-%d", &number, &size)
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(md5Twice(ref)).Read(content)
	return content
}

func md5Twice(s string) (sum [32]byte) {
	one := md5.Sum([]byte(s))
	copy(sum[:], one[:])
	copy(sum[16:], one[:])
	return sum
}

// TestKill kills a process that puts and removes contents concurrently, at random moments, and looks at what the next one finds:
// every acknowledged content whole and listed, every removed one gone, none that is not whole, and no file or row too many.
func TestKill(t *testing.T) {
	if dir := os.Getenv("FILEOBJECTS_TEST_DIR"); dir != "" {
		work(dir)
		return
	}
	dir := t.TempDir()
	want := map[string]bool{} // references that exist for certain
	for round := range *kills {
		maybe := killed(t, dir, round, want)
		found := inspect(t, dir, want, maybe)
		if len(found) > 300 {
			found = trim(t, dir, found)
		}
		want = found
	}
}

// killed runs work and kills it. It keeps want as it was acknowledged, and returns what was under way.
func killed(t *testing.T, dir string, round int, want map[string]bool) (maybe map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKill$")
	child.Env = append(os.Environ(), "FILEOBJECTS_TEST_DIR="+dir, fmt.Sprintf("FILEOBJECTS_TEST_ROUND=%d", round))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	maybe = map[string]bool{}
	lines := bufio.NewScanner(out)
	die := rand.IntN(150)
	for n := 0; lines.Scan(); n++ {
		verb, ref, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "putting":
			maybe[ref] = true
		case "removing":
			delete(want, ref)
			maybe[ref] = true
		case "put":
			delete(maybe, ref)
			want[ref] = true
		case "removed":
			delete(maybe, ref)
		default:
			require.Fail(t, "the process says", lines.Text())
		}
		if n == die {
			// Not only at moments when it writes a line.
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = child.Process.Signal(syscall.SIGKILL) })
		}
	}
	require.Error(t, child.Wait())
	require.False(t, child.ProcessState.Exited(), "it ended by itself")
	return maybe
}

// inspect opens the store again, and returns the references that it has.
func inspect(t *testing.T, dir string, want, maybe map[string]bool) map[string]bool {
	t.Helper()
	ctx := t.Context()
	db, err := sqlitedb.Open(ctx, filepath.Join(dir, "index.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s, err := fileobjects.New(ctx, filepath.Join(dir, "objects"), db, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()

	found := map[string]bool{}
	for ref, err := range s.List(ctx) {
		require.NoError(t, err)
		require.True(t, want[ref] || maybe[ref], "%s was removed, or never put", ref)
		found[ref] = true
		r, err := s.Open(ctx, ref, 0, -1)
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(contentOf(ref), content), "%s is not whole", ref)
	}
	for ref := range want {
		require.True(t, found[ref], "%s was acknowledged", ref)
	}
	for ref := range maybe {
		_, err := s.Open(ctx, ref, 0, -1)
		require.Equal(t, found[ref], err == nil, "%s: %v", ref, err)
	}
	var rows, pending int
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM fileobjects_contents WHERE file IS NOT NULL`).Scan(&rows))
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM fileobjects_pending`).Scan(&pending))
	require.Equal(t, rows, countFiles(t, dir), "files of contents")
	require.Zero(t, pending)
	return found
}

// countFiles counts all files but the lock.
func countFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "objects"), func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Base(name) != "lock" {
			n++
		}
		return err
	}))
	return n
}

// trim removes most, so that the rounds do not get longer.
func trim(t *testing.T, dir string, refs map[string]bool) map[string]bool {
	t.Helper()
	list := slices.Collect(maps.Keys(refs))
	db, err := sqlitedb.Open(t.Context(), filepath.Join(dir, "index.db"))
	require.NoError(t, err)
	s, err := fileobjects.New(t.Context(), filepath.Join(dir, "objects"), db, nil)
	require.NoError(t, err)
	require.NoError(t, s.Remove(t.Context(), list[20:]...))
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())
	left := map[string]bool{}
	for _, ref := range list[:20] {
		left[ref] = true
	}
	return left
}

// work puts and removes contents until it is killed, and says so.
func work(dir string) {
	ctx := context.Background()
	db, err := sqlitedb.Open(ctx, filepath.Join(dir, "index.db"))
	if err != nil {
		panic(err)
	}
	s, err := fileobjects.New(ctx, filepath.Join(dir, "objects"), db, nil)
	if err != nil {
		panic(err)
	}
	say := func(verb, ref string) { _, _ = os.Stdout.WriteString(verb + " " + ref + "\n") }
	sizes := []int{0, 100, 16 << 10, 64 << 10, 64<<10 + 1, 300_000, 1_500_000}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			var mine []string
			for n := 0; ; n++ {
				ref := fmt.Sprintf("r%s%d%04d-%d", os.Getenv("FILEOBJECTS_TEST_ROUND"), worker, n, sizes[rand.IntN(len(sizes))])
				content := contentOf(ref)
				size := int64(len(content))
				if n%3 == 0 {
					size = -1
				}
				say("putting", ref)
				if _, err := s.Put(ctx, ref, bytes.NewReader(content), size); err != nil {
					panic(err)
				}
				say("put", ref)
				if mine = append(mine, ref); len(mine) < 4 || n%2 == 0 {
					continue
				}
				for _, ref := range mine[:2] {
					say("removing", ref)
				}
				if err := s.Remove(ctx, mine[:2]...); err != nil {
					panic(err)
				}
				for _, ref := range mine[:2] {
					say("removed", ref)
				}
				mine = mine[2:]
			}
		})
	}
	wg.Wait()
}
