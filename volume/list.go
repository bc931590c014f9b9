package volume

import "time"

// ListOptions narrow, sort and page a list. The zero value lists the project's own, latest first.
type ListOptions struct {
	// AllProjects lists everybody's; ProjectID those of one project. Both are for admins.
	AllProjects bool
	ProjectID   string
	// Equal compares exactly: keys are OpenStack's, such as "name", "status", "host", "volume_id", "availability_zone".
	// A key that is not known is [ErrInvalid]. Several values, separated by commas, are alternatives for "id" only.
	Equal map[string]string
	// Contains finds texts within values (OpenStack's "name~").
	Contains map[string]string
	// Metadata must all be there with these values.
	Metadata map[string]string
	// Times bound created_at and updated_at.
	Times []TimeBound
	// Sort is what to sort by; "created_at" descending by default.
	Sort          []Sort
	Marker        string
	Offset, Limit int
}

// TimeBound compares the time at Key ("created_at", "updated_at") by Operator ("gt", "gte", "eq", "neq", "lt", "lte").
type TimeBound struct {
	Key, Operator string
	Time          time.Time
}

// Sort is a key to sort by, in OpenStack's words ("display_name", "created_at", …).
type Sort struct {
	Key        string
	Descending bool
}
