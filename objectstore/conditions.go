package objectstore

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// state is what conditions look at: nil for what is not there.
type state struct {
	etag     string
	modified time.Time
}

func (c *Conditions) none() bool {
	return len(c.IfMatch)+len(c.IfNoneMatch) == 0 && c.IfModifiedSince.IsZero() && c.IfUnmodifiedSince.IsZero()
}

// check evaluates the conditions in the order of RFC 9110, section 13.2.2. What fails for a reader who has the content already is
// [ErrNotModified].
func (c *Conditions) check(s *state, reading bool) error {
	if c.none() {
		return nil
	}
	fails := ErrPrecondition
	if reading {
		fails = ErrNotModified
	}
	switch {
	case len(c.IfMatch) > 0 && !s.matches(c.IfMatch):
		return fmt.Errorf("If-Match: %w", ErrPrecondition)
	case len(c.IfMatch) == 0 && !c.IfUnmodifiedSince.IsZero() && s != nil && s.modified.After(c.IfUnmodifiedSince):
		return fmt.Errorf("If-Unmodified-Since: %w", ErrPrecondition)
	case len(c.IfNoneMatch) > 0 && s.matches(c.IfNoneMatch):
		return fmt.Errorf("If-None-Match: %w", fails)
	case len(c.IfNoneMatch) == 0 && !c.IfModifiedSince.IsZero() && s != nil && !s.modified.After(c.IfModifiedSince):
		return fmt.Errorf("If-Modified-Since: %w", fails)
	}
	return nil
}

func (s *state) matches(tags []string) bool {
	return s != nil && slices.ContainsFunc(tags, func(tag string) bool {
		return tag == "*" || strings.Trim(tag, `"`) == s.etag
	})
}

// state is nil for what cannot be read.
func (r *objectRow) state(now time.Time) *state {
	if r == nil || r.expired(now) || r.DeleteMarker {
		return nil
	}
	return &state{etag: r.EntityTag(), modified: r.LastModified()}
}
