package volume

import (
	"context"
	"errors"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// mostPools is how many pools are tried for a volume, as Cinder's scheduler_max_attempts.
const mostPools = 3

// wanted is what the volume asks of a pool.
func (v *Volume) wanted(t *Type) placement {
	return placement{
		sizeGiB: v.SizeGiB, types: []Type{*t}, zone: v.Zone, encrypted: v.Encrypted, shared: v.Multiattach, volume: v,
		same: v.Hints.SameHost, different: v.Hints.DifferentHost, but: v.Tried,
	}
}

// elsewhere says that another pool would do as well for what is being made: its source is not in this one.
func (v *Volume) elsewhere() bool {
	return v.Task.Kind == TaskCreate && v.SnapshotID == "" && v.SourceVolumeID == "" && v.BackupID == "" && v.GroupID == "" &&
		len(v.Tried)+1 < mostPools
}

// makeElsewhere has a volume made in another pool after this one turned out to be full; where none is left, that is the
// volume's end.
func (a *Agent) makeElsewhere(ctx context.Context, was *Volume, cause error) error {
	s := a.service
	if err := a.remove(ctx, was.key(), was.ID); err != nil {
		return err
	}
	a.measure(ctx)
	moved := false
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.volumes.Get(tx, was.ID)
		if err != nil {
			return err
		}
		if v.Task != was.Task || v.Host != was.Host {
			return errNothing
		}
		moved, err = s.moveOn(tx, v)
		return err
	})
	switch {
	case errors.Is(err, errNothing) || errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case moved:
		a.options.Log.Warn("a volume is made elsewhere", "volume", was.ID, "pool", a.host, "error", cause)
		return nil
	}
	a.options.Log.Error("giving up", "volume", was.ID, "task", was.Task.Kind, "pool", a.host, "error", cause)
	return s.gaveUp(ctx, was, cause)
}

// moveOn gives a volume that is being made to another pool, if there is one.
func (s *Service) moveOn(tx *record.Tx, v *Volume) (moved bool, err error) {
	t, err := s.types.Get(tx, v.TypeID)
	if err != nil {
		return false, err
	}
	v.Tried = append(slices.Clone(v.Tried), v.Host)
	p, err := s.place(tx, v.wanted(t))
	if err != nil || p == nil {
		return false, err
	}
	attachments, err := s.attachmentsOf(tx, v.ID)
	if err != nil {
		return false, err
	}
	for i := range attachments { // it may have been promised to somebody meanwhile
		attachments[i].Host = p.Name
		if err := s.saveAttachment(tx, &attachments[i]); err != nil {
			return false, err
		}
	}
	v.Host, v.Status, v.Progress = p.Name, Creating, 0
	return true, s.saveVolume(tx, v)
}
