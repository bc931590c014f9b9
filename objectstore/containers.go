package objectstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

func (s *Service) findContainer(tx *record.Tx, path Path) (*Container, error) {
	c, err := s.containers.Get(tx, containerID(path.Account, path.Container))
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%.80q: %w", path.Container, ErrNoContainer)
	}
	return c, err
}

// open returns the account and the container, if the caller has the right; account is nil where there is none. [ErrNoContainer]
// is for those who would see a container. For readers who need no rights on the account it is not looked at, and nil.
func (s *Service) open(find finder, caller *Caller, path Path, need right) (*Account, *Container, error) {
	c, missing := find.container(path)
	if missing != nil && !errors.Is(missing, ErrNoContainer) {
		return nil, nil, missing
	}
	if (need == readObject || need == readList) && s.allow(caller, nil, c, path, need) == nil {
		return nil, c, missing
	}
	a, err := find.seekAccount(path.Account)
	if err != nil {
		return nil, nil, err
	}
	if err := s.allow(caller, a, c, path, need); err != nil {
		return nil, nil, err
	}
	return a, c, missing
}

// finder finds records in a transaction, or outside.
type finder interface {
	seekAccount(id string) (*Account, error)
	container(path Path) (*Container, error)
}

// reader is a finder of what is committed.
type reader struct {
	s  *Service
	tx *record.Tx
}

func (s *Service) reading(ctx context.Context) reader { return reader{s, s.records.Read(ctx)} }

func (r reader) seekAccount(id string) (*Account, error) { return r.s.seekAccount(r.tx, id) }
func (r reader) container(path Path) (*Container, error) { return r.s.findContainer(r.tx, path) }

// CreateContainer makes a container, and its account where that is new; change, if not nil, sets it up. A container that exists
// is changed instead, as Swift has it, and created says which.
func (s *Service) CreateContainer(ctx context.Context, caller Caller, path Path, change func(*Settings) error) (c *Container, created bool, err error) {
	if err := s.checkContainer(path); err != nil {
		return nil, false, err
	}
	if err := s.paceAccount(ctx, &caller, path); err != nil {
		return nil, false, err
	}
	var result Container
	err = s.write(ctx, func(t *txn) error {
		a, have, err := s.open(t, &caller, path, changeOwn)
		if created = errors.Is(err, ErrNoContainer); err != nil && !created {
			return err
		}
		if !created {
			result = *have
			return t.changeContainer(&result, change)
		}
		now := s.now()
		result = Container{ID: containerID(path.Account, path.Container), Account: path.Account, Name: path.Container, CreatedAt: now}
		if err := t.apply(&result, change); err != nil {
			return err
		}
		account := Account{ID: path.Account, CreatedAt: now, UpdatedAt: now}
		if a != nil {
			account = *a
		}
		account.Containers++
		t.wrote++
		if a != nil {
			*a = account
			t.counted[a.ID] = true
		} else if err := t.saveAccount(&account, true); err != nil {
			return err
		}
		row := result
		if err := s.containers.Insert(t.Tx, &row); err != nil {
			return err
		}
		result, t.containers[row.ID] = row, &row
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return &result, created, nil
}

// apply lets change alter the settings, and checks them.
func (t *txn) apply(c *Container, change func(*Settings) error) error {
	set := c.Settings
	set.Metadata, set.Documents, set.Lifecycle = maps.Clone(set.Metadata), maps.Clone(set.Documents), slices.Clone(set.Lifecycle)
	if change != nil {
		if err := change(&set); err != nil {
			return err
		}
	}
	if err := t.s.checkSettings(&set); err != nil {
		return err
	}
	if c.Versioning != "" && set.Versioning == "" {
		set.Versioning = VersioningSuspended // what was versioned once stays so
	}
	c.Settings, c.UpdatedAt = set, t.s.now()
	return nil
}

func (t *txn) changeContainer(c *Container, change func(*Settings) error) error {
	if err := t.apply(c, change); err != nil {
		return err
	}
	t.wrote++
	row := *c
	if err := t.s.containers.Update(t.Tx, &row); err != nil {
		return err
	}
	*c = row
	t.containers[c.ID] = &row
	return nil
}

// Container returns a container to who may list it. Those who may not change it do not see its lists and keys.
func (s *Service) Container(ctx context.Context, caller Caller, path Path) (*Container, error) {
	if err := s.checkContainer(path); err != nil {
		return nil, err
	}
	in := s.reading(ctx)
	_, c, err := s.open(in, &caller, path, readList)
	if err != nil {
		return nil, err
	}
	a, err := in.seekAccount(path.Account)
	if err != nil {
		return nil, err
	}
	if s.allow(&caller, a, c, path, changeOwn) != nil {
		c.hideSecrets()
	}
	return c, nil
}

// UpdateContainer lets change alter a container's settings. What change returns is returned, and nothing is recorded. It may be
// called more than once.
func (s *Service) UpdateContainer(ctx context.Context, caller Caller, path Path, change func(*Settings) error) (*Container, error) {
	if err := s.checkContainer(path); err != nil {
		return nil, err
	}
	var result Container
	err := s.write(ctx, func(t *txn) error {
		_, c, err := s.open(t, &caller, path, changeOwn)
		if err != nil {
			return err
		}
		result = *c
		return t.changeContainer(&result, change)
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// DeleteContainer removes a container that has no objects and no versions of any: else [ErrNotEmpty]. Unfinished uploads go with it.
func (s *Service) DeleteContainer(ctx context.Context, caller Caller, path Path) error {
	if err := s.checkContainer(path); err != nil {
		return err
	}
	if err := s.paceAccount(ctx, &caller, path); err != nil {
		return err
	}
	err := s.write(ctx, func(t *txn) error {
		a, c, err := s.open(t, &caller, path, changeOwn)
		if err != nil {
			return err
		}
		older, err := s.versions.List(t.Tx, record.Query{Where: []record.Condition{record.Eq("container", c.ID)}, Limit: 1})
		if err != nil {
			return err
		}
		if c.Objects > 0 || len(older) > 0 {
			return fmt.Errorf("container %.80q: %w", path.Container, ErrNotEmpty)
		}
		if err := t.abortUploads(c); err != nil {
			return err
		}
		t.wrote++
		a.Containers--
		t.counted[a.ID] = true
		delete(t.containers, c.ID)
		delete(t.counted, c.ID)
		return s.containers.Delete(t.Tx, c.ID)
	})
	if err == nil {
		s.recent.forget(containerID(path.Account, path.Container))
	}
	return err
}
