package volume

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/stretchr/testify/require"
)

func (w *workshop) group() *Group {
	w.t.Helper()
	t, err := w.service.CreateGroupType(w.t.Context(), w.admin, TypeCreate{Name: uuid.NewString()})
	require.NoError(w.t, err)
	g, err := w.service.CreateGroup(w.t.Context(), w.demo, GroupSpec{Name: "g", TypeID: t.ID, VolumeTypes: []string{DefaultTypeName}})
	require.NoError(w.t, err)
	require.Equal(w.t, Available, g.Status)
	require.NoError(w.t, w.service.store.Update(w.t.Context(), func(tx *record.Tx) error {
		_, err := w.service.groups.Modify(tx, g.ID, func(g *Group) error { g.Host = w.host("one"); return nil })
		return err
	}))
	return g
}

func (w *workshop) inGroup(g *Group) *Volume {
	w.t.Helper()
	v := w.volume(nil)
	require.NoError(w.t, w.service.UpdateGroup(w.t.Context(), w.demo, g.ID, GroupUpdate{AddVolumes: []string{v.ID}}))
	return v
}

func TestAGroupsSnapshotIsOneMoment(t *testing.T) {
	w := newWorkshop(t)
	g := w.group()
	a, b := w.inGroup(g), w.inGroup(g)
	w.scribble(a.ID, 1, 5)
	w.scribble(b.ID, 2, 5)
	gs, err := w.service.CreateGroupSnapshot(t.Context(), w.demo, GroupSnapshotSpec{GroupID: g.ID, Name: "moment"})
	require.NoError(t, err)
	require.Equal(t, Creating, gs.Status)
	require.ErrorContains(t, w.service.DeleteGroupSnapshot(t.Context(), w.demo, gs.ID), "GroupSnapshot status must be available or error")
	w.faults.Add(inject.Fault{Step: "snapshot apply", Times: 1})
	w.work(t.Context())
	gs, err = w.service.GroupSnapshot(t.Context(), w.demo, gs.ID)
	require.NoError(t, err)
	require.Equal(t, Available, gs.Status)
	w.nothingLeft()
	require.ErrorContains(t, w.service.DeleteGroup(t.Context(), w.demo, g.ID, true), "Group has existing snapshots.")

	copied, err := w.service.CreateGroupFromSource(t.Context(), w.demo, GroupSource{GroupSnapshotID: gs.ID})
	require.NoError(t, err)
	require.Equal(t, Creating, copied.Status)
	w.scribble(a.ID, 3, 5)
	w.work(t.Context())
	copied, err = w.service.Group(t.Context(), w.demo, copied.ID)
	require.NoError(t, err)
	require.Equal(t, Available, copied.Status)
	require.Len(t, copied.VolumeIDs, 2)
	for _, id := range copied.VolumeIDs {
		if v := w.get(id); w.snapshotVolume(v) == b.ID {
			w.same(b.ID, id)
		}
		require.Equal(t, Available, w.get(id).Status)
	}
	w.nothingLeft()
	require.NoError(t, w.service.DeleteGroupSnapshot(t.Context(), w.demo, gs.ID))
	w.work(t.Context())
	for _, id := range []string{g.ID, copied.ID} {
		require.ErrorContains(t, w.service.DeleteGroup(t.Context(), w.demo, id, false), "still contains volumes. The delete-volumes flag is required to delete it.")
		require.NoError(t, w.service.DeleteGroup(t.Context(), w.demo, id, true))
		w.work(t.Context())
		_, err = w.service.Group(t.Context(), w.demo, id)
		require.ErrorIs(t, err, ErrNotFound)
	}
	w.nothingLeft()
	left, err := w.service.volumes.Count(w.tx())
	require.NoError(t, err)
	require.Zero(t, left)
}

func (w *workshop) snapshotVolume(v *Volume) string {
	w.t.Helper()
	p, err := w.service.snapshots.Get(w.tx(), v.SnapshotID)
	require.NoError(w.t, err)
	return p.VolumeID
}

func TestAGroupIsCopiedAsItIsAtOneMoment(t *testing.T) {
	w := newWorkshop(t)
	g := w.group()
	a := w.inGroup(g)
	w.scribble(a.ID, 1, 5)
	for _, step := range []string{"volume apply", "snapshot apply", "snapshot remove"} {
		strike := w.faults.Add(inject.Fault{Step: step, Times: 2})
		copied, err := w.service.CreateGroupFromSource(t.Context(), w.demo, GroupSource{SourceGroupID: g.ID})
		require.NoError(t, err)
		require.ErrorContains(t, w.service.DeleteGroup(t.Context(), w.demo, g.ID, true), "cannot be the source for an ongoing group")
		w.work(t.Context())
		strike()
		copied, err = w.service.Group(t.Context(), w.demo, copied.ID)
		require.NoError(t, err)
		require.Equal(t, Available, copied.Status, step)
		w.same(a.ID, copied.VolumeIDs[0])
		w.nothingLeft()
	}
}

func TestAGroupThatCannotBeCopiedCanBeDeleted(t *testing.T) {
	w := newWorkshop(t)
	g := w.group()
	w.inGroup(g)
	heal := w.faults.Add(inject.Fault{Step: "volume apply", Err: errors.New("no")})
	copied, err := w.service.CreateGroupFromSource(t.Context(), w.demo, GroupSource{SourceGroupID: g.ID})
	require.NoError(t, err)
	w.work(t.Context())
	heal()
	copied, err = w.service.Group(t.Context(), w.demo, copied.ID)
	require.NoError(t, err)
	require.Equal(t, Errored, copied.Status)
	require.NoError(t, w.service.DeleteGroup(t.Context(), w.demo, copied.ID, true))
	w.work(t.Context())
	w.nothingLeft()
}

func TestWhatDoesNotFitIntoAGroupIsRefused(t *testing.T) {
	w := newWorkshop(t)
	g := w.group()
	stranger := w.volume(func(v *Volume) { v.ProjectID = "other" })
	elsewhere := w.volume(nil)
	require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error {
		_, err := w.service.volumes.Modify(tx, elsewhere.ID, func(v *Volume) error { v.Host = w.host("two"); return nil })
		return err
	}))
	busy := w.volume(func(v *Volume) { v.Status = Extending })
	for id, why := range map[string]string{
		stranger.ID: "as they belong to different projects.", elsewhere.ID: "Volume is not local to this node.",
		busy.ID: "because volume is in an invalid state: extending.", uuid.NewString(): "because volume cannot be found.",
	} {
		require.ErrorContains(t, w.service.UpdateGroup(t.Context(), w.demo, g.ID, GroupUpdate{AddVolumes: []string{id}}), why)
	}
	require.ErrorContains(t, w.service.UpdateGroup(t.Context(), w.demo, g.ID, GroupUpdate{RemoveVolumes: []string{busy.ID}}), "because it is not in the group.")
	require.ErrorContains(t, w.service.UpdateGroup(t.Context(), w.demo, g.ID, GroupUpdate{}), "no valid name, description")
	_, err := w.service.CreateGroupFromSource(t.Context(), w.demo, GroupSource{SourceGroupID: g.ID})
	require.ErrorContains(t, err, "Source Group is empty. No group will be created.")
	require.ErrorContains(t, w.service.DeleteGroupType(t.Context(), w.admin, g.TypeID), "Target group type is still in use.")
	require.NoError(t, w.service.DeleteGroup(t.Context(), w.demo, g.ID, false))
	require.NoError(t, w.service.DeleteGroupType(t.Context(), w.admin, g.TypeID))
}
