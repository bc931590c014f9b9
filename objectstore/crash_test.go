package objectstore_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

var errKilled = errors.New("killed")

// fate kills at the n-th step: nothing that comes after has an effect.
type fate struct {
	mu   sync.Mutex
	left int
	dead bool
}

// step is errKilled if the process ended before it.
func (f *fate) step() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left == 0 {
		f.dead = true
	}
	if f.dead {
		return errKilled
	}
	return nil
}

// mortalStore is a store whose process can be killed before and after each call.
type mortalStore struct {
	driver.Store
	fate *fate
}

func (s mortalStore) Put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	if err := s.fate.step(); err != nil {
		return driver.Content{}, err
	}
	c, err := s.Store.Put(ctx, ref, r, size)
	return c, errors.Join(err, s.fate.step())
}

func (s mortalStore) Remove(ctx context.Context, refs ...string) error {
	for _, ref := range refs {
		if err := s.fate.step(); err != nil {
			return err
		}
		if err := s.Store.Remove(ctx, ref); err != nil {
			return err
		}
	}
	return s.fate.step()
}

func (s mortalStore) List(ctx context.Context) iter.Seq2[string, error] {
	if err := s.fate.step(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return s.Store.List(ctx)
}

// mortalDatabase is a database whose process can be killed before and after each commit.
type mortalDatabase struct {
	real sqldriver.Driver
	name string
	fate *fate
}

func (d *mortalDatabase) Driver() sqldriver.Driver { return d.real }

func (d *mortalDatabase) Connect(context.Context) (sqldriver.Conn, error) {
	c, err := d.real.Open(d.name)
	return &mortalConn{c, d.fate}, err
}

type mortalConn struct {
	sqldriver.Conn
	fate *fate
}

func (c *mortalConn) BeginTx(ctx context.Context, o sqldriver.TxOptions) (sqldriver.Tx, error) {
	if err := c.fate.step(); err != nil {
		return nil, err
	}
	tx, err := c.Conn.(sqldriver.ConnBeginTx).BeginTx(ctx, o)
	return &mortalTx{tx, c.fate}, err
}

type mortalTx struct {
	sqldriver.Tx
	fate *fate
}

func (t *mortalTx) Commit() error {
	if err := t.fate.step(); err != nil {
		return errors.Join(err, t.Rollback())
	}
	return errors.Join(t.Tx.Commit(), t.fate.step())
}

func TestACommitThatMayHaveBeenMadeKeepsItsContent(t *testing.T) {
	f := &fate{left: -1}
	some, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, some.Close()) }()
	db := sql.OpenDB(&mortalDatabase{some.Driver(), "file:/" + uuid.NewString() + "?vfs=memdb&_txlock=immediate", f})
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	h := &house{t: t, store: memobjects.New(nil)}
	h.Service, err = objectstore.New(t.Context(), db, h.store, nil)
	require.NoError(t, err)
	h.container("c", nil)
	f.left = 3 // begin, commit, and the answer to it
	err = h.tryPut(in("c", "o"), objectstore.PutSpec{Size: 1}, "x")
	require.ErrorIs(t, err, errKilled)
	f.dead = false
	content, err := h.read(owner, in("c", "o"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "x", content)
}

// story is what a client does before the kill, and remembers: what was acknowledged of each object.
type story struct {
	*house
	acknowledged map[objectstore.Path]string
	unsure       map[objectstore.Path]string // what was being done
}

func (y *story) do(path objectstore.Path, content string, err error) bool {
	if err == nil {
		y.acknowledged[path] = content
		return true
	}
	y.unsure = map[objectstore.Path]string{path: content}
	return false
}

func (y *story) putOne(path objectstore.Path, content string) bool {
	_, err := y.Put(y.ctx(), owner, path, objectstore.PutSpec{Size: -1}, strings.NewReader(content))
	return y.do(path, content, err)
}

func (y *story) remove(path objectstore.Path) bool {
	_, err := y.Delete(y.ctx(), owner, path, objectstore.DeleteSpec{})
	return y.do(path, "", err)
}

func (y *story) upload(path objectstore.Path) bool {
	u, err := y.CreateUpload(y.ctx(), owner, path, objectstore.ObjectInfo{})
	if err != nil {
		return false
	}
	var parts []objectstore.CompletedPart
	for i, content := range []string{"first", "second", "dropped"} {
		p, err := y.PutPart(y.ctx(), owner, path, u.ID, i+1, objectstore.PutSpec{Size: -1}, strings.NewReader(content))
		if err != nil {
			return false
		}
		parts = append(parts, objectstore.CompletedPart{Number: p.Number, ETag: p.ETag})
	}
	_, err = y.CompleteUpload(y.ctx(), owner, path, u.ID, parts[:2], objectstore.Conditions{})
	return y.do(path, "firstsecond", err)
}

// tell goes on until it is done or killed.
func (y *story) tell() bool {
	_, err := y.Copy(y.ctx(), owner, in("c", "begin"), in("c", "copy"), objectstore.CopySpec{})
	return y.do(in("c", "copy"), "begin", err) &&
		y.putOne(in("c", "a"), "one") && y.putOne(in("c", "a"), "three") && y.remove(in("c", "copy")) &&
		y.putOne(in("v", "a"), "old") && y.putOne(in("v", "a"), "new") && y.remove(in("v", "a")) &&
		y.upload(in("c", "parts")) && y.putOne(in("c", "parts"), "whole") && y.upload(in("c", "parts")) &&
		y.Sweep(y.ctx()) == nil && y.remove(in("c", "parts")) && y.Sweep(y.ctx()) == nil && y.putOne(in("c", "end"), "end")
}

func TestKilledAtAnyStep(t *testing.T) {
	for n := 1; ; n++ {
		if killedAt(t, n) {
			require.Greater(t, n, 50, "there were steps")
			return
		}
	}
}

// killedAt tells the story with a kill at the n-th step, looks at what is left, and says whether the story came to its end.
func killedAt(t *testing.T, n int) (whole bool) {
	name := "file:/" + uuid.NewString() + "?vfs=memdb&_txlock=immediate&_pragma=busy_timeout(10000)"
	some, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	require.NoError(t, some.Close())
	keep, err := sql.Open("sqlite", name)
	require.NoError(t, err)
	defer func() { require.NoError(t, keep.Close()) }()
	keep.SetMaxOpenConns(1)
	store := memobjects.New(nil)
	open := func(db *sql.DB, store driver.Store) *house {
		s, err := objectstore.New(t.Context(), db, store, &objectstore.Options{MinPartSize: 1})
		require.NoError(t, err)
		return &house{Service: s, t: t, store: store}
	}
	before := open(keep, store)
	before.container("c", nil)
	before.container("v", func(s *objectstore.Settings) { s.Versioning = objectstore.VersioningEnabled })
	before.put(in("c", "begin"), "begin")

	f := &fate{left: n}
	db := sql.OpenDB(&mortalDatabase{keep.Driver(), name, f})
	db.SetMaxOpenConns(1)
	y := &story{house: open(db, mortalStore{store, &fate{left: -1}}), acknowledged: map[objectstore.Path]string{in("c", "begin"): "begin"}}
	f.left = n
	y.house = open(db, mortalStore{store, f})
	whole = y.tell()
	require.NoError(t, db.Close())

	after := open(keep, store)
	after.tidy(t)
	after.audit(t)
	listed := map[string]bool{}
	for _, c := range []string{"c", "v"} {
		for _, name := range after.names(c, objectstore.Listing{}) {
			listed[c+"/"+name] = true
		}
	}
	for path, content := range y.acknowledged {
		got, err := after.read(owner, path, objectstore.OpenSpec{})
		if maybe, ok := y.unsure[path]; ok && got == maybe {
			content = maybe
		}
		if content == "" {
			require.ErrorIs(t, err, objectstore.ErrNoObject, "%s, killed at step %d", path, n)
		} else {
			require.NoError(t, err, "%s, killed at step %d", path, n)
		}
		require.Equal(t, content, got, "%s, killed at step %d", path, n)
		require.Equal(t, content != "", listed[fmt.Sprintf("%s/%s", path.Container, path.Object)], "%s, killed at step %d", path, n)
	}
	return whole
}
