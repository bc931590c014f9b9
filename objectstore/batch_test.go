package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

// onDisk is a house whose database is a file.
func onDisk(t testing.TB) *house {
	t.Helper()
	db, err := sqlitedb.Open(t.Context(), filepath.Join(t.TempDir(), "o.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	h := &house{t: t, store: memobjects.New(nil)}
	h.Service, err = objectstore.New(t.Context(), db, h.store, nil)
	require.NoError(t, err)
	return h
}

func TestManyAtOnce(t *testing.T) {
	h := onDisk(t)
	refused := errors.New("refused")
	var all sync.WaitGroup
	failures := make(chan error, 1000)
	for i := range 20 {
		all.Go(func() {
			container := fmt.Sprint("c", i%3)
			_, _, err := h.CreateContainer(t.Context(), owner, in(container, ""), nil)
			failures <- err
			for j := range 10 {
				name := fmt.Sprint(i, "-", j)
				_, err := h.Put(t.Context(), owner, in(container, name), objectstore.PutSpec{Size: 1}, strings.NewReader("x"))
				failures <- err
				_, err = h.Put(t.Context(), owner, in(container, "the same"), objectstore.PutSpec{Size: 2}, strings.NewReader("xy"))
				failures <- err
				if _, err := h.UpdateContainer(t.Context(), owner, in(container, ""), func(*objectstore.Settings) error { return refused }); !errors.Is(err, refused) {
					failures <- fmt.Errorf("not refused: %w", err)
				}
				if j%2 == 0 {
					_, err = h.Delete(t.Context(), owner, in(container, name), objectstore.DeleteSpec{})
					failures <- err
				}
			}
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	h.tidy(t)
	h.audit(t)
	a, err := h.Account(t.Context(), owner, "acc")
	require.NoError(t, err)
	require.EqualValues(t, 103, a.Objects)
}

func TestOneOfManyConditionalWritesWins(t *testing.T) {
	h := onDisk(t)
	h.container("c", nil)
	var all sync.WaitGroup
	won := make(chan error, 20)
	for range 20 {
		all.Go(func() {
			_, err := h.Put(t.Context(), owner, in("c", "o"), objectstore.PutSpec{Size: 1, Conditions: objectstore.Conditions{IfNoneMatch: []string{"*"}}}, strings.NewReader("x"))
			won <- err
		})
	}
	all.Wait()
	close(won)
	winners := 0
	for err := range won {
		if err == nil {
			winners++
		} else {
			require.ErrorIs(t, err, objectstore.ErrPrecondition)
		}
	}
	require.Equal(t, 1, winners)
	h.tidy(t)
}

func TestAnEndedRequestWritesNothing(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := h.Put(ctx, owner, in("c", "o"), objectstore.PutSpec{Size: 1, Verify: func(*objectstore.ObjectInfo) error { cancel(); return nil }}, strings.NewReader("x"))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, h.names("c", objectstore.Listing{}))
	for range h.store.List(t.Context()) {
		require.Fail(t, "a content is left")
	}
}

func TestRunCleansUp(t *testing.T) {
	h := newHouse(t, nil)
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlitedb.Memory(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		_, err = h.store.Put(t.Context(), "e3b0c442-00000000-000000000000-0000", strings.NewReader("left by one that was killed"), -1)
		require.NoError(t, err)
		service, err := objectstore.New(t.Context(), db, h.store, nil)
		require.NoError(t, err)
		h := &house{Service: service, t: t, store: h.store}
		count := func() (n int) {
			for range h.store.List(t.Context()) {
				n++
			}
			return n
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h.Run(ctx) }()
		time.Sleep(time.Second)
		require.Zero(t, count())
		h.container("c", nil)
		require.NoError(t, h.tryPut(in("c", "o"), objectstore.PutSpec{Size: 1, ObjectInfo: objectstore.ObjectInfo{ExpiresAt: time.Now().Add(time.Minute)}}, "x"))
		h.put(in("c", "p"), "x")
		h.put(in("c", "p"), "y")
		require.Equal(t, 3, count())
		time.Sleep(time.Second)
		require.Equal(t, 3, count(), "readers may be about to open what was replaced")
		time.Sleep(20 * time.Second)
		require.Equal(t, 2, count())
		time.Sleep(time.Minute)
		require.Equal(t, 1, count())
		require.Equal(t, []string{"p"}, h.names("c", objectstore.Listing{}))
		stop()
		require.NoError(t, <-done)
	})
}

func TestEventsTellWhatHappens(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.put(in("c", "a/b"), "x")
	h.put(in("c", "a/b"), "y")
	h.remove(in("c", "a/b"), objectstore.DeleteSpec{})
	require.NoError(t, h.DeleteContainer(t.Context(), owner, in("c", "")))
	want := []string{"account acc created", "container c created", "object c/a/b created", "object c/a/b updated", "object c/a/b deleted", "container c deleted"}
	var got []string
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for e, err := range h.Watch(ctx, 0) {
		require.NoError(t, err)
		require.Equal(t, event.Event{Seq: e.Seq, Domain: "objectstore", Type: e.Type, ID: e.ID, Action: e.Action, ProjectID: "acc", Time: h.now}, e)
		if got = append(got, fmt.Sprint(e.Type, " ", e.ID, " ", e.Action)); len(got) == len(want) {
			break
		}
	}
	require.Equal(t, want, got)
	last, err := h.LastEvent(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len(want), last)
}

func TestContentsOfOtherHostsStay(t *testing.T) {
	h := newHouse(t, &objectstore.Options{ReclaimAfter: time.Hour})
	millis := h.now.UnixMilli()
	for _, ref := range []string{fmt.Sprintf("00000000-00000000-%012x-00", millis), "something-else", "a.b"} {
		_, err := h.store.Put(t.Context(), ref, strings.NewReader("x"), 1)
		require.NoError(t, err)
	}
	count := func() (n int) {
		for range h.store.List(t.Context()) {
			n++
		}
		return n
	}
	h.now = h.now.Add(time.Hour)
	require.NoError(t, h.Sweep(t.Context()))
	require.Equal(t, 3, count())
	h.now = h.now.Add(time.Second)
	require.NoError(t, h.Sweep(t.Context()))
	require.Equal(t, 2, count(), "what is not of a Service's making is left alone")
}
