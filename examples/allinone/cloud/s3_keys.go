package cloud

import (
	"context"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/kintoun/kintoun/objectstore/swift"
)

// s3Keys are the EC2 credentials that users made with the identity service: who signs with one may do with objects what a
// token of its user for its project may.
type s3Keys struct {
	identity *identity.Service
	swift    *swift.Options
}

var _ s3.Keys = s3Keys{}

func (k s3Keys) Key(ctx context.Context, access string) (s3.Key, error) {
	key, err := k.identity.AccessKey(ctx, access)
	if err != nil {
		return s3.Key{}, err
	}
	return s3.Key{Secret: key.Secret, Caller: k.swift.CallerOf(&key.Caller)}, nil
}
