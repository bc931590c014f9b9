package objectstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

const day = 24 * time.Hour

// due is the first midnight, UTC, at which something is that many days old, as S3 counts.
func due(from time.Time, days int) time.Time {
	at := from.Add(time.Duration(days) * day)
	if midnight := at.Truncate(day); midnight.Equal(at) {
		return at
	}
	return at.Truncate(day).Add(day)
}

// lifecycle follows the rules of all containers that have some.
func (s *Service) lifecycle(ctx context.Context) error {
	list, err := s.containers.List(s.records.Read(ctx), record.Query{Where: []record.Condition{record.Eq("lifecycle", true)}})
	if err != nil {
		return err
	}
	for i := range list {
		if err := s.followRules(ctx, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// followRules follows the rules of a container.
func (s *Service) followRules(ctx context.Context, c *Container) error {
	rules := slices.DeleteFunc(slices.Clone(c.Lifecycle), func(r LifecycleRule) bool { return r.Disabled })
	if len(rules) == 0 {
		return nil
	}
	path := Path{Account: c.Account, Container: c.Name}
	sp, newer := span{}, objectRow{}
	for {
		// One more than is looked at says whether the last has older versions.
		rows, err := s.versionRange(s.records.Read(ctx), c.ID, sp, manyRows+1)
		if err != nil {
			return err
		}
		n := min(len(rows), manyRows)
		var over []objectRow
		for i := range rows[:n] {
			lone := rows[i].Current && (i+1 == len(rows) || rows[i+1].Name != rows[i].Name)
			if s.over(rules, &rows[i], &newer, lone) {
				over = append(over, rows[i])
			}
			newer = rows[i]
		}
		if err := s.end(ctx, path, over); err != nil {
			return err
		}
		if n == len(rows) {
			break
		}
		sp = span{low: newer.Name, sub: rank(newer.Written), above: true}
	}
	return s.endUploads(ctx, path, c.ID, rules)
}

// over says whether a rule wants a version to end. Newer is what comes before it in the list, and lone says that it is the only
// one of its name.
func (s *Service) over(rules []LifecycleRule, row, newer *objectRow, lone bool) bool {
	now := s.now()
	return slices.ContainsFunc(rules, func(r LifecycleRule) bool {
		switch {
		case !r.concerns(row):
			return false
		case row.DeleteMarker && row.Current:
			return r.DeletedMarkers && lone
		case row.Current:
			return r.Days > 0 && !now.Before(due(row.CreatedAt, r.Days)) || !r.Date.IsZero() && !now.Before(r.Date)
		}
		return r.NoncurrentDays > 0 && newer.Name == row.Name && !now.Before(due(newer.CreatedAt, r.NoncurrentDays))
	})
}

func (r *LifecycleRule) concerns(row *objectRow) bool {
	if !strings.HasPrefix(row.Name, r.Prefix) {
		return false
	}
	for name, value := range r.Tags {
		if have, ok := row.Tags[name]; !ok || have != value {
			return false
		}
	}
	return true
}

// end deletes versions whose time has come, if they are still what they were.
func (s *Service) end(ctx context.Context, path Path, over []objectRow) error {
	if len(over) == 0 {
		return nil
	}
	return s.write(ctx, func(t *txn) error {
		c, err := t.container(path)
		if errors.Is(err, ErrNoContainer) {
			return nil
		} else if err != nil {
			return err
		}
		for i := range over {
			if err := t.end(c, &over[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *txn) end(c *Container, row *objectRow) error {
	now, err := t.current(c.ID, row.Name)
	if err != nil {
		return err
	}
	if row.Current && !row.DeleteMarker {
		if now == nil || now.Written != row.Written {
			return nil
		}
		return t.dispose(c, now)
	}
	older, err := t.s.versions.Get(t.Tx, versionKey(c.ID, row.Name, row.Written))
	if err != nil || row.DeleteMarker && now != nil {
		return forgetGone(err)
	}
	return t.removeVersion(c, older)
}

// endUploads gives uploads up that were begun too long ago.
func (s *Service) endUploads(ctx context.Context, path Path, container string, rules []LifecycleRule) error {
	uploads, err := s.uploads.List(s.records.Read(ctx), record.Query{Where: []record.Condition{record.Eq("container", container)}})
	if err != nil {
		return err
	}
	for i := range uploads {
		u := &uploads[i]
		old := slices.ContainsFunc(rules, func(r LifecycleRule) bool {
			return r.AbortDays > 0 && strings.HasPrefix(u.Name, r.Prefix) && len(r.Tags) == 0 && !s.now().Before(due(u.CreatedAt, r.AbortDays))
		})
		if !old {
			continue
		}
		at := Path{Account: path.Account, Container: path.Container, Object: u.Name}
		if err := s.AbortUpload(ctx, Caller{Admin: true}, at, u.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
