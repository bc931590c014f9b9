package drivertest

import (
	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/stretchr/testify/require"
)

// Volumes is how the suite gets at volumes, for drivers that are [driver.Disks].
type Volumes struct {
	// Make makes a volume of that size, full of zeroes; Grow makes one larger.
	Make func(bytes int64) driver.Volume
	Grow func(volume driver.Volume, bytes int64) driver.Volume
	// Boot makes a volume from which a server without a root boots as [Harness].Server's does.
	Boot func() driver.Volume
	// Server is a small server whose guest, once Banner is on its console, lets go of disks. Default: those of [Harness].
	Server func(id string) driver.Server
	Banner string
}

const mib = 1 << 20

// volumeTests are the parts of the suite for drivers whose servers have volumes.
func volumeTests() []test {
	return []test{
		{"a server starts with its volumes, and keeps them", volumesFromTheStart, true},
		{"volumes come and go while a server runs", volumesComeAndGo, true},
		{"a volume grows while a server runs", volumeGrows, true},
		{"a server boots from a volume", bootFromVolume, true},
		{"a volume that cannot be is refused, and the server goes on", badVolumes, true},
	}
}

func (s *suite) disks() []driver.ObservedVolume {
	s.Helper()
	disks, err := s.driver.(driver.Disks).Disks(s.Context(), s.id)
	require.NoError(s, err)
	return disks
}

func (s *suite) requireDisks(volumes ...driver.Volume) {
	s.Helper()
	want := map[string]int64{}
	for _, v := range volumes {
		want[v.ID] = v.Bytes
	}
	have := map[string]int64{}
	for _, d := range s.disks() {
		have[d.ID] = d.Bytes
	}
	require.Equal(s, want, have)
}

// supple is a server whose guest lets go of disks.
func (s *suite) supple() (want driver.Server, banner string) {
	want, banner = s.want(1), s.h.Banner
	if v := s.h.Volumes; v.Server != nil {
		want, banner = v.Server(s.id), v.Banner
		want.Running, want.Boots = true, 1
	}
	return want, banner
}

func volumesFromTheStart(s *suite) {
	want := s.want(1)
	first, second := s.h.Volumes.Make(4*mib), s.h.Volumes.Make(6*mib)
	second.ReadOnly = true
	want.Volumes = []driver.Volume{first, second}
	s.apply(want)
	running := s.requireState(driver.Running)
	s.requireDisks(first, second)
	s.apply(want)
	s.driver = s.h.Open()
	s.apply(want)
	require.Equal(s, running, s.requireState(driver.Running))
	s.requireDisks(first, second)
	s.awaitBanners(1)
	want.Boots, want.Hard = 2, true
	want.Volumes = want.Volumes[:1]
	s.apply(want)
	s.requireDisks(first)
	want.Running = false
	s.apply(want)
	_, err := s.driver.(driver.Disks).Disks(s.Context(), s.id)
	require.Error(s, err, "it does not run")
	want.Running, want.Boots = true, 3
	s.apply(want)
	s.requireDisks(first)
}

func volumesComeAndGo(s *suite) {
	want, banner := s.supple()
	s.h.Banner = banner
	s.apply(want)
	running := s.requireState(driver.Running)
	s.requireDisks()
	s.awaitBanners(1)
	first, second := s.h.Volumes.Make(4*mib), s.h.Volumes.Make(6*mib)
	second.Shared = true
	want.Volumes = []driver.Volume{first}
	s.apply(want)
	s.apply(want)
	s.requireDisks(first)
	want.Volumes = []driver.Volume{first, second}
	s.apply(want)
	s.requireDisks(first, second)
	want.Volumes = []driver.Volume{second}
	s.apply(want)
	s.requireDisks(second)
	// What one value of the driver gave another takes.
	s.driver = s.h.Open()
	want.Volumes = nil
	s.apply(want)
	s.apply(want)
	s.requireDisks()
	want.Volumes = []driver.Volume{first, second}
	s.apply(want)
	s.requireDisks(first, second)
	require.Equal(s, running, s.requireState(driver.Running), "the server ran on")
}

func volumeGrows(s *suite) {
	want := s.want(1)
	early, late := s.h.Volumes.Make(4*mib), s.h.Volumes.Make(4*mib)
	want.Volumes = []driver.Volume{early}
	s.apply(want)
	running := s.requireState(driver.Running)
	want.Volumes = []driver.Volume{early, late}
	s.apply(want)
	early, late = s.h.Volumes.Grow(early, 8*mib), s.h.Volumes.Grow(late, 16*mib)
	want.Volumes = []driver.Volume{early, late}
	s.apply(want)
	s.requireDisks(early, late)
	s.apply(want)
	s.requireDisks(early, late)
	require.Equal(s, running, s.requireState(driver.Running), "the server ran on")
}

func bootFromVolume(s *suite) {
	want := s.want(1)
	want.Root, want.Kernel, want.Initrd = driver.Disk{}, "", ""
	data, boot := s.h.Volumes.Make(4*mib), s.h.Volumes.Boot()
	boot.Boot = true
	want.Volumes = []driver.Volume{data, boot}
	s.apply(want)
	s.awaitBanners(1)
	s.requireDisks(data, boot)
	want.Running, want.Hard = false, true
	s.apply(want)
	want.Volumes = nil
	s.apply(want)
	want.Running, want.Boots, want.Volumes = true, 2, []driver.Volume{boot}
	s.apply(want)
	s.awaitBanners(2)
}

func badVolumes(s *suite) {
	want := s.want(1)
	good := s.h.Volumes.Make(4 * mib)
	want.Volumes = []driver.Volume{good}
	s.apply(want)
	running := s.requireState(driver.Running)
	for name, spoil := range map[string]func(v *driver.Volume){
		"no identifier": func(v *driver.Volume) { v.ID = "" },
		"no such file":  func(v *driver.Volume) { v.ID, v.Path = uuid.NewString(), "/volume-missing" },
		"twice":         func(*driver.Volume) {},
		"no size":       func(v *driver.Volume) { v.ID, v.Bytes = uuid.NewString(), 0 },
	} {
		bad := good
		spoil(&bad)
		want.Volumes = []driver.Volume{good, bad}
		require.Error(s, s.driver.Apply(s.Context(), want), name)
		s.requireDisks(good)
	}
	require.Equal(s, running, s.requireState(driver.Running))
}
