package objectstore

import (
	"context"
	"time"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/objectstore/driver"
)

// checkEvery is how long a store is left in peace after all its contents were read.
const checkEvery = 24 * time.Hour

// watchForRot has a store that can compare what it keeps with what it was given, see [driver.Checker], do so again and again.
// What is damaged is logged: nobody else has the bytes.
func (s *Service) watchForRot(ctx context.Context) {
	checker, able := s.contents.(driver.Checker)
	if !able || s.options.CheckRate < 0 {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkEvery):
			s.attempt(ctx, "damaged contents", func(ctx context.Context) error { return s.check(ctx, checker) })
		}
	}
}

func (s *Service) check(ctx context.Context, checker driver.Checker) error {
	for ref, err := range checker.Check(ctx, s.options.CheckRate) {
		if err != nil {
			return err
		}
		objects, err := s.having(ctx, ref)
		if err != nil {
			return err
		}
		s.options.Log.Error("a content is damaged: put its objects back from a copy", "content", ref, "objects", objects)
	}
	return nil
}

// having are the keys of the objects, current and older ones, that have the content.
func (s *Service) having(ctx context.Context, ref string) (keys []string, err error) {
	tx, has := s.records.Read(ctx), record.Eq("content", ref)
	for _, texts := range []func(*record.Tx, string, ...record.Condition) ([]string, error){s.objects.Texts, s.versions.Texts, s.parts.Texts} {
		some, err := texts(tx, "id", has)
		if err != nil {
			return nil, err
		}
		keys = append(keys, some...)
	}
	return keys, nil
}
