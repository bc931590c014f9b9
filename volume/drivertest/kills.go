package drivertest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// Kills is a pool on which processes work that are killed, or whose machine loses its power.
type Kills struct {
	// Rounds is how often that happens.
	Rounds int
	// Steps is how much is done before, at most; 60 by default.
	Steps int
	// Command prepares a process that works on the pool until it is killed: the test's own program, which calls [Work] with so many
	// workers and what it writes to as its standard output.
	Command func(t testing.TB, workers int) *exec.Cmd
	// Open makes a driver over the pool, on which nothing works then.
	Open func(t testing.TB) driver.Volumes
	// Check fails if the pool has anything but what the driver lists, or that is not whole; nil knows nothing of that.
	Check func(t testing.TB, volumes driver.Volumes)
	// Power fails instead of a process being killed; nil is never.
	Power *Power
}

// Power is a machine's, or that of its disks.
type Power struct {
	// Fail has everything be lost that was not made durable, and nothing more become so.
	Fail func(t testing.TB)
	// Return brings the pool back, when the process has been killed that worked on it.
	Return func(t testing.TB)
}

const (
	// killWorkers work at once. Where the power fails it is one: what it does after the moment need not be told apart.
	killWorkers = 4
	killSteps   = 60
	// killLimit is how many volumes and snapshots are left for the next round.
	killLimit = 60
)

// TestKills kills a process that works on a pool, at random moments, and looks at what the next one finds: everything that was
// acknowledged, what was under way wholly or not at all, and nothing else.
func TestKills(t *testing.T, k Kills) {
	if k.Steps == 0 {
		k.Steps = killSteps
	}
	known := things{}
	for round := range k.Rounds {
		pending := k.round(t, &known)
		volumes := k.Open(t)
		found := inspect(t, volumes)
		for _, s := range pending {
			switch {
			case k.Power == nil:
				known = settled(t, s, known, found)
			case !maps.Equal(known, found): // one did everything up to some step
				known = s.on(known)
			}
		}
		requireSame(t, known, found, round)
		k.check(t, volumes)
		if len(known) > killLimit || round == k.Rounds-1 {
			removeAll(t, volumes, known)
			known = things{}
			require.Empty(t, inspect(t, volumes))
			k.check(t, volumes)
		}
	}
}

func (k *Kills) check(t *testing.T, volumes driver.Volumes) {
	t.Helper()
	if k.Check != nil {
		k.Check(t, volumes)
	}
}

// thing is what a volume or a snapshot is known to be. Stamp is what its content begins with.
type thing struct {
	VolumeID   string `json:",omitempty"` // of a snapshot
	Bytes      int64
	Stamp      uint64
	Connection string `json:",omitempty"`
}

// things are what a pool holds, by their identifiers.
type things map[string]thing

// step is what a worker says before it does it, and, with nothing in it, when it is done, or when the driver has refused it.
type step struct {
	Worker  int
	Set     things   `json:",omitempty"`
	Del     []string `json:",omitempty"`
	Refused bool     `json:",omitempty"`
}

func (s step) ends() bool { return s.Set == nil && s.Del == nil }

// on is the state after the step.
func (s step) on(state things) things {
	after := maps.Clone(state)
	maps.Copy(after, s.Set)
	for _, id := range s.Del {
		delete(after, id)
	}
	return after
}

// about are the things that it changes, as they are in a state.
func (s step) about(state things) things {
	only := things{}
	for _, id := range append(slices.Collect(maps.Keys(s.Set)), s.Del...) {
		if x, ok := state[id]; ok {
			only[id] = x
		}
	}
	return only
}

// round runs workers and kills them; or one, for which the power fails as soon as it has acknowledged something, before anything else is
// made durable. known becomes what was acknowledged; it returns what was under way. Of the one that is all that it began, in order: what
// it says when its disk is gone may not be true.
func (k *Kills) round(t *testing.T, known *things) []step {
	t.Helper()
	workers, die := killWorkers, rand.IntN(2*k.Steps)
	if k.Power != nil {
		workers, die = 1, 2*rand.IntN(k.Steps)+1
	}
	child := k.Command(t, workers)
	if k.Power == nil {
		child.Stderr = t.Output() // the one fails, and says so
	}
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	pending := map[int]step{}
	var lost []step
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var s step
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s), lines.Text())
		switch {
		case k.Power != nil && n > die:
			if !s.ends() {
				lost = append(lost, s)
			}
		case !s.ends():
			pending[s.Worker] = s
		default:
			if !s.Refused {
				*known = pending[s.Worker].on(*known)
			}
			delete(pending, s.Worker)
		}
		if n != die {
			continue
		}
		if k.Power != nil {
			k.Power.Fail(t)
			_ = child.Process.Kill()
			continue
		}
		// Not only at moments when it writes a line.
		time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = child.Process.Kill() })
	}
	require.Error(t, child.Wait())
	require.True(t, k.Power != nil || !child.ProcessState.Exited(), "it ended by itself")
	if k.Power != nil {
		k.Power.Return(t)
	}
	return append(slices.Collect(maps.Values(pending)), lost...)
}

// settled says whether a step that was under way has been done: what it is about is all as before, or all as after.
func settled(t *testing.T, s step, before, found things) things {
	t.Helper()
	after := s.on(before)
	if maps.Equal(s.about(found), s.about(after)) {
		return after
	}
	require.Equal(t, s.about(before), s.about(found), "%+v is half done", s)
	return before
}

// requireSame compares without printing what is the same.
func requireSame(t *testing.T, want, got things, round int) {
	t.Helper()
	for id, x := range want {
		if got[id] == x {
			delete(got, id)
			continue
		}
		require.Failf(t, "not what was acknowledged", "round %d: %s: %+v, not %+v", round, id, got[id], x)
	}
	require.Empty(t, got, "round %d", round)
}

// inspect reads what the pool holds.
func inspect(t *testing.T, volumes driver.Volumes) things {
	t.Helper()
	all, err := volumes.List(t.Context())
	require.NoError(t, err)
	found := things{}
	for _, o := range all {
		require.False(t, o.Partial)
		x := thing{VolumeID: o.VolumeID, Bytes: o.Bytes, Connection: strings.Join(o.Connections, " ")}
		d, err := volumes.Open(t.Context(), o.ID, driver.ReadOnly)
		require.NoError(t, err)
		var b [8]byte
		_, err = d.ReadAt(b[:], 0)
		require.NoError(t, errors.Join(err, d.Close()))
		x.Stamp = binary.BigEndian.Uint64(b[:])
		found[o.ID] = x
	}
	return found
}

func removeAll(t *testing.T, volumes driver.Volumes, state things) {
	t.Helper()
	for id, x := range state {
		if x.VolumeID != "" {
			require.NoError(t, volumes.RemoveSnapshot(t.Context(), id))
			continue
		}
		if x.Connection != "" {
			require.NoError(t, volumes.Disconnect(t.Context(), id, x.Connection))
		}
		require.NoError(t, volumes.Remove(t.Context(), id))
	}
}
