package objectstore

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

const (
	// grace is how long a content that nothing has any more stays at least, for readers who are about to open it; and how often
	// [Service.Run] looks for what is due.
	grace = 5 * time.Second
	// The seldom rounds.
	lifecycleEvery = time.Hour
	repairEvery    = 24 * time.Hour
)

// Run removes what has expired, follows the containers' lifecycle rules, frees the contents that nothing has any more, and first
// of all, and every day, those that killed processes left. Slowly, it has the store check what it keeps. It goes on until ctx
// ends; what fails is logged, and tried again.
func (s *Service) Run(ctx context.Context) error {
	var checking sync.WaitGroup
	defer checking.Wait()
	checking.Go(func() { s.watchForRot(ctx) })
	tick := time.NewTicker(grace)
	defer tick.Stop()
	var rules, repaired time.Time
	s.untidy.Store(true)
	for ctx.Err() == nil {
		now := time.Now()
		s.attempt(ctx, "expired objects", s.expire)
		if now.Sub(rules) >= lifecycleEvery {
			rules = now
			s.untidy.Store(true) // other Services' garbage
			s.attempt(ctx, "lifecycle rules", s.lifecycle)
		}
		if s.untidy.Swap(false) {
			s.attempt(ctx, "freed contents", func(ctx context.Context) error { return s.collect(ctx, grace) })
		}
		if now.Sub(repaired) >= repairEvery {
			repaired = now
			s.attempt(ctx, "leftovers", s.repair)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

func (s *Service) attempt(ctx context.Context, what string, work func(context.Context) error) {
	if err := work(ctx); err != nil && ctx.Err() == nil {
		s.untidy.Store(true)
		s.options.Log.Error("cleaning up failed and is tried again", "what", what, "error", err)
	}
}

// Sweep does once, and now, all that [Service.Run] does.
func (s *Service) Sweep(ctx context.Context) error {
	for _, work := range []func(context.Context) error{s.expire, s.lifecycle, func(ctx context.Context) error { return s.collect(ctx, 0) }, s.repair} {
		if err := work(ctx); err != nil {
			return err
		}
	}
	return nil
}

// expire deletes the objects whose time has come.
func (s *Service) expire(ctx context.Context) error {
	for {
		n, now := 0, s.now()
		due := record.Query{Where: []record.Condition{record.Lt("id", expiryKey(now.Add(1), ""))}, Limit: manyRows}
		if rows, err := s.expiries.List(s.records.Read(ctx), due); err != nil || len(rows) == 0 {
			return err
		}
		err := s.write(ctx, func(t *txn) error {
			rows, err := s.expiries.List(t.Tx, due)
			n = len(rows)
			for i := range rows {
				t.wrote++
				if err := s.expiries.Delete(t.Tx, expiryKey(rows[i].At, rows[i].Object)); err != nil {
					return err
				}
				if err := t.expire(pathOf(rows[i].Object), now); err != nil {
					return err
				}
			}
			return err
		})
		if err != nil || n < manyRows {
			return err
		}
	}
}

func (t *txn) expire(path Path, now time.Time) error {
	c, err := t.container(path)
	if errors.Is(err, ErrNoContainer) {
		return nil
	} else if err != nil {
		return err
	}
	row, err := t.current(c.ID, path.Object)
	if err != nil || !row.expired(now) {
		return err
	}
	return t.dispose(c, row)
}

// dispose deletes what is current because its time has come.
func (t *txn) dispose(c *Container, row *objectRow) error {
	if c.Versioning != "" {
		return t.mark(c, row.Name, row, &Deleted{})
	}
	return t.removeCurrent(c, row)
}

// collect removes the contents that nothing has had for some time.
func (s *Service) collect(ctx context.Context, age time.Duration) error {
	after := ""
	for {
		where := []record.Condition{record.Gt("id", after)}
		rows, err := s.garbage.List(s.records.Read(ctx), record.Query{Where: where, Limit: manyRows})
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].Content
		var refs []string
		for i := range rows {
			g := &rows[i]
			switch {
			case s.now().Sub(g.At) < age, g.Composite && s.pins.has(g.Content):
				s.untidy.Store(true)
			case g.Composite:
				if err := s.takeApart(ctx, g); err != nil {
					return err
				}
				after = "" // its parts are garbage now
			default:
				refs = append(refs, g.Content)
			}
		}
		if err := s.remove(ctx, refs); err != nil {
			return err
		}
	}
}

// takeApart turns the parts of an object that is gone into garbage.
func (s *Service) takeApart(ctx context.Context, g *garbage) error {
	for more := true; more; {
		err := s.write(ctx, func(t *txn) error {
			parts, err := s.partRange(t.Tx, g.Content, 0, manyRows)
			if err != nil {
				return err
			}
			t.wrote++
			for i := range parts {
				if err := t.dropPart(&parts[i]); err != nil {
					return err
				}
			}
			if more = len(parts) == manyRows; more {
				return nil
			}
			return forgetGone(s.garbage.Delete(t.Tx, g.Content))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetGone takes what another Service did meanwhile for done.
func forgetGone(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// remove removes contents, and forgets that they are garbage.
func (s *Service) remove(ctx context.Context, refs []string) error {
	if len(refs) == 0 {
		return nil
	}
	if inStore := slices.DeleteFunc(slices.Clone(refs), isSmall); len(inStore) > 0 {
		if err := s.contents.Remove(ctx, inStore...); err != nil {
			return err
		}
	}
	return s.write(ctx, func(t *txn) error {
		t.wrote++
		for _, ref := range refs {
			if isSmall(ref) {
				if err := forgetGone(s.contained.Delete(t.Tx, ref)); err != nil {
					return err
				}
			}
			if err := forgetGone(s.garbage.Delete(t.Tx, ref)); err != nil {
				return err
			}
		}
		return nil
	})
}

// repair removes contents that nothing knows: those whose upload was cut by the end of a process.
func (s *Service) repair(ctx context.Context) error {
	var refs []string
	for ref, err := range s.contents.List(ctx) {
		if err != nil {
			return err
		}
		if !s.abandoned(ref) {
			continue
		}
		if refs = append(refs, ref); len(refs) == manyRows {
			if err := s.repairSome(ctx, refs); err != nil {
				return err
			}
			refs = refs[:0]
		}
	}
	return s.repairSome(ctx, refs)
}

// abandoned says whether nobody can be about to record the content: it is of an earlier Service of this host, or old.
func (s *Service) abandoned(ref string) bool {
	fields := strings.Split(ref, "-")
	if len(fields) != 4 || fields[1] == s.run {
		return false // of something else, or of this Service
	}
	millis, err := strconv.ParseInt(fields[2], 16, 64)
	if err != nil {
		return false
	}
	return fields[0] == s.host || s.now().Sub(time.UnixMilli(millis)) > s.options.ReclaimAfter
}

func (s *Service) repairSome(ctx context.Context, refs []string) error {
	suspects, err := s.unknown(s.records.Read(ctx), refs)
	if err != nil || len(suspects) == 0 {
		return err
	}
	// What moved from one table to another meanwhile is found in a transaction.
	err = s.write(ctx, func(t *txn) error {
		suspects, err = s.unknown(t.Tx, suspects)
		return err
	})
	if err != nil || len(suspects) == 0 {
		return err
	}
	s.options.Log.Info("removing contents that no object has", "count", len(suspects))
	return s.contents.Remove(ctx, suspects...)
}

// unknown returns the references that no record has.
func (s *Service) unknown(tx *record.Tx, refs []string) ([]string, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	known := map[string]bool{}
	for _, texts := range []struct {
		of     func(*record.Tx, string, ...record.Condition) ([]string, error)
		column string
	}{{s.objects.Texts, "content"}, {s.versions.Texts, "content"}, {s.parts.Texts, "content"}, {s.garbage.Texts, "id"}} {
		found, err := texts.of(tx, texts.column, record.In(texts.column, refs...))
		if err != nil {
			return nil, err
		}
		for _, ref := range found {
			known[ref] = true
		}
	}
	var unknown []string
	for _, ref := range refs {
		if !known[ref] {
			unknown = append(unknown, ref)
		}
	}
	return unknown, nil
}
