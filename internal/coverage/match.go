package coverage

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/wire"
)

// State is how an operation is answered.
type State string

// The states of an operation.
const (
	Implemented State = "implemented"
	Unsupported State = "unsupported"
	Missing     State = "missing"
)

// Finding is an operation and how it is answered.
type Finding struct {
	Operation
	State State
	// Reason is why it is unsupported.
	Reason string
}

// Report is an API's findings, in the reference's order.
type Report struct {
	*API
	Findings []Finding
	// Beyond are routes that the reference does not list, and with an action's name behind the path, actions.
	Beyond []Operation
}

// Count is how many operations have the state.
func (r *Report) Count(state State) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].State == state {
			n++
		}
	}
	return n
}

// Compare finds for each of the API's operations the routes that answer it.
func Compare(api *API, routes []wire.Route) *Report {
	report := &Report{API: api}
	used := map[string]bool{}
	for _, o := range Distinct(api.Operations) {
		f := Finding{Operation: o, State: Missing}
		for _, r := range candidates(routes, &o) {
			state, reason := state(r, o.Action)
			if state == Missing {
				continue
			}
			used[key(r, o.Action)] = true
			if f.State != Implemented {
				f.State, f.Reason = state, reason
			}
		}
		report.Findings = append(report.Findings, f)
	}
	for i := range routes {
		r := &routes[i]
		for _, action := range actions(r) {
			if !used[key(r, action)] {
				report.Beyond = append(report.Beyond, Operation{Method: r.Method, Path: r.Path, Action: action})
			}
		}
	}
	return report
}

// candidates are the routes that answer requests of the operation's shape: those of the very shape, and if there
// are none those that spell out its parameters, one for each value that they know. The other way round does not
// hold: a route for any name does not tell which names it knows.
func candidates(routes []wire.Route, o *Operation) []*wire.Route {
	var same, spelt []*wire.Route
	for i := range routes {
		r := &routes[i]
		switch {
		case r.Method != o.Method && (o.Method != http.MethodHead || r.Method != http.MethodGet): // ServeMux serves HEAD where it serves GET
		case Shape(r.Path) == Shape(o.Path):
			same = append(same, r)
		case spells(segments(r.Path), segments(o.Path)):
			spelt = append(spelt, r)
		}
	}
	if len(same) > 0 {
		return same
	}
	return spelt
}

func spells(have, want []string) bool {
	if len(have) != len(want) {
		return false
	}
	for i := range want {
		if want[i] != have[i] && !isParameter(want[i]) {
			return false
		}
	}
	return true
}

// actions are the names of a route's actions, and of a route without any the empty one.
func actions(r *wire.Route) []string {
	if len(r.Actions) == 0 {
		return []string{""}
	}
	names := make([]string, len(r.Actions))
	for i := range r.Actions {
		names[i] = r.Actions[i].Name
	}
	return names
}

func key(r *wire.Route, action string) string { return r.Method + " " + r.Path + " " + action }

// state is how the route answers the action, or without one any request.
func state(r *wire.Route, action string) (State, string) {
	reason := r.Unsupported
	if action != "" {
		i := slices.IndexFunc(r.Actions, func(a wire.Action) bool { return a.Name == action })
		if i < 0 {
			return Missing, ""
		}
		reason = r.Actions[i].Unsupported
	}
	if reason != "" {
		return Unsupported, reason
	}
	return Implemented, ""
}

// Shape is the path with its parameters unnamed: "/v2.1/servers/{}".
func Shape(path string) string { return "/" + strings.Join(segments(path), "/") }

func segments(path string) []string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range parts {
		if isParameter(parts[i]) {
			parts[i] = "{}"
		}
	}
	return parts
}

func isParameter(segment string) bool {
	return strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") && segment != "{$}"
}
