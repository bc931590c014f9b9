//go:build unix

package fileobjects_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/stretchr/testify/require"
)

// database opens the index of the store in dir.
func database(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sqlitedb.Open(context.Background(), filepath.Join(dir, "index.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func open(t testing.TB, dir string, options *fileobjects.Options) *fileobjects.Store {
	t.Helper()
	s, err := fileobjects.New(context.Background(), filepath.Join(dir, "objects"), database(t, dir), options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStore(t *testing.T) {
	for name, limit := range map[string]int64{"default": 0, "all files": -1, "all rows": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			drivertest.TestStore(t, func(t testing.TB) driver.Store {
				return open(t, t.TempDir(), &fileobjects.Options{PackLimit: limit})
			})
		})
	}
}

func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(b testing.TB) driver.Store { return open(b, b.TempDir(), nil) })
}

func put(t testing.TB, s driver.Store, ref string, size int) []byte {
	t.Helper()
	content := bytes.Repeat([]byte(ref), size/len(ref)+1)[:size]
	_, err := s.Put(context.Background(), ref, bytes.NewReader(content), int64(size))
	require.NoError(t, err)
	return content
}

func read(t testing.TB, s driver.Store, ref string) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), ref, 0, -1)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return content
}

func requireRefs(t testing.TB, s driver.Store, want ...string) {
	t.Helper()
	var refs []string
	for ref, err := range s.List(context.Background()) {
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	require.ElementsMatch(t, want, refs)
}

// contentFiles are the names of all files in the store but its lock.
func contentFiles(t testing.TB, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !strings.HasPrefix(filepath.Base(name), "index.db") && filepath.Base(name) != "lock" {
			names = append(names, name)
		}
		return err
	}))
	return names
}

func damaged(t testing.TB, s *fileobjects.Store) (refs []string) {
	t.Helper()
	for ref, err := range s.Check(context.Background(), 0) {
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	return refs
}

func TestStateOutlivesTheStore(t *testing.T) {
	dir := t.TempDir()
	db := database(t, dir)
	limits := []int64{0, -1, 1 << 20, 0}
	want := map[string][]byte{}
	for i, limit := range limits {
		s, err := fileobjects.New(t.Context(), dir, db, &fileobjects.Options{PackLimit: limit})
		require.NoError(t, err)
		for ref, content := range want {
			require.True(t, bytes.Equal(content, read(t, s, ref)), ref)
		}
		for _, size := range []int{0, 1000, 500_000} {
			ref := fmt.Sprintf("ref-%d-%d", i, size)
			want[ref] = put(t, s, ref, size)
		}
		_, err = fileobjects.New(t.Context(), dir, db, nil)
		require.ErrorIs(t, err, fileobjects.ErrInUse)
		require.NoError(t, s.Close())
	}
	require.Len(t, contentFiles(t, dir), 1+3+0+1)
	var pending int
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM fileobjects_pending`).Scan(&pending))
	require.Zero(t, pending)
}

// TestManyRemovalsAreForgotten has what is pending stay small however much is removed.
func TestManyRemovalsAreForgotten(t *testing.T) {
	dir := t.TempDir()
	db := database(t, dir)
	s, err := fileobjects.New(t.Context(), dir, db, &fileobjects.Options{PackLimit: -1})
	require.NoError(t, err)
	var refs []string
	for i := range 300 {
		refs = append(refs, fmt.Sprintf("ref-%d", i))
		put(t, s, refs[i], 10)
	}
	var pending int
	require.NoError(t, s.Remove(t.Context(), refs[:200]...))
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM fileobjects_pending`).Scan(&pending))
	require.Greater(t, pending, 200)
	require.NoError(t, s.Remove(t.Context(), refs[200:]...))
	require.NoError(t, db.QueryRow(`SELECT count(*) FROM fileobjects_pending`).Scan(&pending))
	require.Less(t, pending, 20)
	require.NoError(t, s.Close())
}

// TestNewRepairs plays what a death between the steps leaves: a file whose number is pending, and a temporary file.
func TestNewRepairs(t *testing.T) {
	dir := t.TempDir()
	db := database(t, dir)
	s, err := fileobjects.New(t.Context(), dir, db, nil)
	require.NoError(t, err)
	want := put(t, s, "kept", 100_000)
	require.NoError(t, s.Close())
	_, err = db.Exec(`INSERT INTO fileobjects_pending (number) VALUES (4711), (4712)`)
	require.NoError(t, err)
	half := filepath.Join(dir, "files", "67", "1267")
	require.NoError(t, os.MkdirAll(filepath.Dir(half), 0o750))
	require.NoError(t, os.WriteFile(half, []byte("half a con"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tmp", "123"), []byte("half a con"), 0o600))

	s, err = fileobjects.New(t.Context(), dir, db, nil)
	require.NoError(t, err)
	require.Len(t, contentFiles(t, dir), 1)
	requireRefs(t, s, "kept")
	require.Equal(t, want, read(t, s, "kept"))
	require.NoError(t, s.Close())
}

func TestCheckFindsDamage(t *testing.T) {
	dir := t.TempDir()
	db := database(t, dir)
	s, err := fileobjects.New(t.Context(), dir, db, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	byRef := map[string]string{}
	for _, ref := range []string{"well", "flipped", "short", "gone"} {
		put(t, s, ref, 100_000)
		for _, name := range contentFiles(t, dir) {
			if content, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(content), ref) {
				byRef[ref] = name
			}
		}
	}
	put(t, s, "packed-well", 1000)
	put(t, s, "packed-flipped", 1000)
	put(t, s, "packed-short", 1000)
	require.Empty(t, damaged(t, s))

	f, err := os.OpenFile(byRef["flipped"], os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 99_000)
	require.NoError(t, errors.Join(err, f.Close()))
	require.NoError(t, os.Truncate(byRef["short"], 99_999))
	require.NoError(t, os.Remove(byRef["gone"]))
	_, err = db.Exec(`UPDATE fileobjects_contents SET data = zeroblob(1000) WHERE ref = 'packed-flipped'`)
	require.NoError(t, err)
	_, err = db.Exec(`UPDATE fileobjects_contents SET data = zeroblob(999) WHERE ref = 'packed-short'`)
	require.NoError(t, err)
	// Files that no row knows, and files that are not of contents.
	dirOf := filepath.Dir(byRef["well"])
	unknown := filepath.Join(dirOf, "123456789abcde"+filepath.Base(dirOf))
	notes := filepath.Join(dirOf, "notes")
	require.NoError(t, os.WriteFile(unknown, []byte("?"), 0o600))
	require.NoError(t, os.WriteFile(notes, []byte("?"), 0o600))

	require.ElementsMatch(t, []string{"flipped", "short", "gone", "packed-flipped", "packed-short"}, damaged(t, s))
	require.NoFileExists(t, unknown)
	require.FileExists(t, notes)
	for _, ref := range []string{"short", "gone", "packed-short"} {
		_, err := s.Open(t.Context(), ref, 0, -1)
		require.ErrorIs(t, err, fileobjects.ErrDamaged, ref)
		require.NotErrorIs(t, err, os.ErrNotExist, ref)
	}
	require.NoError(t, s.Remove(t.Context(), "flipped", "short", "gone", "packed-flipped", "packed-short"))
	require.Empty(t, damaged(t, s))
	requireRefs(t, s, "well", "packed-well")
	for ref, err := range s.Check(t.Context(), 0) {
		require.Fail(t, "nothing is damaged", "%v %v", ref, err)
	}
}

// TestCheckBesideWriters has a check under way not take what is being put for left over.
func TestCheckBesideWriters(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	done := make(chan error)
	go func() {
		for i := range 100 {
			ref := fmt.Sprintf("ref-%d", i)
			if _, err := s.Put(context.Background(), ref, bytes.NewReader(make([]byte, 70_000)), -1); err != nil {
				done <- err
				return
			}
			if i%3 == 0 {
				if err := s.Remove(context.Background(), ref); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	for {
		require.Empty(t, damaged(t, s))
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Empty(t, damaged(t, s))
			for i := range 100 {
				if i%3 != 0 {
					require.Len(t, read(t, s, fmt.Sprintf("ref-%d", i)), 70_000)
				}
			}
			return
		default:
		}
	}
}

func TestNewNeedsADirectoryAndADatabase(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	db := database(t, t.TempDir())
	_, err := fileobjects.New(t.Context(), name, db, nil)
	require.Error(t, err)
	closed, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	dir := t.TempDir()
	_, err = fileobjects.New(t.Context(), dir, closed, nil)
	require.Error(t, err)
	s, err := fileobjects.New(t.Context(), dir, db, nil)
	require.NoError(t, err, "the failed one does not keep the lock")
	require.NoError(t, s.Close())
}

// BenchmarkNew opens a store of a million contents, half of them files, of which 200 are pending.
func BenchmarkNew(b *testing.B) {
	dir := b.TempDir()
	db := database(b, dir)
	s, err := fileobjects.New(b.Context(), dir, db, nil)
	require.NoError(b, err)
	require.NoError(b, s.Close())
	const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) `
	_, err = db.Exec(numbers+`INSERT INTO fileobjects_contents (ref, size, md5, file, data)
		SELECT printf('ref-%08d', i), 3, x'00', CASE WHEN i % 2 = 0 THEN i END, CASE WHEN i % 2 = 1 THEN 'abc' END FROM n`, 1_000_000)
	require.NoError(b, err)
	for b.Loop() {
		b.StopTimer()
		_, err = db.Exec(numbers+`INSERT INTO fileobjects_pending SELECT i + 10000000 FROM n`, 200)
		require.NoError(b, err)
		b.StartTimer()
		s, err := fileobjects.New(b.Context(), dir, db, nil)
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}
