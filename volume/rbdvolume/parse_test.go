//go:build linux

package rbdvolume

import (
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

func TestMonitors(t *testing.T) {
	for given, want := range map[string][]string{
		"":                        nil,
		"v2:127.0.0.1:3300":       {"127.0.0.1:3300"},
		"10.0.0.1, mon2":          {"10.0.0.1:3300", "10.0.0.1:6789", "mon2:3300", "mon2:6789"},
		"10.0.0.1:6790;mon2:6789": {"10.0.0.1:6790", "mon2:6789"},
		"[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0],[v2:10.0.0.2:3300,v1:10.0.0.2:6789]": {"10.0.0.1:3300", "10.0.0.1:6789", "10.0.0.2:3300", "10.0.0.2:6789"},
		"[v2:[fd00::1]:3300/0,v1:[fd00::1]:6789/0] [fd00::2]":                         {"[fd00::1]:3300", "[fd00::1]:6789", "[fd00::2]:3300", "[fd00::2]:6789"},
	} {
		require.Equal(t, want, parseMonitors(given), given)
	}
}

func TestKeyring(t *testing.T) {
	const keyring = "[client.admin]\n\tkey = YWRtaW4=\n\tcaps mon = \"allow *\"\n[client.kintoun]\n\tkey=a2V5\n"
	require.Equal(t, "YWRtaW4=", parseKeyring(keyring, "client.admin"))
	require.Equal(t, "a2V5", parseKeyring(keyring, "client.kintoun"))
	require.Empty(t, parseKeyring(keyring, "client.other"))
}

func TestErrorNumbers(t *testing.T) {
	require.Equal(t, syscall.ENOTEMPTY, number(39, "rbd: image has snapshots"))
	require.Equal(t, syscall.ENOENT, number(1, "error opening pool nope: (2) No such file or directory\n"))
	require.Equal(t, syscall.EPERM, number(1, "something else\n"))
	full := &commandError{number: syscall.EDQUOT}
	require.ErrorIs(t, full, driver.ErrFull)
	require.Equal(t, "rbd: error opening image x: (2) No such file or directory",
		said("2026-11-23T08:51:39.954+0000 7f93137fe6c0 -1 librbd::image::OpenRequest: failed\n\nrbd: error opening image x: (2) No such file or directory\n"))
}

func FuzzIndex(f *testing.F) {
	volume := uuid.NewString()
	for _, c := range []driver.Connection{{Host: "host1"}, {Host: "a/b\nc %", Shared: true}, {ReadOnly: true, Host: "h"}, {Shared: true, ReadOnly: true, Host: "h"}} {
		c.ID, c.VolumeID = uuid.NewString(), volume
		x := parseIndex(connectionKey(c) + "\n" + luksKey("12ab", 4096) + "\n" + revertKey(volume) + "\n" + togetherKey([]driver.Snapshot{{ID: c.ID, VolumeID: volume}, {ID: volume, VolumeID: c.ID}}) + "\n" + snapshotKey(c.ID, place{volume, "12ab"}) + "\n")
		require.Equal(f, &index{
			snapshots: map[string]place{c.ID: {volume, "12ab"}}, connections: map[string][]driver.Connection{volume: {c}},
			luks: map[string]int64{"12ab": 4096}, reverting: []string{volume},
			together: [][]driver.Snapshot{{{ID: c.ID, VolumeID: volume}, {ID: volume, VolumeID: c.ID}}},
		}, x)
		f.Add(connectionKey(c))
	}
	f.Add("snapshot/a/b/c\nluks/1/-1\nluks/1/x\ntogether\ntogether/a\ntogether/a/b\nconnection/a/b/rw/%zz\n////\n")
	f.Fuzz(func(t *testing.T, keys string) {
		for _, list := range parseIndex(keys).connections {
			for _, c := range list {
				require.Contains(t, keys, c.VolumeID)
			}
		}
	})
}

func FuzzMonitors(f *testing.F) {
	f.Add("[v2:[fd00::1]:3300/0,v1:10.0.0.1:6789/0] mon")
	f.Fuzz(func(t *testing.T, hosts string) {
		for _, m := range parseMonitors(hosts) {
			require.NotEmpty(t, m)
		}
	})
}
