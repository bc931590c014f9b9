package volume

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Type is a kind of volume that users choose.
type Type struct {
	ID, Name, Description string
	Public                bool
	// Specs say which pools can have volumes of the type, and how they are made there.
	Specs map[string]string
	// Projects may use a type that is not public.
	Projects []string
	// QoSID is what limits its volumes; empty for nothing.
	QoSID string
	// Encryption is how its volumes are encrypted; nil is not.
	Encryption           *TypeEncryption
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// TypeEncryption is how volumes of a type are encrypted.
type TypeEncryption struct {
	ID       string
	Provider string
	// ControlLocation is "front-end" (where the volume is used) or "back-end".
	ControlLocation      string
	Cipher               string
	KeySize              int
	CreatedAt, UpdatedAt time.Time
}

var typeSpec = record.Spec[Type]{
	Key:      func(t *Type) string { return t.ID },
	Revision: func(t *Type) *int64 { return &t.Revision },
	Event:    func(*Type) record.Event { return record.Event{Type: "volume_type"} },
	Claims:   func(t *Type) []record.Claim { return []record.Claim{{Space: "type", Value: t.Name}} },
	Columns: []record.Column[Type]{
		{Name: "name", Value: func(t *Type) any { return t.Name }},
		{Name: "public", Value: func(t *Type) any { return t.Public }},
		{Name: "qos", Value: func(t *Type) any { return optional(t.QoSID) }},
		{Name: "created", Value: func(t *Type) any { return t.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(t *Type) any { return t.UpdatedAt.UnixMicro() }},
	},
}

// DefaultTypeName is the type of volumes whose makers name none; [New] makes it.
const DefaultTypeName = "__DEFAULT__"

// TypeCreate is a type to make.
type TypeCreate struct {
	Name, Description string
	Private           bool
	Specs             map[string]string
}

// TypeUpdate changes what is not nil.
type TypeUpdate struct {
	Name, Description *string
	Public            *bool
}

// TypeFilter narrows a list of types.
type TypeFilter struct {
	// Public is nil for both (admins only sees those that are private and not theirs).
	Public *bool
	Name   string
	// Specs must all be there with these values.
	Specs  map[string]string
	Sort   []Sort
	Marker string
	Offset int
	Limit  int
}
