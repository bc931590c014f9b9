package s3store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/probe"
)

// Probe says what is missing for a store in the bucket, as a [probe.Missing]; nil if nothing. It puts, lists, reads and removes a
// content of its own.
func Probe(ctx context.Context, service, bucket string, options *Options) error {
	s, err := New(service, bucket, options)
	if err != nil {
		return err
	}
	if err := s.try(ctx, "probe-"+uuid.NewString()); err != nil {
		return &probe.Missing{What: "bucket " + bucket + " at " + service, Why: "the contents of images", How: "create the bucket, and let these credentials put, get, list and delete objects and uploads in it", Err: err}
	}
	return nil
}

func (s *Store) try(ctx context.Context, ref string) error {
	if _, err := s.Put(ctx, ref, strings.NewReader("probe")); err != nil {
		return err
	}
	f, err := s.Open(ctx, ref)
	if err == nil {
		err = errors.Join(readSome(f), f.Close())
	}
	if listed, listErr := s.List(ctx); listErr != nil {
		err = errors.Join(err, listErr)
	} else if !slices.Contains(listed, ref) {
		err = errors.Join(err, fmt.Errorf("the bucket does not list what was put: %q", s.key(ref)))
	}
	return errors.Join(err, s.Remove(ctx, ref))
}

func readSome(f driver.File) error {
	got := make([]byte, 3)
	if _, err := f.ReadAt(got, 1); err != nil {
		return err
	}
	if string(got) != "rob" {
		return fmt.Errorf("the bucket returns %q for %q", got, "rob")
	}
	return nil
}
