//go:build linux

package process_test

import (
	"context"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/stretchr/testify/require"
)

func TestEndsAreHeardOf(t *testing.T) {
	var ends process.Ends
	before := start(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan string, 8), make(chan error, 1)
	existing := func(context.Context) (map[string]*process.Process, error) {
		ends.Started("before", before) // it comes twice, and is heard of once
		return map[string]*process.Process{"before": before, "missing": nil}, nil
	}
	go func() { done <- ends.Watch(ctx, existing, func(name string) { heard <- name }) }()
	require.Equal(t, "missing", <-heard)

	later := start(t, t.TempDir())
	ends.Started("later", later)
	require.NoError(t, later.Stop(t.Context(), 0))
	require.Equal(t, "later", <-heard)
	require.NoError(t, before.Stop(t.Context(), time.Second))
	require.Equal(t, "before", <-heard)

	ends.Started("going on", start(t, t.TempDir()))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Empty(t, heard)
}
