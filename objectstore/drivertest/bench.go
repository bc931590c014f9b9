package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/stretchr/testify/require"
)

// BenchmarkStore measures putting, opening and removing contents of 1 KiB, 64 KiB and 64 MiB, each by one and by 16 at once (removing,
// and 64 MiB, by one alone).
func BenchmarkStore(b *testing.B, factory Factory) {
	for _, c := range []struct {
		name string
		size int
		at   []int
	}{{"1KiB", 1 << 10, []int{1, 16}}, {"64KiB", 64 << 10, []int{1, 16}}, {"64MiB", 64 << 20, []int{1}}} {
		content := bytesOf(1, c.size)
		for _, at := range c.at {
			name := fmt.Sprintf("%s/%d", c.name, at)
			b.Run("Put/"+name, func(b *testing.B) { puts(b, factory(b), content, at) })
			b.Run("Open/"+name, func(b *testing.B) { opens(b, factory(b), content, at) })
		}
		b.Run("Remove/"+c.name, func(b *testing.B) { removals(b, factory(b), content) })
	}
}

// loop runs do b.N times, by so many goroutines, with numbers of their own.
func loop(b *testing.B, at int, do func(n int64) error) {
	var next, failed atomic.Int64
	done := make(chan error, at)
	for range at {
		go func() {
			for failed.Load() == 0 {
				n := next.Add(1)
				if n > int64(b.N) {
					break
				}
				if err := do(n); err != nil {
					failed.Add(1)
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range at {
		require.NoError(b, <-done)
	}
}

func putOne(s driver.Store, n int64, content []byte) error {
	_, err := s.Put(context.Background(), fmt.Sprintf("ref-%09d", n), bytes.NewReader(content), int64(len(content)))
	return err
}

// puts removes large contents as it goes, out of the measurement: they would fill the disk.
func puts(b *testing.B, s driver.Store, content []byte, at int) {
	b.SetBytes(int64(len(content)))
	b.ResetTimer()
	loop(b, at, func(n int64) error {
		if err := putOne(s, n, content); err != nil || len(content) < 1<<20 {
			return err
		}
		b.StopTimer()
		defer b.StartTimer()
		return s.Remove(context.Background(), fmt.Sprintf("ref-%09d", n))
	})
}

func opens(b *testing.B, s driver.Store, content []byte, at int) {
	kept := int64(1)
	if len(content) < 1<<20 {
		kept = 100
	}
	for n := range kept {
		require.NoError(b, putOne(s, n, content))
	}
	b.SetBytes(int64(len(content)))
	b.ResetTimer()
	loop(b, at, func(n int64) error {
		r, err := s.Open(context.Background(), fmt.Sprintf("ref-%09d", n%kept), 0, -1)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		return r.Close()
	})
}

// removals puts what it removes as it goes, and tells how long a removal takes of that: as many as a store in memory removes in
// a second would have to be put before.
func removals(b *testing.B, s driver.Store, content []byte) {
	if len(content) > 1<<20 {
		b.Skip("takes no longer than what is smaller")
	}
	var removing time.Duration
	for n := int64(0); b.Loop(); n++ {
		require.NoError(b, putOne(s, n, content))
		began := time.Now()
		require.NoError(b, s.Remove(context.Background(), fmt.Sprintf("ref-%09d", n)))
		removing += time.Since(began)
	}
	b.ReportMetric(float64(removing)/float64(b.N), "ns/remove")
}
