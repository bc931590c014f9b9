package objectstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

// impatient wait for nothing, and make up for nothing.
func impatient(limits objectstore.RateLimits) *objectstore.Options {
	limits.Patience, limits.Buffer = 1, 1
	return &objectstore.Options{RateLimits: limits}
}

func TestContainersOfAnAccountAreMadeAndDeletedSlowly(t *testing.T) {
	h := newHouse(t, impatient(objectstore.RateLimits{Account: 1}))
	h.container("a", nil)
	_, _, err := h.CreateContainer(h.ctx(), owner, in("b", ""), nil)
	require.ErrorIs(t, err, objectstore.ErrTooFast)
	require.ErrorIs(t, err, objectstore.ErrUnavailable)
	require.ErrorContains(t, err, "1 requests per second, this one would have to wait for 1s")
	require.ErrorIs(t, h.DeleteContainer(h.ctx(), owner, in("a", "")), objectstore.ErrTooFast)
	_, err = h.Container(h.ctx(), owner, in("b", ""))
	require.ErrorIs(t, err, objectstore.ErrNoContainer, "nothing was made")

	// Others have a pace of their own, and what they may not do is not counted.
	other := objectstore.Caller{Account: "other"}
	_, _, err = h.CreateContainer(h.ctx(), other, objectstore.Path{Account: "other", Container: "b"}, nil)
	require.NoError(t, err)
	h.now = h.now.Add(time.Second)
	require.ErrorIs(t, h.DeleteContainer(h.ctx(), other, in("a", "")), objectstore.ErrForbidden)
	// Nor are objects.
	h.put(in("a", "o"), "x")
	h.put(in("a", "o"), "y")
	_, err = h.Delete(h.ctx(), owner, in("a", "o"), objectstore.DeleteSpec{})
	require.NoError(t, err)
	require.NoError(t, h.DeleteContainer(h.ctx(), owner, in("a", "")))
}

func TestObjectsOfAContainerAreChangedSlowly(t *testing.T) {
	h := newHouse(t, impatient(objectstore.RateLimits{Container: []objectstore.SizeRate{{Objects: 1, PerSecond: 1}}}))
	h.container("c", nil)
	h.container("d", nil)
	h.put(in("c", "first"), "no limit for an empty one")
	h.put(in("c", "o"), "x")
	path := in("c", "o")
	upload := func() error {
		_, err := h.CreateUpload(h.ctx(), owner, path, objectstore.ObjectInfo{})
		return err
	}
	for name, change := range map[string]func() error{
		"put":  func() error { _, err := h.Put(h.ctx(), owner, path, objectstore.PutSpec{}, nil); return err },
		"copy": func() error { _, err := h.Copy(h.ctx(), owner, path, path, objectstore.CopySpec{}); return err },
		"update": func() error {
			_, err := h.Update(h.ctx(), owner, path, "", func(*objectstore.ObjectInfo) error { return nil })
			return err
		},
		"upload": upload,
		"delete": func() error { _, err := h.Delete(h.ctx(), owner, path, objectstore.DeleteSpec{}); return err },
	} {
		require.ErrorIs(t, change(), objectstore.ErrTooFast, name)
		if name == "delete" {
			continue // it would be gone
		}
		h.now = h.now.Add(time.Second)
		require.NoError(t, change(), name)
		require.ErrorIs(t, change(), objectstore.ErrTooFast, name)
	}
	h.put(in("d", "o"), "another container")
	_, err := h.Objects(h.ctx(), owner, in("c", ""), objectstore.Listing{})
	require.NoError(t, err, "listing is not limited")
}

func TestContainersAreListedSlowly(t *testing.T) {
	h := newHouse(t, impatient(objectstore.RateLimits{Listing: []objectstore.SizeRate{{PerSecond: 1}}}))
	h.container("c", nil)
	list := func() error {
		_, err := h.Objects(h.ctx(), owner, in("c", ""), objectstore.Listing{})
		return err
	}
	require.NoError(t, list())
	require.ErrorIs(t, list(), objectstore.ErrTooFast)
	h.put(in("c", "o"), "x")
	h.put(in("c", "p"), "x")
	h.now = h.now.Add(time.Second)
	_, err := h.Versions(h.ctx(), owner, in("c", ""), objectstore.Listing{})
	require.NoError(t, err)
	require.ErrorIs(t, list(), objectstore.ErrTooFast)
}

func TestRatesBetweenSizes(t *testing.T) {
	rates := []objectstore.SizeRate{{Objects: 100, PerSecond: 50}, {Objects: 200, PerSecond: 10}}
	for objects, rate := range map[int64]float64{0: 0, 99: 0, 100: 50, 150: 30, 199: 10.4, 200: 10, 1 << 40: 10} {
		require.InDelta(t, rate, objectstore.RateOf(rates, objects), 1e-9, objects)
	}
	require.Zero(t, objectstore.RateOf(nil, 5))
	for _, wrong := range []objectstore.RateLimits{
		{Account: -1}, {Container: []objectstore.SizeRate{{PerSecond: 0}}}, {Listing: []objectstore.SizeRate{{Objects: -1, PerSecond: 1}}},
		{Container: []objectstore.SizeRate{{Objects: 2, PerSecond: 1}, {Objects: 1, PerSecond: 1}}},
		{Container: []objectstore.SizeRate{{Objects: 2, PerSecond: 1}, {Objects: 2, PerSecond: 3}}},
	} {
		require.ErrorIs(t, wrong.Check(), objectstore.ErrInvalid)
	}
}

func TestWhatComesTooFastWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := objectstore.NewPacer(&objectstore.Options{Now: time.Now, RateLimits: objectstore.RateLimits{Patience: 3 * time.Second, Buffer: 2 * time.Second}})
		begin := time.Now()
		passed := func() time.Duration { return time.Since(begin) }
		for range 4 {
			require.NoError(t, p.Wait(t.Context(), "a", 2))
		}
		require.Zero(t, passed(), "two seconds' worth is let through at once")
		require.NoError(t, p.Wait(t.Context(), "a", 2))
		require.NoError(t, p.Wait(t.Context(), "a", 2))
		require.Equal(t, time.Second, passed())

		// Many at once wait for each other; those that would wait for too long are refused, and hold up nobody.
		results := make(chan error, 20)
		for range 20 {
			go func() { results <- p.Wait(t.Context(), "a", 2) }()
		}
		synctest.Wait()
		require.Len(t, results, 14)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, results, 20)
		refused := 0
		for range 20 {
			if err := <-results; err != nil {
				require.ErrorIs(t, err, objectstore.ErrTooFast)
				refused++
			}
		}
		require.Equal(t, 14, refused)

		// Who goes away gives his turn back.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, p.Wait(ctx, "a", 2), context.DeadlineExceeded)
		begin = time.Now()
		require.NoError(t, p.Wait(t.Context(), "a", 2))
		require.Equal(t, 499*time.Millisecond, passed())
	})
}

func TestIdleLimitersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := objectstore.NewPacer(&objectstore.Options{Now: time.Now, RateLimits: objectstore.RateLimits{Patience: time.Second, Buffer: time.Second}})
		for i := range 10_000 {
			require.NoError(t, p.Wait(t.Context(), fmt.Sprint(i), 1))
			time.Sleep(10 * time.Millisecond)
		}
		require.Less(t, p.Limiters(), 1500)
	})
}
