package drivertest

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/stretchr/testify/require"
)

// imageTests are the parts of the suite for drivers that copy servers' disks.
func imageTests() []test {
	return []test{
		{"the disk of a server that runs is copied", copyRunning, false},
		{"the disk of a server that does not run is copied", copyStopped, false},
		{"a copy cut short leaves nothing", copyCutShort, false},
		{"a copy outlives its server", copyOutlives, false},
		{"what cannot be copied is refused", badCopies, false},
	}
}

func (s *suite) imager() driver.Imager {
	s.Helper()
	imager, ok := s.driver.(driver.Imager)
	if !ok {
		s.Skip("the driver copies no disks")
	}
	return imager
}

// copied is what a copy of the server's disk holds.
func (s *suite) copied(format string) []byte {
	s.Helper()
	c, err := s.imager().Capture(s.Context(), s.id, s.h.Server(s.id).Root, format)
	require.NoError(s, err)
	content, err := io.ReadAll(c)
	require.NoError(s, err)
	require.NoError(s, c.Close())
	require.Len(s, content, int(c.Bytes))
	return content
}

// boots makes a server of a copy, and waits until it shows the banner.
func (s *suite) boots(format string, content []byte) {
	s.Helper()
	if s.h.Base == nil {
		return
	}
	of, want := s.id, s.want(1)
	s.id = uuid.NewString()
	defer func() { s.id = of }()
	want.ID = s.id
	want.Root.Base, want.Root.Format = s.h.Base(content), format
	s.apply(want)
	s.awaitBanners(1)
	require.NoError(s, s.driver.Remove(s.Context(), s.id))
}

func copyRunning(s *suite) {
	s.imager()
	s.apply(s.want(1))
	s.awaitBanners(1)
	running := s.requireState(driver.Running)
	for _, format := range []string{"qcow2", "raw"} {
		content := s.copied(format)
		require.Equal(s, format == "qcow2", bytes.HasPrefix(content, []byte("QFI\xfb")))
		s.boots(format, content)
	}
	s.driver = s.h.Open()
	s.boots("qcow2", s.copied("qcow2"))
	s.apply(s.want(1))
	require.Equal(s, running, s.requireState(driver.Running), "the server ran on")
	// Its disk is its disk: it boots again.
	again := s.want(2)
	again.Hard = true
	s.apply(again)
	s.awaitBanners(2)
}

func copyStopped(s *suite) {
	s.imager()
	stop := s.want(0)
	stop.Running = false
	s.apply(stop)
	for _, format := range []string{"qcow2", "raw"} {
		s.boots(format, s.copied(format))
	}
	s.requireState(driver.Stopped)
	s.apply(s.want(1))
	s.awaitBanners(1)
}

func copyCutShort(s *suite) {
	s.imager()
	for _, run := range []bool{true, false} {
		want := s.want(1)
		want.Running, want.Hard = run, true
		s.apply(want)
		for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(s.Context(), after)
			c, err := s.imager().Capture(ctx, s.id, want.Root, "qcow2")
			cancel()
			if err == nil {
				require.NoError(s, c.Close())
			}
			s.driver = s.h.Open()
			require.NoError(s, s.imager().Discard(s.Context(), s.id))
			require.NoError(s, s.imager().Discard(s.Context(), s.id))
		}
		s.boots("qcow2", s.copied("qcow2"))
	}
}

func copyOutlives(s *suite) {
	s.imager()
	s.apply(s.want(1))
	c, err := s.imager().Capture(s.Context(), s.id, s.h.Server(s.id).Root, "raw")
	require.NoError(s, err)
	require.NoError(s, s.driver.Remove(s.Context(), s.id))
	content, err := io.ReadAll(c)
	require.NoError(s, err)
	require.Len(s, content, int(c.Bytes))
	require.NoError(s, c.Close())
	require.NoError(s, s.imager().Discard(s.Context(), s.id), "there is no such server")
}

func badCopies(s *suite) {
	s.imager()
	want := s.want(1)
	_, err := s.imager().Capture(s.Context(), s.id, want.Root, "raw")
	require.Error(s, err, "there is no such server")
	s.apply(want)
	running := s.requireState(driver.Running)
	_, err = s.imager().Capture(s.Context(), s.id, want.Root, "vmdk")
	require.Error(s, err)
	require.NoError(s, s.imager().Discard(s.Context(), s.id))
	if v := s.h.Volumes; v != nil {
		require.NoError(s, s.driver.Remove(s.Context(), s.id))
		want.Root, want.Volumes = driver.Disk{}, []driver.Volume{v.Boot()}
		want.Volumes[0].Boot = true
		s.apply(want)
		running = s.requireState(driver.Running)
		_, err = s.imager().Capture(s.Context(), s.id, want.Root, "raw")
		require.Error(s, err, "it has no disk of its own")
	}
	require.Equal(s, running, s.requireState(driver.Running))
}
