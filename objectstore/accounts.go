package objectstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

func (s *Service) findAccount(tx *record.Tx, id string) (*Account, error) {
	a, err := s.accounts.Get(tx, id)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%.80q: %w", id, ErrNoAccount)
	}
	return a, err
}

// seekAccount is findAccount that returns nil where there is none.
func (s *Service) seekAccount(tx *record.Tx, id string) (*Account, error) {
	a, err := s.findAccount(tx, id)
	if errors.Is(err, ErrNoAccount) {
		return nil, nil
	}
	return a, err
}

// Account returns an account to who may see it. Nothing needs to have been made: an owner's account that nobody wrote to is
// empty.
func (s *Service) Account(ctx context.Context, caller Caller, id string) (*Account, error) {
	if err := s.checkAccount(id); err != nil {
		return nil, err
	}
	a, err := s.seekAccount(s.records.Read(ctx), id)
	if err != nil {
		return nil, err
	}
	if err := s.allow(&caller, a, nil, Path{Account: id}, readAccount); err != nil {
		return nil, err
	}
	if a == nil {
		return &Account{ID: id}, nil
	}
	if s.allow(&caller, a, nil, Path{Account: id}, ownAccount) != nil {
		a.Keys, a.Access = [2]string{}, ""
	}
	return a, nil
}

// UpdateAccount lets change alter an account's metadata, keys, rights and quotas, which only an admin changes. What change
// returns is returned, and nothing is recorded. It may be called more than once. The account is made if there is none.
func (s *Service) UpdateAccount(ctx context.Context, caller Caller, id string, change func(*Account) error) (*Account, error) {
	if err := s.checkAccount(id); err != nil {
		return nil, err
	}
	var result Account
	err := s.write(ctx, func(t *txn) error {
		have, err := t.seekAccount(id)
		if err != nil {
			return err
		}
		if err := s.allow(&caller, have, nil, Path{Account: id}, ownAccount); err != nil {
			return err
		}
		next := Account{ID: id, CreatedAt: s.now()}
		if have != nil {
			next = *have
			next.Metadata = maps.Clone(have.Metadata)
		}
		before := next
		if err := change(&next); err != nil {
			return err
		}
		if !caller.Admin && (!same(before.QuotaBytes, next.QuotaBytes) || !same(before.QuotaObjects, next.QuotaObjects)) {
			return fault.Wrap(ErrForbidden, "account %s: only an administrator sets quotas", id)
		}
		before.Metadata, before.Keys, before.Access = next.Metadata, next.Keys, next.Access
		before.QuotaBytes, before.QuotaObjects = next.QuotaBytes, next.QuotaObjects
		next, next.UpdatedAt = before, s.now() // the rest is not for others to change
		if err := errors.Join(s.checkMetadata(next.Metadata), checkAccess(next.Access), checkQuota(next.QuotaBytes, next.QuotaObjects),
			s.checkPairs("account keys and access", map[string]string{next.Keys[0]: next.Keys[1], "access": next.Access})); err != nil {
			return err
		}
		result = next
		return t.saveAccount(&result, have == nil)
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

func same(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// seekAccount returns the account, or nil.
func (t *txn) seekAccount(id string) (*Account, error) {
	a, err := t.account(id)
	if errors.Is(err, ErrNoAccount) {
		return nil, nil
	}
	return a, err
}

func (t *txn) saveAccount(a *Account, fresh bool) error {
	t.wrote++
	row := *a
	save := t.s.accounts.Update
	if fresh {
		save = t.s.accounts.Insert
	}
	if err := save(t.Tx, &row); err != nil {
		return err
	}
	*a = row
	t.accounts[a.ID] = &row
	return nil
}

// DeleteAccount removes an account with everything in it, which only an admin may.
func (s *Service) DeleteAccount(ctx context.Context, caller Caller, id string) error {
	if err := s.checkAccount(id); err != nil {
		return err
	}
	if !caller.Admin {
		return s.allow(&Caller{UserID: "not an administrator"}, nil, nil, Path{Account: id}, ownAccount)
	}
	if _, err := s.findAccount(s.records.Read(ctx), id); err != nil {
		return err
	}
	for {
		page, err := s.Containers(ctx, caller, id, Listing{Limit: 100})
		if err != nil {
			return err
		}
		for _, entry := range page.Entries {
			if err := s.emptyContainer(ctx, entry.Container); err != nil {
				return err
			}
			path := Path{Account: id, Container: entry.Container.Name}
			if err := s.DeleteContainer(ctx, caller, path); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNotEmpty) {
				return err
			}
		}
		if len(page.Entries) == 0 {
			break
		}
	}
	return s.write(ctx, func(t *txn) error {
		a, err := t.account(id)
		if err != nil {
			return err
		}
		if a.Containers > 0 {
			return fmt.Errorf("account %s: %w", id, ErrNotEmpty)
		}
		t.wrote++
		delete(t.accounts, id)
		delete(t.counted, id)
		return s.accounts.Delete(t.Tx, id)
	})
}

// manyRows is how many records one transaction of a long piece of work changes.
const manyRows = 200

// emptyContainer removes all objects of a container, older versions among them.
func (s *Service) emptyContainer(ctx context.Context, c *Container) error {
	path := Path{Account: c.Account, Container: c.Name}
	for more := true; more; {
		err := s.write(ctx, func(t *txn) error {
			c, err := t.container(path)
			if err != nil {
				return err
			}
			rows, err := s.objectRange(t.Tx, c.ID, span{}, manyRows)
			if err != nil {
				return err
			}
			older, err := s.versions.List(t.Tx, record.Query{Where: []record.Condition{record.Eq("container", c.ID)}, Limit: manyRows})
			if err != nil {
				return err
			}
			for i := range rows {
				if err := t.removeCurrent(c, &rows[i]); err != nil {
					return err
				}
			}
			for i := range older {
				if err := t.removeVersion(c, &older[i]); err != nil {
					return err
				}
			}
			more = len(rows)+len(older) > 0
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Containers lists an account's containers by name.
func (s *Service) Containers(ctx context.Context, caller Caller, account string, l Listing) (ContainerList, error) {
	if err := s.checkAccount(account); err != nil {
		return ContainerList{}, err
	}
	if err := l.check(); err != nil {
		return ContainerList{}, err
	}
	tx := s.records.Read(ctx)
	a, err := s.seekAccount(tx, account)
	if err != nil {
		return ContainerList{}, err
	}
	if err := s.allow(&caller, a, nil, Path{Account: account}, readAccount); err != nil {
		return ContainerList{}, err
	}
	full := s.allow(&caller, a, nil, Path{Account: account}, changeOwn) == nil
	l.Limit = limitOf(l.Limit, s.options.AccountListingLimit)
	found, truncated, err := walk(l, "",
		func(sp span, n int) ([]Container, error) { return scan(s.containers, tx, account, sp, n) },
		func(c *Container) (string, string) { return c.Name, "" })
	if err != nil {
		return ContainerList{}, err
	}
	list := ContainerList{Truncated: truncated, Entries: make([]ContainerEntry, len(found))}
	for i, f := range found {
		if f.row != nil && !full {
			f.row.hideSecrets()
		}
		list.Entries[i] = ContainerEntry{Container: f.row, Prefix: f.prefix}
	}
	return list, nil
}

// secrets are metadata that only who may change the container sees.
var secrets = []string{"temp-url-key", "temp-url-key-2"}

func (c *Container) hideSecrets() {
	c.Read, c.Write, c.SyncTo, c.SyncKey, c.Documents = "", "", "", "", nil
	maps.DeleteFunc(c.Metadata, func(name, _ string) bool { return slices.Contains(secrets, name) })
}
