package s3objects

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/probe"
	"github.com/minio/minio-go/v7"
)

// Probe says what is missing for a store in the bucket, as a [probe.Missing]; nil if nothing. It puts, lists, reads and removes a
// content of its own.
func Probe(ctx context.Context, service, bucket string, options *Options) error {
	s, err := New(service, bucket, options)
	if err != nil {
		return err
	}
	if err := s.try(ctx, "probe-"+uuid.NewString()); err != nil {
		return &probe.Missing{What: "bucket " + bucket + " at " + service, Why: "the contents of objects", How: "create the bucket, and let these credentials put, get, list and delete objects and uploads in it", Err: err}
	}
	return nil
}

func (s *Store) try(ctx context.Context, ref string) error {
	if _, err := s.Put(ctx, ref, strings.NewReader("probe"), 5); err != nil {
		return err
	}
	r, err := s.Open(ctx, ref, 1, 3)
	if err == nil {
		err = r.Close()
	}
	listed := false
	for object := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.key(ref)}) {
		err = errors.Join(err, object.Err)
		listed = object.Key == s.key(ref)
	}
	if err == nil && !listed {
		err = fmt.Errorf("the bucket does not list what was put: %q", s.key(ref))
	}
	return errors.Join(err, s.Remove(ctx, ref))
}
