package objectstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

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

// Fill adds n empty objects, a thousand in each folder.
func (s *Service) Fill(tb testing.TB, account, container string, n int) {
	path := Path{Account: account, Container: container}
	for i := 0; i < n; {
		err := s.write(tb.Context(), func(t *txn) error {
			c, err := t.container(path)
			for range min(5000, n-i) {
				row := objectRow{Object: Object{Name: fmt.Sprintf("%04d/%08d", i/1000, i), ETag: emptyMD5, ObjectInfo: ObjectInfo{ContentType: "text/plain"}}}
				err = errors.Join(err, t.place(c, &row, nil))
				i++
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// NewPacer keeps the limits of the options, which have no defaults here.
func NewPacer(o *Options) *pacer { return newPacer(o) }

// Wait is a request's.
func (p *pacer) Wait(ctx context.Context, key string, perSecond float64) error {
	return p.wait(ctx, key, perSecond)
}

// Limiters is how many are kept.
func (p *pacer) Limiters() int { return len(p.limiters) }

// RateOf is the limit of a container of that many objects.
func RateOf(rates []SizeRate, objects int64) float64 { return rateOf(rates, objects) }
