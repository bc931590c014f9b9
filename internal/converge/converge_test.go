package converge_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/stretchr/testify/require"
)

type target struct {
	mu        sync.Mutex
	list      []string
	calls     map[string]int
	running   map[string]bool
	overlap   bool
	reconcile func(id string, call int) error
}

func (t *target) List(context.Context) ([]string, error) { return t.list, nil }

func (t *target) Reconcile(_ context.Context, id string) error {
	t.mu.Lock()
	if t.calls == nil {
		t.calls, t.running = map[string]int{}, map[string]bool{}
	}
	t.calls[id]++
	call := t.calls[id]
	t.overlap = t.overlap || t.running[id]
	t.running[id] = true
	t.mu.Unlock()
	var err error
	if t.reconcile != nil {
		err = t.reconcile(id, call)
	}
	t.mu.Lock()
	t.running[id] = false
	t.mu.Unlock()
	return err
}

func run(t *testing.T, target *target, options *converge.Options) (*converge.Loop, func()) {
	t.Helper()
	loop := converge.New(target, options)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { loop.Run(ctx); close(done) }()
	return loop, func() { cancel(); <-done }
}

func TestEverythingIsLookedAtAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &target{list: []string{"a", "b"}}
		loop, stop := run(t, target, nil)
		require.NoError(t, loop.Settle(t.Context()))
		stop()
		require.Equal(t, map[string]int{"a": 1, "b": 1}, target.calls)
	})
}

func TestOneIdentifierNeverOverlapsAndNoWishIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &target{reconcile: func(string, int) error { time.Sleep(time.Second); return nil }}
		loop, stop := run(t, target, nil)
		for range 5 {
			loop.Enqueue("a")
		}
		time.Sleep(500 * time.Millisecond)
		loop.Enqueue("a") // under way: must run once more
		loop.Enqueue("a", "b")
		require.NoError(t, loop.Settle(t.Context()))
		stop()
		require.Equal(t, map[string]int{"a": 2, "b": 1}, target.calls)
		require.False(t, target.overlap)
	})
}

func TestFailuresAreTriedAgainLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		target := &target{reconcile: func(_ string, call int) error {
			at = append(at, time.Since(start))
			if call < 6 {
				return errors.New("not yet")
			}
			return nil
		}}
		var heard []int
		loop, stop := run(t, target, &converge.Options{MinBackoff: time.Second, MaxBackoff: 4 * time.Second,
			OnError: func(_ string, _ error, n int) { heard = append(heard, n) }})
		loop.Enqueue("a")
		require.NoError(t, loop.Settle(t.Context()))
		stop()
		require.Equal(t, []int{1, 2, 3, 4, 5}, heard)
		for i, most := range []time.Duration{1, 2, 4, 4, 4} {
			pause := at[i+1] - at[i]
			require.LessOrEqual(t, pause, most*time.Second)
			require.GreaterOrEqual(t, pause, most*time.Second*3/4)
		}
	})
}

func TestANewWishDoesNotWaitForTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &target{reconcile: func(_ string, call int) error {
			if call == 1 {
				return errors.New("broken")
			}
			return nil
		}}
		loop, stop := run(t, target, &converge.Options{MinBackoff: time.Hour, MaxBackoff: time.Hour})
		loop.Enqueue("a")
		time.Sleep(time.Second)
		loop.Enqueue("a")
		start := time.Now()
		require.NoError(t, loop.Settle(t.Context()))
		require.Zero(t, time.Since(start))
		stop()
		require.Equal(t, 2, target.calls["a"])
	})
}

func TestResyncLooksAtEverythingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &target{list: []string{"a"}}
		_, stop := run(t, target, &converge.Options{Resync: time.Minute})
		time.Sleep(3 * time.Minute)
		stop()
		require.Equal(t, 4, target.calls["a"], "at the start, and once in each minute")
	})
}
