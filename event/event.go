// Package event is the form in which a cloud tells what happens to its resources: one [Event] for every creation,
// change of state or content, and deletion, from each of its domains.
//
// Every domain's Service is a [Source]: it counts its own changes from 1 upwards and yields the events after any of
// them, first those that it has recorded, then each as it happens. [Sources] puts several domains' events into one
// sequence, and a [Position] says how far each domain was read, so that a reader can go on where it stopped, in another
// process too. [Filter] picks events out.
//
//	cloud := event.Sources{"compute": servers, "network": networks}
//	position := event.Position{"network": 0} // from the beginning; cloud.Last says where the end is
//	for e, err := range cloud.Watch(ctx, position) {
//		position.Advance(e)
//		fmt.Println(e.Type, e.ID, e.Action, e.Status)
//	}
//
// # What is promised
//
// Events are written in the same database transaction as the change that they tell of: there is one if and only if the
// change was made, whichever process made it. A domain's events come in the order of its changes; events of different
// domains have no order among each other. An event tells that something changed, and names it; whoever wants to know
// what it is like now asks the domain's API. An event may tell of a change that can not be seen there, and a resource's
// last event may come twice.
//
// A domain keeps its last 10,000 changes. Whoever comes back later than that gets a [*CompactedError], which says where
// to go on: look at everything once, then watch from there.
//
// # What it is not
//
// It is no audit log (it does not say who changed what, and it forgets) and no queue (readers keep their own
// positions). Packages event/sse and event/webhook carry events over HTTP.
//
// # What it needs, errors, concurrency
//
// This package needs nothing but the standard library. Errors of a Watch are the Source's, a [*CompactedError] found
// with errors.As, or the context's; a Watch ends with its first. Values are plain; a Sources map may be used
// concurrently by goroutines that do not change it. A process that is killed goes on from the last Position that it
// kept.
package event

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Action is what happened to a resource.
type Action string

// The actions.
const (
	Created Action = "created"
	Updated Action = "updated"
	Deleted Action = "deleted"
)

// Event is something that happened to one resource.
type Event struct {
	// Seq orders the events of a domain. It grows, with gaps.
	Seq int64 `json:"seq"`
	// Domain is the package whose resource it is: "identity", "image", "compute", "network", "lbaas".
	Domain string `json:"domain"`
	// Type is the kind of resource in OpenStack's words: "server", "port", "floatingip", "pool".
	Type string `json:"type"`
	// ID is the resource's identifier in its API. What has several is named by all, with slashes between:
	// a keypair by its user and name.
	ID     string `json:"id"`
	Action Action `json:"action"`
	// ProjectID is the project that the resource belongs to; empty for what belongs to none, such as users, flavors
	// and agents.
	ProjectID string `json:"project_id,omitempty"`
	// Status is the resource's status after the change, in its API's words ("ACTIVE"); empty for what has none. A
	// deletion has the last one.
	Status string `json:"status,omitempty"`
	// Time is when the change was made, in UTC, to the microsecond, by the clock of the process that made it.
	Time time.Time `json:"time"`
}

// ErrCompacted says that some of the events asked for are not kept any more. It comes as a [*CompactedError].
var ErrCompacted = errors.New("events are not kept any more")

// CompactedError says which events are gone, also in JSON. A reader looks at everything in the domain, and goes on with the events
// after Last: what changes meanwhile comes again, and nothing is missed.
type CompactedError struct {
	// Domain is whose events they were.
	Domain string `json:"domain"`
	// After is the number from which events were asked for.
	After int64 `json:"after"`
	// Last is the domain's newest number when the error was made.
	Last int64 `json:"last"`
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("%s events after %d are not kept any more; go on after %d", e.Domain, e.After, e.Last)
}

// Is says that the error is [ErrCompacted].
func (e *CompactedError) Is(target error) bool { return target == ErrCompacted }

// Filter picks events. Each list that is not empty must have the event's value; the zero Filter takes all events.
type Filter struct {
	Domains, Types, ProjectIDs, IDs []string
}

// Match says whether the filter takes the event.
func (f Filter) Match(e Event) bool {
	has := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	return has(f.Domains, e.Domain) && has(f.Types, e.Type) && has(f.ProjectIDs, e.ProjectID) && has(f.IDs, e.ID)
}
