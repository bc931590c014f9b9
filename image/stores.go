package image

import (
	"context"
	"maps"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Store is a store as users know it.
type Store struct {
	Name string
	// Kind names the technology: see [driver.Store].
	Kind    string
	Default bool
}

// Stores are the stores, by name.
func (s *Service) Stores() []Store {
	var all []Store
	for _, name := range slices.Sorted(maps.Keys(s.stores)) {
		all = append(all, Store{Name: name, Kind: s.stores[name].Kind(), Default: name == s.options.StoreName})
	}
	return all
}

// storeName is the store that is meant: the default where none is named.
func (s *Service) storeName(name string) (string, error) {
	if name == "" {
		return s.options.StoreName, nil
	}
	if s.stores[name] == nil {
		return "", fault.Wrap(ErrInvalid, "there is no store %.80q", name)
	}
	return name, nil
}

// place is where a content is.
type place struct{ store, ref string }

// places are where a content can be read, the one to try first before the others. Stores that are not there any more
// are left out.
func (s *Service) places(d *Data) []place {
	all := []place{{d.Store, d.Ref}}
	for _, store := range slices.Sorted(maps.Keys(d.Copies)) {
		all = append(all, place{store, d.Copies[store]})
	}
	return slices.DeleteFunc(all, func(at place) bool { return s.stores[at.store] == nil })
}

// unused are the places of contents that no image has, of those that an image has just lost in this transaction.
func (s *Service) unused(tx *record.Tx, lost ...*Data) ([]place, error) {
	var free []place
	for _, d := range lost {
		if d == nil {
			continue
		}
		sharers, err := s.images.List(tx, record.Query{Where: []record.Condition{record.Eq(string(ByHashValue), d.HashValue)}})
		if err != nil {
			return nil, err
		}
		for store, ref := range d.refs() {
			shared := slices.ContainsFunc(sharers, func(img Image) bool { return img.Data.refs()[store] == ref })
			if !shared {
				free = append(free, place{store, ref})
			}
		}
	}
	return free, nil
}

// share has a new content use the places of an equal one in the same stores. It returns the places that are not needed
// then.
func (s *Service) share(tx *record.Tx, d *Data) (surplus []place, err error) {
	equals, err := s.images.List(tx, record.Query{Where: []record.Condition{record.Eq(string(ByHashValue), d.HashValue)}})
	if err != nil {
		return nil, err
	}
	d.Copies = maps.Clone(d.Copies)
	for store, ref := range d.refs() {
		for i := range equals {
			have, ok := equals[i].Data.refs()[store]
			if !ok || equals[i].Data.Size != d.Size {
				continue
			}
			if have == ref {
				break
			}
			surplus = append(surplus, place{store, ref})
			if store == d.Store {
				d.Ref = have
			} else {
				d.Copies[store] = have
			}
			break
		}
	}
	return surplus, nil
}

// discard removes contents that nothing names any more. What fails is left to the next start.
func (s *Service) discard(ctx context.Context, places []place) {
	for _, at := range places {
		if s.stores[at.store] == nil {
			continue
		}
		if err := s.stores[at.store].Remove(ctx, at.ref); err != nil {
			s.options.Log.Warn("an image's content stays until the next start", "store", at.store, "ref", at.ref, "error", err)
		}
	}
}

// DeleteFrom takes an image's content from one of the stores that have it. The only one is [ErrForbidden].
func (s *Service) DeleteFrom(ctx context.Context, scope Scope, id, store string) error {
	var unused []place
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.changeable(tx, scope, id)
		switch {
		case err != nil:
			return err
		case s.stores[store] == nil:
			return fault.Wrap(ErrConflict, "The selected store %.40s is not available on this node.", store)
		case img.Data == nil:
			return fault.Wrap(ErrConflict, "It's not allowed to remove image data from store if image status is not 'active'")
		case img.Import != nil && len(img.Import.Refs) > 0:
			return fault.Wrap(ErrConflict, "image %s is being copied", id)
		}
		ref, ok := img.Data.refs()[store]
		if !ok {
			return fault.Wrap(ErrNotFound, "Image %s is not stored in store %s.", id, store)
		}
		if len(img.Data.Copies) == 0 {
			return fault.Wrap(ErrForbidden, "Cannot delete image data from the only store containing it. Consider deleting the image instead.")
		}
		lost := *img.Data
		lost.Store, lost.Ref, lost.Copies = store, ref, nil
		if img.Data.leave(store); img.Import != nil {
			img.Import.Failed = nil
		}
		img.UpdatedAt = s.now()
		if err := s.images.Update(tx, img); err != nil {
			return err
		}
		unused, err = s.unused(tx, &lost)
		return err
	})
	if err == nil {
		s.discard(context.WithoutCancel(ctx), unused)
	}
	return err
}

// leave forgets a store that is not the only one.
func (d *Data) leave(store string) {
	d.Copies = maps.Clone(d.Copies)
	if store == d.Store {
		d.Store = slices.Min(slices.Collect(maps.Keys(d.Copies)))
		d.Ref = d.Copies[d.Store]
	}
	delete(d.Copies, store)
	delete(d.Copies, d.Store)
}

// recover gives up what died with this host's last Service, and removes contents that no image has.
func (s *Service) recover(ctx context.Context) error {
	// A content is recorded before it is put, so one that is listed here and not recorded later was deleted.
	listed := map[string][]string{}
	for name, store := range s.stores {
		refs, err := store.List(ctx)
		if err != nil {
			return err
		}
		listed[name] = refs
	}
	used := map[place]bool{}
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		clear(used)
		all, err := s.images.List(tx, record.Query{})
		if err != nil {
			return err
		}
		for i := range all {
			if err := s.adopt(tx, &all[i], used); err != nil {
				return err
			}
		}
		return s.endTasks(tx)
	})
	if err != nil {
		return err
	}
	for name, refs := range listed {
		for _, ref := range refs {
			if used[place{name, ref}] {
				continue
			}
			s.options.Log.Info("removing a content that no image has", "store", name, "ref", ref)
			if err := s.stores[name].Remove(ctx, ref); err != nil {
				return err
			}
		}
	}
	return s.records.Compact(ctx)
}

// adopt ends what this host had begun with an image, and notes what the image uses then.
func (s *Service) adopt(tx *record.Tx, img *Image, used map[place]bool) error {
	cut := false
	if img.Upload != nil {
		if img.Upload.Host == s.options.Host {
			img.Status, img.Upload, cut = Queued, nil, true
		} else {
			for name := range s.stores {
				used[place{name, img.Upload.Ref}] = true
			}
		}
	}
	if img.Import != nil {
		if begun := img.Import.Host == s.options.Host && len(img.Import.Refs) > 0; begun && s.begun(tx, img.Import.TaskID) {
			img.endImport(img.Import.Stores)
			cut = true
		}
		for store, ref := range img.Import.Refs {
			used[place{store, ref}] = true
		}
	}
	for _, d := range []*Data{img.Data, img.Staged} {
		if d == nil {
			continue
		}
		for store, ref := range d.refs() {
			used[place{store, ref}] = true
		}
	}
	if !cut {
		return nil
	}
	s.options.Log.Info("giving up an upload or import that was cut by a restart", "image", img.ID)
	return s.images.Update(tx, img)
}
