package converge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/stretchr/testify/require"
)

// every lets converge.Every run for some time and returns when it called do, which takes as long as said.
func every(t *testing.T, interval, takes, until time.Duration) (calls []time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), until)
	defer cancel()
	began := time.Now()
	converge.Every(ctx, interval, func(context.Context) {
		calls = append(calls, time.Since(began))
		time.Sleep(takes)
	})
	return calls
}

func TestEveryIntervalFromARandomMomentInTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var early, late bool
		for range 64 {
			calls := every(t, time.Minute, time.Second, 4*time.Minute)
			require.Len(t, calls, 4)
			first := calls[0]
			require.Less(t, first, time.Minute)
			require.Equal(t, []time.Duration{first, first + time.Minute, first + 2*time.Minute, first + 3*time.Minute}, calls)
			early, late = early || first < 30*time.Second, late || first >= 30*time.Second
		}
		require.True(t, early && late, "the first moments are spread over the interval")
	})
}

func TestWhatTakesLongerThanTheIntervalIsNotCaughtUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := every(t, time.Minute, 150*time.Second, 10*time.Minute)
		for i := range calls[1:] {
			require.Equal(t, 150*time.Second, calls[i+1]-calls[i])
		}
	})
}
