//go:build linux

package rbdvolume_test

import (
	"io/fs"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// at runs commands on a namespace of the pool, as its operator does.
type at struct {
	t     testing.TB
	c     *sharedCluster
	place string // POOL/NAMESPACE/
}

// rbd runs one whose words that begin with "/" are images of the namespace.
func (a at) rbd(args ...string) string {
	a.t.Helper()
	for i, arg := range args {
		if arg[0] == '/' {
			args[i] = a.place + arg
		}
	}
	out, err := a.c.Run(a.t.Context(), "rbd", args...)
	require.NoError(a.t, err)
	return out
}

// TestSnapshotsOfAnOperator adopts an image with the snapshots that somebody made of it, and one that somebody made of a volume.
func TestSnapshotsOfAnOperator(t *testing.T) {
	c, o := cluster(t)
	d, op := open(t, o), at{t, c, c.pool + "/" + o.Namespace}
	ctx, v := t.Context(), uuid.NewString()
	op.rbd("create", "/theirs", "--size", "1M")
	op.rbd("snap", "create", "/theirs@monday", "--no-progress")
	require.NoError(t, d.Adopt(ctx, "theirs", v))
	op.rbd("snap", "create", "/volume-"+v+"@tuesday", "--no-progress")
	op.rbd("snap", "protect", "/volume-"+v+"@tuesday")
	all, err := d.UnmanagedSnapshots(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []driver.UnmanagedSnapshot{
		{Unmanaged: driver.Unmanaged{Name: "monday", Bytes: 1 << 20, Safe: true}, VolumeID: v},
		{Unmanaged: driver.Unmanaged{Name: "tuesday", Bytes: 1 << 20, Reason: "it is protected from removal (rbd snap unprotect)"}, VolumeID: v},
	}, all)
	tuesday := driver.Snapshot{ID: uuid.NewString(), VolumeID: v}
	require.ErrorIs(t, d.AdoptSnapshot(ctx, "tuesday", tuesday), fs.ErrInvalid)
	op.rbd("snap", "unprotect", "/volume-"+v+"@tuesday")
	require.NoError(t, d.AdoptSnapshot(ctx, "tuesday", tuesday))

	// Monday's stays when the volume goes, and Tuesday's with it.
	require.NoError(t, d.Remove(ctx, v))
	d = open(t, o)
	all, err = d.UnmanagedSnapshots(ctx)
	require.NoError(t, err)
	require.Equal(t, []driver.UnmanagedSnapshot{{Unmanaged: driver.Unmanaged{Name: "monday", Bytes: 1 << 20, Safe: true}, VolumeID: v}}, all)
	monday := driver.Snapshot{ID: uuid.NewString(), VolumeID: v}
	require.NoError(t, d.AdoptSnapshot(ctx, "monday", monday))
	require.ErrorIs(t, d.AdoptSnapshot(ctx, "snapshot-"+monday.ID, tuesday), fs.ErrInvalid, "its own")
	require.NoError(t, d.RemoveSnapshot(ctx, monday.ID))
	require.NoError(t, d.RemoveSnapshot(ctx, tuesday.ID))
	require.JSONEq(t, "[]", op.rbd("ls", op.place, "--format", "json"), "the image has gone with its last snapshot")
}

// TestANewDriverMendsAMoment leaves what a killed call leaves that takes snapshots of several volumes: before they exist, and after.
func TestANewDriverMendsAMoment(t *testing.T) {
	c, o := cluster(t)
	d, op := open(t, o), at{t, c, c.pool + "/" + o.Namespace}
	ctx := t.Context()
	a, b := driver.Snapshot{ID: uuid.NewString(), VolumeID: uuid.NewString()}, driver.Snapshot{ID: uuid.NewString(), VolumeID: uuid.NewString()}
	group := "/moment-" + a.ID
	op.rbd("group", "create", group)
	for _, s := range []driver.Snapshot{a, b} {
		require.NoError(t, d.Apply(ctx, driver.Volume{ID: s.VolumeID, Bytes: 1 << 20}))
		op.rbd("group", "image", "add", group, "/volume-"+s.VolumeID)
		op.rbd("snap", "create", "/volume-"+s.VolumeID+"@copy-"+s.ID, "--no-progress")
	}
	op.rbd("group", "snap", "create", group+"@moment")
	clone := func(s driver.Snapshot) {
		op.rbd("clone", "/volume-"+s.VolumeID+"@copy-"+s.ID, "/making-"+s.ID, "--rbd-default-clone-format", "2")
	}
	clone(a)
	d = open(t, o)
	volumes := []driver.Observed{{Kind: driver.KindVolume, ID: a.VolumeID, Bytes: 1 << 20}, {Kind: driver.KindVolume, ID: b.VolumeID, Bytes: 1 << 20}}
	all, err := d.List(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, volumes, all)
	require.JSONEq(t, "[]", op.rbd("group", "ls", op.place, "--format", "json"))
	require.JSONEq(t, "[]", op.rbd("snap", "ls", "--all", "/volume-"+a.VolumeID, "--format", "json"))

	for _, s := range []driver.Snapshot{a, b} {
		op.rbd("snap", "create", "/volume-"+s.VolumeID+"@copy-"+s.ID, "--no-progress")
		clone(s)
	}
	_, err = c.Run(ctx, "rados", "--pool", c.pool, "--namespace", o.Namespace, "setomapval", "kintoun.index", "together/"+a.ID+"/"+a.VolumeID+"/"+b.ID+"/"+b.VolumeID, "")
	require.NoError(t, err)
	for range 2 {
		d = open(t, o)
		all, err = d.List(ctx)
		require.NoError(t, err)
		require.ElementsMatch(t, append(volumes,
			driver.Observed{Kind: driver.KindSnapshot, ID: a.ID, VolumeID: a.VolumeID, Bytes: 1 << 20},
			driver.Observed{Kind: driver.KindSnapshot, ID: b.ID, VolumeID: b.VolumeID, Bytes: 1 << 20}), all)
	}
	require.NoError(t, d.RemoveSnapshot(ctx, a.ID))
	require.NoError(t, d.ApplySnapshots(ctx, b))
	require.NoError(t, d.RemoveSnapshot(ctx, b.ID))
	require.JSONEq(t, `["volume-`+min(a.VolumeID, b.VolumeID)+`","volume-`+max(a.VolumeID, b.VolumeID)+`"]`, op.rbd("ls", op.place, "--format", "json"))
}
