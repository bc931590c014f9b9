// Package drivertest is the conformance suite for drivers of servers (package compute/driver).
//
// A driver's whole test is a [Harness], which is the driver's surroundings, and a call of [TestServers]:
//
//	func TestConformance(t *testing.T) {
//		drivertest.TestServers(t, func(t *testing.T) drivertest.Harness {
//			host := memcompute.NewHost()
//			return drivertest.Harness{
//				Open:     func() driver.Servers { return memcompute.New(host, &memcompute.Options{Delay: time.Millisecond}) },
//				Server:   server,
//				Banner:   "login:",
//				Crash:    func(running driver.Observed) { require.NoError(t, host.Crash(running.ID, "killed")) },
//				PowerOff: func(running driver.Observed) { require.NoError(t, host.PowerOff(running.ID)) },
//			}
//		})
//	}
//
// The suite starts real servers, in turn, and leaves none behind: they come and go, reboot, crash, power themselves
// off, and are found by a driver that is opened anew. [BootSectorImage] makes a disk of 512 bytes for drivers of PC
// hardware.
//
// It needs testify, and of the host what the driver needs; a driver whose Probe fails should skip the test and say why.
// It does not measure, does not send packets, and never waits by a fixed sleep: at most a minute for what has to
// happen. Errors are test failures, with the name of the part; nothing here is safe for concurrent use, the parts run
// one after the other.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/stretchr/testify/require"
)

const (
	patience = time.Minute
	interval = 10 * time.Millisecond
)

// Harness is how the suite gets at a driver.
type Harness struct {
	// Open opens the driver on the harness's state; opened again, as after a restart of its program, it finds what
	// the value before it left.
	Open func() driver.Servers
	// Server is a small server that prints Banner on its console and heeds the power button.
	Server func(id string) driver.Server
	Banner string
	// Crash ends a running server by a fault, behind the driver's back.
	Crash func(running driver.Observed)
	// PowerOff makes a running server's guest power itself off.
	PowerOff func(running driver.Observed)
	// Volumes is set for drivers whose servers can have volumes.
	Volumes *Volumes
	// Base puts a copy of a server's disk where [driver.Disk].Base can name it. Without it copies are not booted.
	Base func(content []byte) (path string)
	// Leftovers says what exists on the host for the server beside what List shows.
	Leftovers func(id string) []string
}

// TestServers runs the suite; factory makes a harness with a state of its own for each test.
func TestServers(t *testing.T, factory func(t *testing.T) Harness) {
	tests := []test{
		{"a server comes, runs and goes", comesAndGoes, false},
		{"a server that should not run does not", doesNotRun, false},
		{"applying again changes nothing", idempotent, false},
		{"stop and start", stopAndStart, false},
		{"a soft reboot boots anew, once", func(s *suite) { reboots(s, false) }, false},
		{"a hard reboot boots anew, once", func(s *suite) { reboots(s, true) }, false},
		{"a crash is seen, with a reason, and mended", crash, false},
		{"a guest that powers itself off has stopped", powerOff, false},
		{"a new driver finds what runs", readopts, false},
		{"a new driver sees what ended meanwhile", endedMeanwhile, false},
		{"the console is kept", console, false},
		{"a watcher hears of an end", watch, false},
		{"an apply cut short is completed or removed", cutShort, false},
		{"bad input is refused and leaves nothing", badInput, false},
		{"removing what is not there is no error", removeNothing, false},
	}
	for _, test := range slices.Concat(tests, volumeTests(), imageTests()) {
		t.Run(test.name, func(t *testing.T) {
			h := factory(t)
			if h.Volumes == nil && test.volumes {
				t.Skip("the driver's servers have no volumes")
			}
			s := &suite{T: t, h: h, driver: h.Open(), id: uuid.NewString()}
			defer s.removeAll()
			test.run(s)
		})
	}
}

// test is a part of the suite; volumes says that it is about them.
type test struct {
	name    string
	run     func(*suite)
	volumes bool
}

type suite struct {
	*testing.T
	h      Harness
	driver driver.Servers
	id     string
}

// want is the suite's server, running, at the given count of boots.
func (s *suite) want(boots int) driver.Server {
	want := s.h.Server(s.id)
	want.Running, want.Boots = true, boots
	return want
}

func (s *suite) apply(want driver.Server) {
	s.Helper()
	require.NoError(s, s.driver.Apply(s.Context(), want))
}

// observed is the server as List shows it; nil if it does not.
func (s *suite) observed() *driver.Observed {
	s.Helper()
	all, err := s.driver.List(s.Context())
	require.NoError(s, err)
	for _, one := range all {
		if one.ID == s.id {
			return &one
		}
	}
	return nil
}

func (s *suite) requireState(state driver.State) driver.Observed {
	s.Helper()
	one := s.observed()
	require.NotNil(s, one, "the server is not listed")
	require.Equal(s, state, one.State, "reason: %s", one.Reason)
	if state == driver.Running {
		require.NotZero(s, one.PID)
	} else {
		require.Zero(s, one.PID)
	}
	return *one
}

func (s *suite) await(state driver.State) driver.Observed {
	s.Helper()
	require.Eventually(s, func() bool {
		one := s.observed()
		return one != nil && one.State == state
	}, patience, interval, "the server does not become %s", state)
	return s.requireState(state)
}

// awaitBanners waits until the console shows the banner n times.
func (s *suite) awaitBanners(n int) {
	s.Helper()
	consoles, ok := s.driver.(driver.Consoles)
	if !ok {
		return
	}
	require.Eventually(s, func() bool {
		log, err := consoles.ConsoleLog(s.Context(), s.id, 0)
		return err == nil && bytes.Count(log, []byte(s.h.Banner)) >= n
	}, patience, interval, "the console does not show the banner %d times", n)
}

func (s *suite) removeAll() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), patience)
	defer cancel()
	require.NoError(s, s.driver.Remove(ctx, s.id))
	all, err := s.driver.List(ctx)
	require.NoError(s, err)
	require.Empty(s, all)
	if s.h.Leftovers != nil {
		require.Empty(s, s.h.Leftovers(s.id))
	}
}

func comesAndGoes(s *suite) {
	require.Nil(s, s.observed())
	s.apply(s.want(1))
	require.Equal(s, 1, s.requireState(driver.Running).Boots)
	s.awaitBanners(1)
	require.NoError(s, s.driver.Remove(s.Context(), s.id))
	require.Nil(s, s.observed())
	require.NoError(s, s.driver.Remove(s.Context(), s.id))
	// Its identifier is free again.
	s.apply(s.want(1))
	s.requireState(driver.Running)
}

func doesNotRun(s *suite) {
	want := s.want(0)
	want.Running = false
	s.apply(want)
	s.requireState(driver.Stopped)
	s.apply(want)
	s.requireState(driver.Stopped)
}

func idempotent(s *suite) {
	s.apply(s.want(3))
	first := s.requireState(driver.Running)
	for range 3 {
		s.apply(s.want(3))
	}
	require.Equal(s, first, s.requireState(driver.Running))
	// An older wish does not turn back time.
	s.apply(s.want(2))
	require.Equal(s, first, s.requireState(driver.Running))
}

func stopAndStart(s *suite) {
	s.apply(s.want(1))
	first := s.requireState(driver.Running)
	s.awaitBanners(1)
	stop := s.want(1)
	stop.Running = false
	s.apply(stop)
	require.Empty(s, s.requireState(driver.Stopped).Reason)
	s.apply(stop)
	s.requireState(driver.Stopped)
	s.apply(s.want(2))
	second := s.requireState(driver.Running)
	require.NotEqual(s, first.PID, second.PID)
	require.Equal(s, 2, second.Boots)
	s.awaitBanners(2)
	stop.Hard = true
	s.apply(stop)
	s.requireState(driver.Stopped)
}

func reboots(s *suite, hard bool) {
	s.apply(s.want(1))
	s.awaitBanners(1)
	want := s.want(2)
	want.Hard = hard
	s.apply(want)
	second := s.requireState(driver.Running)
	require.Equal(s, 2, second.Boots)
	s.awaitBanners(2)
	s.apply(want)
	require.Equal(s, second, s.requireState(driver.Running))
}

func crash(s *suite) {
	s.apply(s.want(1))
	first := s.requireState(driver.Running)
	s.h.Crash(first)
	require.NotEmpty(s, s.await(driver.Crashed).Reason)
	s.apply(s.want(1))
	require.Empty(s, s.requireState(driver.Running).Reason)
}

func powerOff(s *suite) {
	s.apply(s.want(1))
	s.awaitBanners(1)
	s.h.PowerOff(s.requireState(driver.Running))
	s.await(driver.Stopped)
	s.apply(s.want(2))
	s.requireState(driver.Running)
}

func readopts(s *suite) {
	s.apply(s.want(1))
	first := s.requireState(driver.Running)
	s.driver = s.h.Open()
	require.Equal(s, first, s.requireState(driver.Running))
	s.apply(s.want(1))
	require.Equal(s, first, s.requireState(driver.Running))
	s.awaitBanners(1)
}

func endedMeanwhile(s *suite) {
	s.apply(s.want(1))
	s.awaitBanners(1)
	s.h.PowerOff(s.requireState(driver.Running))
	s.await(driver.Stopped)
	s.driver = s.h.Open()
	s.requireState(driver.Stopped)
	s.apply(s.want(2))
	s.h.Crash(s.requireState(driver.Running))
	s.driver = s.h.Open()
	s.await(driver.Crashed)
	stop := s.want(2)
	stop.Running = false
	s.apply(stop)
	s.observed()
}

func console(s *suite) {
	consoles, ok := s.driver.(driver.Consoles)
	if !ok {
		s.Skip("the driver keeps no consoles")
	}
	_, err := consoles.ConsoleLog(s.Context(), s.id, 0)
	require.Error(s, err, "there is no such server")
	s.apply(s.want(1))
	s.awaitBanners(1)
	all, err := consoles.ConsoleLog(s.Context(), s.id, 0)
	require.NoError(s, err)
	last, err := consoles.ConsoleLog(s.Context(), s.id, 1)
	require.NoError(s, err)
	require.LessOrEqual(s, bytes.Count(last, []byte("\n")), 1)
	require.Less(s, len(last), len(all))
	// It can be read when the server has stopped, too.
	stop := s.want(1)
	stop.Running, stop.Hard = false, true
	s.apply(stop)
	after, err := consoles.ConsoleLog(s.Context(), s.id, 0)
	require.NoError(s, err)
	require.Contains(s, string(after), s.h.Banner)
}

func watch(s *suite) {
	watcher, ok := s.driver.(driver.Watcher)
	if !ok {
		s.Skip("the driver does not watch")
	}
	s.apply(s.want(1))
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	changed, done := make(chan string, 100), make(chan error, 1)
	go func() { done <- watcher.Watch(ctx, func(id string) { changed <- id }) }()
	s.h.Crash(s.requireState(driver.Running))
	s.awaitChange(ctx, changed, driver.Crashed)
	// And of one that started while it watched.
	s.apply(s.want(2))
	s.awaitBanners(1)
	s.h.PowerOff(s.requireState(driver.Running))
	s.awaitChange(ctx, changed, driver.Stopped)
	cancel()
	require.ErrorIs(s, <-done, context.Canceled)
}

// awaitChange waits for word of the server and for the state: word may come of older changes too.
func (s *suite) awaitChange(ctx context.Context, changed <-chan string, state driver.State) {
	s.Helper()
	for {
		select {
		case id := <-changed:
			require.Equal(s, s.id, id)
			if one := s.observed(); one != nil && one.State == state {
				return
			}
		case <-ctx.Done():
			s.Fatalf("the watcher does not say that the server is %s", state)
		}
	}
}

// cutShort ends Apply's context at different moments.
func cutShort(s *suite) {
	for _, after := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(s.Context(), after)
		err := s.driver.Apply(ctx, s.want(1))
		cancel()
		if err != nil {
			require.True(s, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled), "%v", err)
		}
		s.driver = s.h.Open()
		s.apply(s.want(1))
		s.requireState(driver.Running)
		require.NoError(s, s.driver.Remove(s.Context(), s.id))
		require.Nil(s, s.observed())
	}
}

func badInput(s *suite) {
	for name, spoil := range map[string]func(*driver.Server){
		"no identifier":     func(w *driver.Server) { w.ID = "" },
		"a path":            func(w *driver.Server) { w.ID = "../" + w.ID },
		"no processor":      func(w *driver.Server) { w.VCPUs = 0 },
		"no memory":         func(w *driver.Server) { w.MemoryMiB = 0 },
		"a missing image":   func(w *driver.Server) { w.Root.Base += "-missing" },
		"an unknown format": func(w *driver.Server) { w.Root.Format = "vmdk" },
	} {
		want := s.want(1)
		spoil(&want)
		require.Error(s, s.driver.Apply(s.Context(), want), name)
		all, err := s.driver.List(s.Context())
		require.NoError(s, err)
		require.Empty(s, all, name)
	}
}

func removeNothing(s *suite) {
	require.NoError(s, s.driver.Remove(s.Context(), s.id))
	require.NoError(s, s.driver.Remove(s.Context(), uuid.NewString()))
}
