package objectstore

import (
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// Known are the contents that records have.
func (s *Service) Known(ctx context.Context) ([]string, error) {
	tx := s.records.Read(ctx)
	var known []string
	for _, table := range []interface {
		Texts(*record.Tx, string, ...record.Condition) ([]string, error)
	}{s.objects, s.versions, s.parts} {
		refs, err := table.Texts(tx, "content")
		if err != nil {
			return nil, err
		}
		known = append(known, refs...)
	}
	// Objects in parts have those parts' contents.
	known = slices.DeleteFunc(known, func(ref string) bool { return !slices.Contains([]byte(ref), '-') })
	slices.Sort(known)
	return slices.Compact(known), nil
}

// Left are how many records the account's life leaves behind.
func (s *Service) Left(ctx context.Context) (int, error) {
	tx, left := s.records.Read(ctx), 0
	for _, table := range []interface {
		Count(*record.Tx, ...record.Condition) (int, error)
	}{s.accounts, s.containers, s.objects, s.versions, s.uploads, s.parts, s.garbage} {
		n, err := table.Count(tx)
		if err != nil {
			return 0, err
		}
		left += n
	}
	return left, nil
}
