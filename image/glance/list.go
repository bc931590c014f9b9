package glance

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// defaultLimit and maxLimit are how many images a page holds, as in Glance.
const (
	defaultLimit = 25
	maxLimit     = 1000
)

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.Wrap(image.ErrInvalid, "malformed query: %s", err)
	}
	f, err := parseFilter(query)
	if err != nil {
		return err
	}
	var images []image.Image
	if f.Limit > 0 {
		if images, err = a.images.List(r.Context(), scope(r), f); err != nil {
			return err
		}
	}
	views := make([]map[string]any, len(images))
	for i := range images {
		views[i] = a.view(r, &images[i])
	}
	body := map[string]any{"images": views, "schema": "/v2/schemas/images"}
	query.Del("marker")
	body["first"] = link(query)
	if n := len(images); n > 0 && n == f.Limit {
		query.Set("marker", images[n-1].ID)
		body["next"] = link(query)
	}
	return wire.JSON(w, http.StatusOK, body)
}

func link(query url.Values) string {
	if len(query) == 0 {
		return "/v2/images"
	}
	return "/v2/images?" + query.Encode()
}

// parseFilter reads the query of a list. What is not known is a property to look for.
func parseFilter(query url.Values) (f image.Filter, err error) {
	f = image.Filter{Limit: defaultLimit, Texts: map[image.Field][]string{}, Numbers: map[image.Field]int64{}, Properties: map[string]string{}}
	if f.Sort, err = parseSort(query); err != nil {
		return f, err
	}
	for name, values := range query {
		if err := filterBy(&f, name, values); err != nil {
			return f, err
		}
	}
	return f, nil
}

func filterBy(f *image.Filter, name string, values []string) (err error) {
	value := values[len(values)-1]
	switch field := image.Field(name); name {
	case "sort", "sort_key", "sort_dir":
	case "limit":
		f.Limit, err = parseLimit(value)
	case "marker":
		f.Marker = value
		if value == "" {
			err = fault.Wrap(image.ErrInvalid, "marker param must not be empty")
		}
	case "id", "name", "status", "disk_format", "container_format":
		f.Texts[field], err = parseChoice(value)
	case "owner", "checksum", "os_hash_value", "os_hash_algo":
		f.Texts[field] = []string{value}
	case "size", "min_disk", "min_ram":
		f.Numbers[field], err = parseNumber(name, value)
	case "size_min":
		f.SizeMin, err = parseBound(name, value)
	case "size_max":
		f.SizeMax, err = parseBound(name, value)
	case "created_at", "updated_at":
		err = filterByTime(f, field, value)
	case "tag":
		for _, tag := range values {
			f.Tags = append(f.Tags, strings.TrimSpace(tag))
		}
	case "os_hidden":
		f.Hidden, err = parseBool(name, value)
	case "protected":
		f.Protected = new(bool)
		*f.Protected, err = parseBool(name, value)
	case "visibility":
		err = filterByVisibility(f, value)
	case "member_status":
		err = filterByMembers(f, value)
	case "changes-since":
		err = fault.Wrap(image.ErrInvalid, `The "changes-since" filter is no longer available on v2.`)
	default:
		f.Properties[name] = value
	}
	return err
}

func filterByVisibility(f *image.Filter, value string) error {
	switch v := image.Visibility(value); v {
	case image.Public, image.Private, image.Shared, image.Community:
		f.Visibility = v
	case "all":
		f.AnyVisibility = true
	default:
		return fault.Wrap(image.ErrInvalid, "Invalid visibility value: %.40s", value)
	}
	return nil
}

func filterByMembers(f *image.Filter, value string) error {
	switch status := image.MemberStatus(value); status {
	case image.Pending, image.Accepted, image.Rejected:
		f.MemberStatus = status
	case "all":
		f.AnyMemberStatus = true
	default:
		return fault.Wrap(image.ErrInvalid, "Invalid status: %.40s", value)
	}
	return nil
}

func parseLimit(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, fault.Wrap(image.ErrInvalid, "limit param must be an integer")
	}
	if n < 0 {
		return 0, fault.Wrap(image.ErrInvalid, "limit param must be positive")
	}
	return min(n, maxLimit), nil
}

func parseNumber(name, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fault.Wrap(image.ErrInvalid, "%s must be an integer: %.40q is not", name, value)
	}
	return n, nil
}

func parseBound(name, value string) (*int64, error) {
	n, err := parseNumber(name, value)
	if err != nil || n < 0 || n == 1<<63-1 {
		return nil, fault.Wrap(image.ErrInvalid, "%s must be a number of bytes: %.40q is not", name, value)
	}
	return &n, nil
}

func parseBool(name, value string) (bool, error) {
	b, err := wire.ParseBool(value)
	if err != nil {
		return false, fault.Wrap(image.ErrInvalid, "%s must be a boolean: %.40q is not", name, value)
	}
	return b, nil
}

// parseChoice reads "value", "eq:value" or "in:value,\"quoted, value\"".
func parseChoice(text string) ([]string, error) {
	if value, ok := strings.CutPrefix(text, "eq:"); ok {
		return []string{value}, nil
	}
	list, ok := strings.CutPrefix(text, "in:")
	if !ok {
		return []string{text}, nil
	}
	bad := fault.Wrap(image.ErrInvalid, "Invalid filter value %.100q: values are separated by commas, and those with a comma are quoted", text)
	values := []string{}
	for {
		var value string
		if quoted, ok := strings.CutPrefix(list, `"`); ok {
			if value, list, ok = strings.Cut(quoted, `"`); !ok {
				return nil, bad
			}
		} else {
			end := strings.IndexByte(list+",", ',')
			if value, list = list[:end], list[end:]; value == "" || strings.Contains(value, `"`) {
				return nil, bad
			}
		}
		values = append(values, value)
		if list == "" {
			return values, nil
		}
		if list, ok = strings.CutPrefix(list, ","); !ok {
			return nil, bad
		}
	}
}

// filterByTime reads "2026-01-31T12:00:00Z" or "gt:2026-01-31T12:00:00Z".
func filterByTime(f *image.Filter, field image.Field, value string) error {
	operator := "eq"
	if before, after, ok := strings.Cut(value, ":"); ok && !strings.ContainsAny(before, "0123456789") {
		operator, value = before, after
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil {
			f.Times = append(f.Times, image.TimeBound{Field: field, Operator: operator, Time: t})
			return nil
		}
	}
	return fault.Wrap(image.ErrInvalid, "%s: %.40q is not a time of ISO 8601", field, value)
}

var sortKeys = []image.Field{
	image.ByName, image.ByStatus, image.ByContainerFormat, image.ByDiskFormat, image.BySize, image.ByID, image.ByCreatedAt, image.ByUpdatedAt,
}

// parseSort reads "sort=name:asc,size" or pairs of sort_key and sort_dir. Nothing said sorts descending.
func parseSort(query url.Values) ([]image.Sort, error) {
	keys, dirs := query["sort_key"], query["sort_dir"]
	if text := query.Get("sort"); text != "" {
		if len(keys)+len(dirs) > 0 {
			return nil, fault.Wrap(image.ErrInvalid, "Old and new sorting syntax cannot be combined")
		}
		for part := range strings.SplitSeq(text, ",") {
			key, dir, _ := strings.Cut(part, ":")
			if strings.TrimSpace(dir) == "" {
				dir = "desc"
			}
			keys, dirs = append(keys, key), append(dirs, dir)
		}
	}
	if len(dirs) > 1 && len(dirs) != len(keys) {
		return nil, fault.Wrap(image.ErrInvalid, "Number of sort dirs does not match the number of sort keys")
	}
	if len(keys) == 0 {
		keys = []string{string(image.ByCreatedAt)}
	}
	sorts := make([]image.Sort, len(keys))
	for i, key := range keys {
		dir := "desc"
		if len(dirs) == 1 {
			dir = dirs[0]
		} else if len(dirs) > 1 {
			dir = dirs[i]
		}
		var err error
		if sorts[i], err = parseSortBy(strings.TrimSpace(key), strings.TrimSpace(dir)); err != nil {
			return nil, err
		}
	}
	return sorts, nil
}

func parseSortBy(key, dir string) (image.Sort, error) {
	if dir != "asc" && dir != "desc" {
		return image.Sort{}, fault.Wrap(image.ErrInvalid, "Invalid sort direction: %.40s", dir)
	}
	for _, known := range sortKeys {
		if string(known) == key {
			return image.Sort{Field: known, Descending: dir == "desc"}, nil
		}
	}
	return image.Sort{}, fault.Wrap(image.ErrInvalid, "Invalid sort key: %.40s. It must be one of the following: name, status, "+
		"container_format, disk_format, size, id, created_at, updated_at.", key)
}
