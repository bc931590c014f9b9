package inject_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

// The second start of the server "db" fails; whatever else is started on host2 takes a second.
func Example() {
	faults := inject.New(1,
		inject.Fault{Step: "server apply", Resource: "db", After: 1, Times: 1, Err: errors.New("no memory left")},
		inject.Fault{Step: "server *", Host: "host2", Delay: time.Second},
	)
	// A driver asks before it does something.
	start := inject.Step{Name: "server apply", ID: "4711", ResourceName: "db", Host: "host1"}
	for range 3 {
		fmt.Println(faults.Meet(context.Background(), start))
	}
	fmt.Println(len(faults.Strikes()), "struck,", len(faults.Idle()), "met nothing")
	// Output:
	// <nil>
	// no memory left
	// <nil>
	// 1 struck, 1 met nothing
}

func meet(s *inject.Set, step inject.Step, times int) (failed []int) {
	for i := range times {
		if s.Meet(context.Background(), step) != nil {
			failed = append(failed, i+1)
		}
	}
	return failed
}

func TestWhenAFaultStrikes(t *testing.T) {
	for _, c := range []struct {
		fault inject.Fault
		want  []int
	}{
		{inject.Fault{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{inject.Fault{Times: 1}, []int{1}},
		{inject.Fault{Every: 3}, []int{3, 6, 9}},
		{inject.Fault{After: 2, Every: 3, Times: 2}, []int{5, 8}},
		{inject.Fault{Probability: 1, After: 8}, []int{9}},
		{inject.Fault{Step: "server apply", Resource: "4711"}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{inject.Fault{Step: "* apply", Resource: "db", Host: "host1", Times: 1}, []int{1}},
		{inject.Fault{Step: "server remove"}, nil},
		{inject.Fault{Step: "*"}, nil},
		{inject.Fault{Host: "host2"}, nil},
		{inject.Fault{Resource: "web"}, nil},
	} {
		s := inject.New(1, c.fault)
		require.Equal(t, c.want, meet(s, inject.Step{Name: "server apply", ID: "4711", ResourceName: "db", Host: "host1"}, 9), "%+v", c.fault)
	}
}

func TestChanceIsDecidedBySeedAndNameAlone(t *testing.T) {
	fault := inject.Fault{Probability: 0.3}
	one, same, other := inject.New(1, fault), inject.New(1, fault), inject.New(2, fault)
	db, web := inject.Step{ID: "1", ResourceName: "db"}, inject.Step{ID: "2", ResourceName: "web"}
	first := meet(one, db, 1000)
	require.InDelta(t, 300, len(first), 60)
	meet(same, web, 17) // others' meetings change nothing
	db.ID = "another"   // and neither do random identifiers
	require.Equal(t, first, meet(same, db, 1000))
	require.NotEqual(t, first, meet(other, db, 1000))
}

func TestHangingAndDelaysEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inject.New(1)
		remove := s.Add(inject.Fault{Hang: true, Step: "a"})
		s.Add(inject.Fault{Delay: time.Hour, Step: "b"})
		go func() {
			time.Sleep(time.Minute)
			require.Equal(t, 1, s.Waiting())
			remove()
		}()
		start := time.Now()
		require.NoError(t, s.Meet(t.Context(), inject.Step{Name: "a"}))
		require.Equal(t, time.Minute, time.Since(start))
		require.NoError(t, s.Meet(t.Context(), inject.Step{Name: "b"}))
		require.Equal(t, time.Minute+time.Hour, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Meet(ctx, inject.Step{Name: "b"}), context.DeadlineExceeded)
		require.Zero(t, s.Waiting())
		s.Clear()
		require.NoError(t, s.Meet(t.Context(), inject.Step{Name: "b"}))
	})
}

func TestNoSetIsNoFaults(t *testing.T) {
	var s *inject.Set
	require.NoError(t, s.Meet(t.Context(), inject.Step{}))
	require.Empty(t, s.Strikes())
	require.Empty(t, s.Idle())
}
