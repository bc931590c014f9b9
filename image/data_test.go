package image_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

func TestUploadsThatFailLeaveNothing(t *testing.T) {
	w := newWorld(t, &image.Options{MaxSize: 1000})
	full := fmt.Errorf("write: %w", syscall.ENOSPC)
	boom := errors.New("boom")
	qcow2 := image.Spec{DiskFormat: "qcow2", ContainerFormat: "bare"}
	for _, c := range []struct {
		name  string
		spec  image.Spec
		r     io.Reader
		size  int64
		fault error
		kind  error
	}{
		{name: "cut", spec: raw(""), r: io.MultiReader(strings.NewReader("xx"), iotest.ErrReader(boom)), size: -1, kind: boom},
		{name: "shorter than announced", spec: raw(""), r: strings.NewReader("xx"), size: 3, kind: io.ErrUnexpectedEOF},
		{name: "longer than announced", spec: raw(""), r: strings.NewReader("xx"), size: 1, kind: io.ErrUnexpectedEOF},
		{name: "announced too large", spec: raw(""), r: strings.NewReader("xx"), size: 1001, kind: image.ErrTooLarge},
		{name: "too large", spec: raw(""), r: strings.NewReader(strings.Repeat("x", 1001)), size: -1, kind: image.ErrTooLarge},
		{name: "not a qcow2", spec: qcow2, r: strings.NewReader("x"), size: -1, kind: image.ErrFormat},
		{name: "not raw", spec: raw(""), r: strings.NewReader("QFI\xfb"), size: -1, kind: image.ErrFormat},
		{name: "no room", spec: raw(""), r: strings.NewReader("xx"), size: -1, fault: full, kind: image.ErrTooLarge},
		{name: "a store that fails", spec: raw(""), r: strings.NewReader("xx"), size: -1, fault: boom, kind: boom},
	} {
		img := w.create(alice, c.spec)
		if c.fault != nil {
			w.faults.Add(inject.Fault{Step: "image put", Err: c.fault})
		}
		_, err := w.Upload(t.Context(), alice, img.ID, c.r, c.size)
		w.faults.Clear()
		require.ErrorIs(t, err, c.kind, c.name)
		got, err := w.Get(t.Context(), alice, img.ID)
		require.NoError(t, err)
		require.Equal(t, image.Queued, got.Status, c.name)
		require.Nil(t, got.Upload, c.name)
		require.Nil(t, got.Data, c.name)
		require.Empty(t, w.refs(), c.name)
	}
	w.uploaded(alice, raw(""), strings.Repeat("x", 1000))
	w.uploaded(alice, image.Spec{DiskFormat: "qcow2", ContainerFormat: "docker"}, "a container is not looked into")
}

func TestUnknownContentWhereAllowed(t *testing.T) {
	w := newWorld(t, &image.Options{AllowUnknownContent: true})
	w.uploaded(alice, image.Spec{DiskFormat: "qcow2", ContainerFormat: "bare"}, "noise")
	img := w.create(alice, raw(""))
	_, err := w.Upload(t.Context(), alice, img.ID, strings.NewReader("QFI\xfb"), -1)
	require.ErrorIs(t, err, image.ErrFormat)
}

// TestUploadWhoseClientGoes ends the request's context in the midst: the image is queued again all the same.
func TestUploadWhoseClientGoes(t *testing.T) {
	w := newWorld(t, nil)
	img := w.create(alice, raw(""))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := w.Upload(ctx, alice, img.ID, readFunc(func([]byte) (int, error) { cancel(); return 0, ctx.Err() }), -1)
	require.ErrorIs(t, err, context.Canceled)
	got, err := w.Get(t.Context(), alice, img.ID)
	require.NoError(t, err)
	require.Equal(t, image.Queued, got.Status)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestDuringAnUpload(t *testing.T) {
	w := newWorld(t, nil)
	img := w.create(alice, raw(""))
	other := w.create(alice, raw(""))
	meanwhile := func(id string, do func()) error {
		done := false
		_, err := w.Upload(t.Context(), alice, id, readFunc(func(p []byte) (int, error) {
			if done {
				return 0, io.EOF
			}
			done = true
			do()
			return copy(p, "content"), nil
		}), -1)
		return err
	}
	require.NoError(t, meanwhile(img.ID, func() {
		got, err := w.Get(t.Context(), alice, img.ID)
		require.NoError(t, err)
		require.Equal(t, image.Saving, got.Status)
		_, err = w.Upload(t.Context(), alice, img.ID, strings.NewReader("second"), -1)
		require.ErrorIs(t, err, image.ErrConflict)
		_, _, err = w.Open(t.Context(), alice, img.ID)
		require.ErrorIs(t, err, image.ErrNoData)
		_, err = w.Update(t.Context(), alice, img.ID, func(i *image.Image) error { i.Name = "renamed"; return nil })
		require.NoError(t, err)
		_, err = w.Deactivate(t.Context(), alice, img.ID)
		require.ErrorIs(t, err, image.ErrForbidden)
	}))
	got, err := w.Get(t.Context(), alice, img.ID)
	require.NoError(t, err)
	require.Equal(t, "renamed", got.Name)
	require.Equal(t, image.Active, got.Status)

	err = meanwhile(other.ID, func() { require.NoError(t, w.Delete(t.Context(), alice, other.ID)) })
	require.ErrorIs(t, err, image.ErrNotFound)
	require.Equal(t, []string{got.Data.Ref}, w.refs())
}

// TestRestart plays a service that was killed: its uploads are given up, contents without an image are removed, and
// another host's upload goes on.
func TestRestart(t *testing.T) {
	w := newWorld(t, &image.Options{Host: "one"})
	kept := w.uploaded(alice, raw("kept"), "kept")
	mine, theirs := w.create(alice, raw("mine")), w.create(alice, raw("theirs"))
	block := make(chan struct{})
	stuck := func(id string, service *image.Service) <-chan error {
		started, done := make(chan struct{}), make(chan error, 1)
		go func() {
			first := true
			_, err := service.Upload(context.Background(), alice, id, readFunc(func(p []byte) (int, error) {
				if first {
					first = false
					close(started)
					return copy(p, "late"), nil
				}
				<-block
				return 0, io.EOF
			}), -1)
			done <- err
		}()
		<-started
		return done
	}
	killed := stuck(mine.ID, w.Service)
	two, err := image.New(t.Context(), w.db, w.store, &image.Options{Host: "two"})
	require.NoError(t, err)
	other := stuck(theirs.ID, two)
	_, err = w.store.Put(t.Context(), "leftover", strings.NewReader("x"))
	require.NoError(t, err)

	w.restart(&image.Options{Host: "one"})
	got, err := w.Get(t.Context(), alice, mine.ID)
	require.NoError(t, err)
	require.Equal(t, image.Queued, got.Status)
	got, err = w.Get(t.Context(), alice, theirs.ID)
	require.NoError(t, err)
	require.Equal(t, image.Saving, got.Status)
	require.Equal(t, []string{kept.Data.Ref}, w.refs())

	close(block)
	require.ErrorIs(t, <-killed, image.ErrNotFound, "the upload was given up")
	require.NoError(t, <-other)
	require.Len(t, w.refs(), 2)
}

func TestContentsThatAreLost(t *testing.T) {
	w := newWorld(t, nil)
	img := w.uploaded(alice, raw(""), "x")
	require.NoError(t, w.store.Remove(t.Context(), img.Data.Ref))
	_, _, err := w.Open(t.Context(), alice, img.ID)
	require.ErrorContains(t, err, "missing in the store")
	require.NotErrorIs(t, err, image.ErrNotFound)
	w.faults.Add(inject.Fault{Step: "image remove", Err: errors.New("boom")})
	require.NoError(t, w.Delete(t.Context(), alice, img.ID), "the content is left to the next start")
}

func TestLocalPath(t *testing.T) {
	db, err := postgres.Or(t.Context(), sqlitedb.Memory)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	store, err := filestore.New(t.TempDir(), nil)
	require.NoError(t, err)
	s, err := image.New(t.Context(), db, store, nil)
	require.NoError(t, err)
	img, err := s.Create(t.Context(), alice, raw(""), nil)
	require.NoError(t, err)
	_, err = s.LocalPath(t.Context(), alice, img.ID)
	require.ErrorIs(t, err, image.ErrNoData)
	img, err = s.Upload(t.Context(), alice, img.ID, strings.NewReader("disk"), -1)
	require.NoError(t, err)
	name, err := s.LocalPath(t.Context(), alice, img.ID)
	require.NoError(t, err)
	require.FileExists(t, name)
	_, err = s.LocalPath(t.Context(), bob, img.ID)
	require.ErrorIs(t, err, image.ErrNotFound)
	require.NoError(t, s.Delete(t.Context(), alice, img.ID))
	require.NoFileExists(t, name)

	boxed, err := s.Create(t.Context(), alice, image.Spec{DiskFormat: "vmdk", ContainerFormat: "docker"}, nil)
	require.NoError(t, err)
	_, err = s.Upload(t.Context(), alice, boxed.ID, strings.NewReader("a box"), -1)
	require.NoError(t, err)
	_, err = s.LocalPath(t.Context(), alice, boxed.ID)
	require.ErrorIs(t, err, image.ErrUnsupported)
}

// TestUploadsTakeConstantMemory uploads far more than may be allocated meanwhile.
func TestUploadsTakeConstantMemory(t *testing.T) {
	db, err := postgres.Or(t.Context(), sqlitedb.Memory)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	store, err := filestore.New(t.TempDir(), nil)
	require.NoError(t, err)
	s, err := image.New(t.Context(), db, store, nil)
	require.NoError(t, err)
	img, err := s.Create(t.Context(), alice, raw(""), nil)
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const size = 64 << 20
	img, err = s.Upload(t.Context(), alice, img.ID, io.LimitReader(zeros{}, size), size)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.EqualValues(t, size, img.Data.Size)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
