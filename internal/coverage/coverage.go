// Package coverage compares the routes that the wire packages serve with the OpenStack API reference's operations,
// and writes what it finds as Markdown: docs/api-coverage.md in full, and a short table in README.md.
//
//	make generate
//
// writes both; a test of the command [github.com/kintoun/kintoun/examples/allinone/apicoverage] fails when either is stale.
//
// An operation is a method and a path of the reference, and for POST …/action the action's name. It is
// [Implemented] when a route serves it, [Unsupported] when the route or the action says that it only answers so
// (501, see [wire.Route.Unsupported]), and [Missing] otherwise. What a route does is told by its wire package's
// tests, not here.
//
// The operations are data, in operations/: facts that the command extract collected from the sources of the API
// reference, of which each file names the repository and the commit. There are no globals and no state; every
// function may be called concurrently.
package coverage

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed operations/*.json
var files embed.FS

// API is one service's API as its reference lists it.
type API struct {
	// Service is the service's type in the catalogue: "compute".
	Service string `json:"service"`
	// Name is the API's: "Compute API v2.1 (Nova)".
	Name string `json:"name"`
	// Source is where the operations come from: a repository and its commit, or a document.
	Source string `json:"source"`
	// Note says what was left out, or is particular; may be empty.
	Note       string      `json:"note,omitempty"`
	Operations []Operation `json:"operations"`
}

// Operation is one entry of the reference.
type Operation struct {
	Method string `json:"method"`
	// Path begins with the API's version and names its parameters: "/v2.1/servers/{server_id}".
	Path string `json:"path"`
	// Action is what the body of a POST …/action names; otherwise empty.
	Action string `json:"action,omitempty"`
}

// Resource is the kind of thing that the operation is about: the path's first part behind the version.
func (o *Operation) Resource() string {
	parts := strings.Split(strings.Trim(o.Path, "/"), "/")
	if len(parts) > 1 && len(parts[0]) > 1 && parts[0][0] == 'v' {
		parts = parts[1:]
	}
	if len(parts) > 1 && strings.HasPrefix(parts[0], "{") {
		parts = parts[1:] // the project that the Block Storage API's paths begin with
	}
	switch name := strings.TrimSuffix(parts[0], ".json"); {
	case name == "", strings.HasPrefix(name, "{"), name[0] == 'v' && len(name) < 5:
		return "versions"
	default:
		return name
	}
}

// Load returns the API whose operations are kept under the name, the file's without its ending.
func Load(name string) (*API, error) {
	data, err := files.ReadFile(path.Join("operations", name+".json"))
	if err != nil {
		return nil, fmt.Errorf("operations of %q: %w", name, err)
	}
	var api API
	if err := json.Unmarshal(data, &api); err != nil {
		return nil, fmt.Errorf("operations of %q: %w", name, err)
	}
	return &api, nil
}

// Key tells operations apart: two with one key are one, though the reference has a section for each use of it.
func (o *Operation) Key() string { return o.Method + " " + Shape(o.Path) + " " + o.Action }

// Distinct keeps the first of the operations with the same key.
func Distinct(all []Operation) []Operation {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(all), func(o Operation) bool {
		again := seen[o.Key()]
		seen[o.Key()] = true
		return again
	})
}
