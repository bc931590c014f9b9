package nova

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
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
func (c *call) scope() compute.Scope {
	return compute.Scope{
		ProjectID: c.caller.ProjectID, UserID: c.caller.UserID, Admin: c.caller.IsAdmin(), Roles: c.caller.RoleNames(),
		RequestID: c.ResponseWriter.Header().Get("X-Openstack-Request-Id"),
	}
}

// at says whether the request's microversion is at least 2.minor.
func (c *call) at(minor int) bool { return c.minor >= minor }

func (c *call) json(status int, v any) error { return wire.JSON(c.ResponseWriter, status, v) }

func (c *call) empty(status int) error {
	c.WriteHeader(status)
	return nil
}

// body reads the request's JSON, checks it and decodes it into v.
func (c *call) body(s *wire.Schema, v any) error {
	return wire.DecodeChecked(c.Request, s, c.legacy, v)
}

// page reads limit and marker.
func (c *call) page() (limit int, marker string, err error) {
	query := c.URL.Query()
	limit = c.api.options.MaxLimit
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, "", fault.Wrap(compute.ErrInvalid, "Invalid input for query parameters limit. Value: %s. '%s' does not match '^[0-9]*$'", text, text)
		}
		limit = min(limit, n)
		if n == 0 {
			limit = c.api.options.MaxLimit
		}
	}
	return limit, query.Get("marker"), nil
}

// next is the link to the page behind the one that ends with marker, nil where a page was not full.
func (c *call) next(shown, limit int, marker string) []object {
	if shown < limit || shown == 0 {
		return nil
	}
	query := c.URL.Query()
	query.Set("marker", marker)
	return []object{{"rel": "next", "href": baseURL(c.Request) + c.URL.Path + "?" + query.Encode()}}
}

// links are an object's two addresses.
func (c *call) links(collection, id string) []object {
	base := baseURL(c.Request)
	return []object{
		{"rel": "self", "href": base + "/v2.1/" + collection + "/" + url.PathEscape(id)},
		{"rel": "bookmark", "href": base + "/" + collection + "/" + url.PathEscape(id)},
	}
}

func (c *call) bookmark(collection, id string) []object { return c.links(collection, id)[1:] }

// onlyQuery refuses query parameters that are not known, as microversions since 2.75 do.
func (c *call) onlyQuery(known ...string) error {
	if !c.at(75) {
		return nil
	}
	for key := range c.URL.Query() {
		if !slices.Contains(known, key) {
			return fault.Wrap(compute.ErrInvalid, "Additional properties are not allowed ('%s' was unexpected)", key)
		}
	}
	return nil
}

// isotime is a time as Nova shows it in most places; precise is the form with microseconds of the others.
func isotime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func precise(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }

func preciseOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return precise(*t)
}

// nilIfEmpty is for what the API shows as null.
func nilIfEmpty(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// text is a string that clients may send as a number.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = text(s)
		return nil
	}
	*t = text(data)
	return nil
}

func instant(s string) (*time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return &t, nil
		}
	}
	return nil, fault.Wrap(compute.ErrInvalid, "Invalid input for query parameters. Value: %s. '%s' is not a 'date-time'", s, s)
}
