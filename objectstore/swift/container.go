package swift

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

func (a *api) headContainer(q *request) error {
	if a.isWeb(q) {
		if served, err := a.webContainer(q); served || err != nil {
			return err
		}
	}
	kind, err := listingType(q)
	if err != nil {
		return err
	}
	container, err := a.store.Container(q.Context(), q.caller, q.path)
	if err != nil {
		return err
	}
	q.containerHeaders(container)
	q.w.Header().Set("Content-Type", kind+"; charset=utf-8")
	return q.empty(http.StatusNoContent)
}

func (a *api) getContainer(q *request) error {
	if a.isWeb(q) {
		if served, err := a.webContainer(q); served || err != nil {
			return err
		}
	}
	kind, err := listingType(q)
	if err != nil {
		return err
	}
	page, err := q.page(a.limits().ContainerListingLimit)
	if err != nil {
		return err
	}
	container, err := a.store.Container(q.Context(), q.caller, q.path)
	if err != nil {
		return err
	}
	var list objectstore.ObjectList
	if q.query.Has("versions") {
		kind = "application/json"
	}
	switch {
	case page.Limit == 0:
	case q.query.Has("versions"):
		list, err = a.versions(q, page)
	case q.query.Has("path"):
		list, err = a.directory(q, page)
	default:
		list, err = a.store.Objects(q.Context(), q.caller, q.path, page)
	}
	if err != nil {
		return err
	}
	q.containerHeaders(container)
	return q.listing(kind, func(l *lister) {
		l.begin("container", q.path.Container)
		for i := range list.Entries {
			l.object(q, &list.Entries[i])
		}
	})
}

// containerHeaders tells what a container has.
func (q *request) containerHeaders(c *objectstore.Container) {
	h := q.w.Header()
	setMetadata(h, "Container", c.Metadata)
	number := func(name string, n int64) { h.Set(name, strconv.FormatInt(n, 10)) }
	number("X-Container-Object-Count", c.Objects)
	number("X-Container-Bytes-Used", c.Bytes+c.VersionBytes)
	if c.QuotaBytes != nil {
		number("X-Container-Meta-Quota-Bytes", *c.QuotaBytes)
	}
	if c.QuotaObjects != nil {
		number("X-Container-Meta-Quota-Count", *c.QuotaObjects)
	}
	text := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	text("X-Versions-Location", escapePath(c.VersionsLocation))
	text("X-History-Location", escapePath(c.HistoryLocation))
	switch c.Versioning {
	case objectstore.VersioningEnabled:
		h.Set("X-Versions-Enabled", "True")
	case objectstore.VersioningSuspended:
		h.Set("X-Versions-Enabled", "False")
	}
	// Whom these do not concern, the domain does not give them to.
	text("X-Container-Read", c.Read)
	text("X-Container-Write", c.Write)
	text("X-Container-Sync-To", c.SyncTo)
	text("X-Container-Sync-Key", c.SyncKey)
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Storage-Policy", policy)
	h.Set("X-Timestamp", timestamp(c.CreatedAt))
	h.Set("Last-Modified", lastModified(c.UpdatedAt))
}

func (a *api) putContainer(q *request) error {
	if q.query.Has("extract-archive") {
		return a.extract(q)
	}
	if most := a.limits().MaxContainerNameLength; len(q.path.Container) > most {
		return refuse(http.StatusBadRequest, "Container name length of %d longer than %d", len(q.path.Container), most)
	}
	if wanted := q.Header.Get("X-Storage-Policy"); wanted != "" && !strings.EqualFold(wanted, policy) {
		return refuse(http.StatusBadRequest, "Invalid X-Storage-Policy %q", wanted)
	}
	change, err := a.containerChange(q)
	if err != nil {
		return err
	}
	_, created, err := a.store.CreateContainer(q.Context(), q.caller, q.path, change)
	if err != nil {
		return err
	}
	if created {
		return q.done(http.StatusCreated)
	}
	return q.done(http.StatusAccepted)
}

func (a *api) postContainer(q *request) error {
	switch {
	case isForm(q):
		return a.formPost(q)
	case q.query.Has("bulk-delete"):
		return a.bulkDelete(q)
	}
	change, err := a.containerChange(q)
	if err != nil {
		return err
	}
	if _, err := a.store.UpdateContainer(q.Context(), q.caller, q.path, change); err != nil {
		return err
	}
	return q.empty(http.StatusNoContent)
}

func (a *api) deleteContainer(q *request) error {
	if q.query.Has("bulk-delete") {
		return a.bulkDelete(q)
	}
	if err := a.store.DeleteContainer(q.Context(), q.caller, q.path); err != nil {
		return err
	}
	return q.empty(http.StatusNoContent)
}

// containerChange is what the request's headers do to the container.
func (a *api) containerChange(q *request) (func(*objectstore.Settings) error, error) {
	pairs := metadata(q.Header, "container")
	if err := checkMetadata(pairs, "Container", a.limits()); err != nil {
		return nil, err
	}
	var quotas [2]**int64
	for i, name := range []string{"bytes", "count"} {
		text, given := pairs.take("quota-" + name)
		if !given {
			continue
		}
		quota, err := parseQuota(text)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "Invalid %s quota.", name)
		}
		quotas[i] = &quota
	}
	return func(s *objectstore.Settings) error {
		s.Metadata = pairs.apply(s.Metadata)
		if quotas[0] != nil {
			s.QuotaBytes = *quotas[0]
		}
		if quotas[1] != nil {
			s.QuotaObjects = *quotas[1]
		}
		if err := q.changeAccess(s); err != nil {
			return err
		}
		if err := q.changeVersioning(s); err != nil {
			return err
		}
		return checkMetadata(s.Metadata, "Container", a.limits())
	}, nil
}

// header is what a header sets a setting to; it is not given where the setting stays.
func (q *request) header(name string) (value string, given bool) {
	if values, ok := q.Header[name]; ok {
		return values[0], true
	}
	_, remove := q.Header["X-Remove-"+name[2:]]
	return "", remove
}

// changeAccess changes who may do what.
func (q *request) changeAccess(s *objectstore.Settings) error {
	for name, to := range map[string]*string{"X-Container-Read": &s.Read, "X-Container-Write": &s.Write} {
		value, given := q.header(name)
		if !given {
			continue
		}
		list, err := objectstore.ParseACL(value, name == "X-Container-Write")
		if err != nil {
			return err
		}
		*to = list
	}
	for name, to := range map[string]*string{"X-Container-Sync-To": &s.SyncTo, "X-Container-Sync-Key": &s.SyncKey} {
		if value, given := q.header(name); given {
			*to = value
		}
	}
	return nil
}

// changeVersioning changes what happens to objects that are overwritten or deleted.
func (q *request) changeVersioning(s *objectstore.Settings) error {
	location, locationGiven := q.header("X-Versions-Location")
	history, historyGiven := q.header("X-History-Location")
	if mode, given := q.header("X-Versions-Mode"); given && locationGiven {
		switch mode {
		case "history":
			location, history, historyGiven = "", location, true
		case "", "stack":
		default:
			return refuse(http.StatusBadRequest, "X-Versions-Mode must be one of history, stack")
		}
	}
	if location != "" && history != "" {
		return refuse(http.StatusBadRequest, "Only one of X-History-Location or X-Versions-Location may be specified")
	}
	for _, l := range []struct {
		text      string
		given     bool
		to, other *string
	}{{location, locationGiven, &s.VersionsLocation, &s.HistoryLocation}, {history, historyGiven, &s.HistoryLocation, &s.VersionsLocation}} {
		if !l.given {
			continue
		}
		name := strings.TrimSuffix(unescape(l.text), "/")
		if strings.Contains(name, "/") {
			return refuse(http.StatusPreconditionFailed, "Container name cannot contain slashes")
		}
		*l.to = name
		if name != "" {
			*l.other = ""
		}
	}
	if text, given := q.header("X-Versions-Enabled"); given {
		switch {
		case s.VersionsLocation != "" || s.HistoryLocation != "":
			return refuse(http.StatusBadRequest, "Cannot enable object versioning on a container that is already using the legacy versioned writes feature.")
		case truth(text):
			s.Versioning = objectstore.VersioningEnabled
		case s.Versioning != "":
			s.Versioning = objectstore.VersioningSuspended
		}
	} else if (locationGiven && location != "" || historyGiven && history != "") && s.Versioning == objectstore.VersioningEnabled {
		return refuse(http.StatusBadRequest, "Cannot enable legacy versioned writes on a container that is already using object versioning.")
	}
	return nil
}
