package keystone

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// body is the object inside a request: {"project": {…}}. Its fields are read one by one into what they set; fields
// that are not there leave it alone, which is what PATCH means. The first wrong one is the error.
type body struct {
	fields map[string]json.RawMessage
	read   map[string]bool
	err    error
}

func decode(r *http.Request, name string) (*body, error) {
	var outer map[string]json.RawMessage
	if err := wire.Decode(r, &outer); err != nil {
		return nil, err
	}
	b := &body{read: map[string]bool{}}
	inner, found := outer[name]
	if !found {
		return nil, fault.Wrap(identity.ErrInvalid, "Expecting to find %s in request body.", name)
	}
	if err := json.Unmarshal(inner, &b.fields); err != nil || b.fields == nil {
		return nil, fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s': it is not an object", name)
	}
	return b, nil
}

// value decodes a field into v if it is there and not null; it says whether it was there at all.
func (b *body) value(name string, v any, kind string) (there bool) {
	raw, there := b.fields[name]
	b.read[name] = true
	if !there || b.err != nil || isNull(raw) {
		return there
	}
	if err := json.Unmarshal(raw, v); err != nil {
		b.err = fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s': %s is not of type '%s'", name, short(raw), kind)
	}
	return there
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

func short(raw json.RawMessage) string {
	if len(raw) > 64 {
		return string(raw[:64]) + "…"
	}
	return string(raw)
}

// text reads a text; null is not one.
func (b *body) text(name string, v *string) {
	if raw, there := b.fields[name]; there && isNull(raw) && b.err == nil {
		b.err = fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s': None is not of type 'string'", name)
	}
	b.value(name, v, "string")
}

// optional reads a text that may be null, which empties it.
func (b *body) optional(name string, v *string) {
	if raw, there := b.fields[name]; there && isNull(raw) {
		*v = ""
	}
	b.value(name, v, "string")
}

// boolean reads a truth value.
func (b *body) boolean(name string, v *bool) { b.value(name, v, "boolean") }

// enabled reads "enabled" into its opposite.
func (b *body) enabled(disabled *bool) {
	on := !*disabled
	b.boolean("enabled", &on)
	*disabled = !on
}

// time reads a time; null is none.
func (b *body) time(name string, v *time.Time) {
	var text string
	b.value(name, &text, "string")
	if b.err != nil || text == "" {
		return
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05-0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			*v = t.UTC()
			return
		}
	}
	b.err = fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s': %q is not a date and time in ISO 8601", name, short(json.RawMessage(text)))
}

// require refuses a request without the fields.
func (b *body) require(names ...string) {
	for _, name := range names {
		if _, there := b.fields[name]; !there && b.err == nil {
			b.err = fault.Wrap(identity.ErrInvalid, "'%s' is a required property", name)
		}
	}
}

// same refuses an identifier that is not the one in the path.
func (b *body) same(id string) {
	given := id
	b.optional("id", &given)
	if given != id && b.err == nil {
		b.err = fault.Wrap(identity.ErrInvalid, "Cannot change ID")
	}
}

// rest adds the fields that nobody read to extra; null takes one out.
func (b *body) rest(extra map[string]any) map[string]any {
	all := with(extra, nil)
	for name, raw := range b.fields {
		if b.read[name] || name == "links" || name == "id" {
			continue
		}
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			b.err = fault.Wrap(identity.ErrInvalid, "Invalid input for field '%s'", name)
		}
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

const (
	microseconds = "2006-01-02T15:04:05.000000Z"
	noZone       = "2006-01-02T15:04:05.000000"
)

func stamp(t time.Time, layout string) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(layout)
}
