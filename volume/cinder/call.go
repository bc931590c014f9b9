package cinder

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// call is one request being served.
type call struct {
	http.ResponseWriter
	*http.Request
	negotiated
	api    *api
	caller *identity.Caller
}

// scope is in whose name the request acts.
func (c *call) scope() volume.Scope {
	return volume.Scope{
		ProjectID: c.caller.ProjectID, UserID: c.caller.UserID, Admin: c.caller.IsAdmin(), Roles: c.caller.RoleNames(),
		RequestID: c.ResponseWriter.Header().Get("X-Openstack-Request-Id"),
	}
}

func (c *call) admin() bool { return c.caller.IsAdmin() }

// trusted says that the caller may know hosts and credentials: an operator, or another service.
func (c *call) trusted() bool { return c.admin() || c.caller.HasRole("service") }

// at says whether the request's microversion is at least 3.minor.
func (c *call) at(minor int) bool { return c.minor >= minor }

func (c *call) id() string { return c.PathValue("id") }

func (c *call) json(status int, v any) error { return wire.JSON(c.ResponseWriter, status, v) }

func (c *call) empty(status int) error {
	c.WriteHeader(status)
	return nil
}

// accepted ends a call that has nothing to tell but that it failed.
func (c *call) accepted(err error) error {
	if err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

// body reads the request's JSON, checks it and decodes it into v.
func (c *call) body(s *schema, v any) error { return wire.DecodeChecked(c.Request, s, false, v) }

// flag reads a truth value of the query; what is none is false, as Cinder has it.
func (c *call) flag(name string) bool {
	v, err := wire.ParseBool(c.URL.Query().Get(name))
	return err == nil && v
}

// links are an object's two addresses, in the form of the request's own.
func (c *call) links(collection, id string) []object {
	path := "/" + collection + "/" + url.PathEscape(id)
	if c.project != "" {
		path = "/" + c.project + path
	}
	base := baseURL(c.Request)
	return []object{{"rel": "self", "href": base + root + path}, {"rel": "bookmark", "href": base + path}}
}

// timestamp is a time as Cinder shows it.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }

// moment is a time that may not have come yet.
func moment(t *time.Time) any {
	if t == nil || t.IsZero() {
		return nil
	}
	return timestamp(*t)
}

// nilIfEmpty is for what the API shows as null.
func nilIfEmpty(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// pairs is a map that is shown even if it is empty.
func pairs(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// action is one kind of POST …/action: serve gets an argument that its schema has checked.
type action struct {
	schema func(c *call) *schema
	serve  func(c *call, argument json.RawMessage) error
	// since is the microversion that has it, policy the rule that lets only admins pass.
	since  int
	policy string
	// unsupported is why it cannot be done here.
	unsupported string
}

// perform does the action that the body names.
func (c *call) perform(actions map[string]action) error {
	name, argument, err := c.actionBody()
	if err != nil {
		return err
	}
	do, ok := actions[name]
	switch {
	case !ok || c.minor < do.since:
		return fault.Wrap(volume.ErrInvalid, "There is no such action: %s", name)
	case do.policy != "" && !c.admin():
		return forbidden(do.policy)
	case do.unsupported != "":
		return fault.Wrap(volume.ErrUnsupported, "%s", do.unsupported)
	}
	if do.schema != nil {
		var value any
		decoder := json.NewDecoder(bytes.NewReader(argument))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			return fault.Wrap(volume.ErrInvalid, "Malformed request body")
		}
		if err := wrap(name, do.schema(c)).Validate(map[string]any{name: value}, false); err != nil {
			return err
		}
	}
	return do.serve(c, argument)
}

// actionBody reads a body with exactly one property, the action's name.
func (c *call) actionBody() (name string, argument json.RawMessage, err error) {
	data, err := io.ReadAll(c.Body)
	if err != nil {
		return "", nil, err
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(data, &body) != nil || len(body) == 0 {
		return "", nil, fault.Wrap(volume.ErrInvalid, "Malformed request body")
	}
	if len(body) != 1 {
		return "", nil, fault.Wrap(volume.ErrInvalid, "Additional properties are not allowed: the body names more than one action")
	}
	for name, argument = range body {
	}
	return name, argument, nil
}

// plain is an action whose argument says nothing.
func plain(do func(c *call) error) action {
	return action{serve: func(c *call, _ json.RawMessage) error { return c.accepted(do(c)) }}
}

// with is an action whose argument is a T.
func with[T any](schema func(c *call) *schema, do func(c *call, argument *T) error) action {
	return action{schema: schema, serve: func(c *call, argument json.RawMessage) error {
		var v T
		if err := json.Unmarshal(argument, &v); err != nil {
			return fault.Wrap(volume.ErrInvalid, "Malformed request body: %s", err)
		}
		return do(c, &v)
	}}
}

// instant reads a time as clients write it.
func instant(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fault.Wrap(volume.ErrInvalid, "Invalid %s value", s)
}

// natural reads a number of the query that is not negative.
func natural(query url.Values, name string, missing int) (int, error) {
	given := query.Get(name)
	if !query.Has(name) {
		return missing, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(given))
	switch {
	case err != nil:
		return 0, fault.Wrap(volume.ErrInvalid, "%s param must be an integer", name)
	case n < 0:
		return 0, fault.Wrap(volume.ErrInvalid, "%s param must be positive", name)
	case n > maxInt:
		return 0, fault.Wrap(volume.ErrInvalid, "%s param must be at most %d", name, maxInt)
	}
	return n, nil
}
