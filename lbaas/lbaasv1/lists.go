package lbaasv1

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// object is a resource as it is rendered.
type object = map[string]any

// pick leaves of an object what ?fields= asks for.
func pick(o object, fields []string) object {
	if len(fields) == 0 {
		return o
	}
	picked := object{}
	for _, f := range fields {
		if v, ok := o[f]; ok {
			picked[f] = v
		}
	}
	return picked
}

// listing is what a request for a list asks for.
type listing struct {
	query   lbaas.Query
	fields  []string
	reverse bool
}

// parseListing reads the parameters that all of Neutron's lists take; what is none of them filters.
func parseListing(values url.Values) (listing, error) {
	l := listing{query: lbaas.Query{Filters: map[string][]string{}}}
	for name, given := range values {
		switch name {
		case "fields":
			l.fields = slices.DeleteFunc(slices.Clone(given), func(f string) bool { return f == "" })
		case "limit", "marker", "page_reverse", "sort_key", "sort_dir", "verbose":
		default:
			if given = slices.DeleteFunc(slices.Clone(given), func(v string) bool { return v == "" }); len(given) > 0 {
				l.query.Filters[name] = given
			}
		}
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return l, fault.Wrap(fault.ErrInvalid, "Limit must be an integer 0 or greater and not '%s'", text)
		}
		l.query.Limit = n
	}
	l.query.Marker = values.Get("marker")
	if text := values.Get("page_reverse"); text != "" {
		reverse, err := wire.ParseBool(text)
		if err != nil {
			return l, fault.Wrap(fault.ErrInvalid, "Invalid input for page_reverse. Reason: %s.", err)
		}
		l.reverse = reverse
	}
	return l, l.parseSort(values["sort_key"], values["sort_dir"])
}

func (l *listing) parseSort(keys, directions []string) error {
	if len(directions) > 0 && len(keys) != len(directions) {
		return fault.Wrap(fault.ErrInvalid, "The number of sort_keys and sort_dirs must be same")
	}
	for i, key := range keys {
		descending := false
		if len(directions) > 0 {
			switch directions[i] {
			case "asc":
			case "desc":
				descending = true
			default:
				return fault.Wrap(fault.ErrInvalid, "Invalid value for sort_dir. Reason: '%s' is not in ['asc', 'desc'].", directions[i])
			}
		}
		l.query.Sort = append(l.query.Sort, lbaas.Sort{Field: key, Descending: descending})
	}
	if !l.reverse {
		return nil
	}
	if !slices.ContainsFunc(l.query.Sort, func(s lbaas.Sort) bool { return s.Field == "id" }) {
		l.query.Sort = append(l.query.Sort, lbaas.Sort{Field: "id"})
	}
	for i := range l.query.Sort {
		l.query.Sort[i].Descending = !l.query.Sort[i].Descending
	}
	return nil
}

// answer writes a list, with links to the pages beside it where pages were asked for.
func (l *listing) answer(w http.ResponseWriter, r *http.Request, collection string, objects []object) error {
	if l.reverse {
		slices.Reverse(objects)
	}
	body := object{}
	if limit := l.query.Limit; limit > 0 && len(objects) > 0 {
		var links []object
		if len(objects) == limit || l.reverse {
			links = append(links, l.link(r, "next", objects[len(objects)-1], false))
		}
		if l.query.Marker != "" && !l.reverse || l.reverse && len(objects) == limit {
			links = append(links, l.link(r, "previous", objects[0], true))
		}
		if len(links) > 0 {
			body[collection+"_links"] = links
		}
	}
	picked := make([]object, len(objects))
	for i, o := range objects {
		picked[i] = pick(o, l.fields)
	}
	body[collection] = picked
	return wire.JSON(w, http.StatusOK, body)
}

func (l *listing) link(r *http.Request, rel string, marker object, reverse bool) object {
	values := r.URL.Query()
	values.Set("marker", marker["id"].(string))
	values.Del("page_reverse")
	if reverse {
		values.Set("page_reverse", "True")
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	u := url.URL{Scheme: scheme, Host: r.Host, Path: strings.TrimSuffix(r.URL.Path, "/"), RawQuery: values.Encode()}
	return object{"rel": rel, "href": u.String()}
}

// serveList lists resources and renders them.
func serveList[T any](w http.ResponseWriter, r *http.Request, collection string, list func(lbaas.Query) ([]T, error), render func(*T) object) error {
	l, err := parseListing(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := list(l.query)
	if err != nil {
		return err
	}
	objects := make([]object, len(found))
	for i := range found {
		objects[i] = render(&found[i])
	}
	return l.answer(w, r, collection, objects)
}

// serveOne answers with one resource.
func serveOne[T any](w http.ResponseWriter, r *http.Request, status int, resource string, found *T, err error, render func(*T) object) error {
	if err != nil {
		return err
	}
	return wire.JSON(w, status, object{resource: pick(render(found), r.URL.Query()["fields"])})
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// orNull renders no text as null.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
