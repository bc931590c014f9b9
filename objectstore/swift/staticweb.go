package swift

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// web is how a container shows itself to browsers (https://docs.openstack.org/swift/latest/middleware.html#static-web).
type web struct {
	a                               *api
	q                               *request
	index, errorPage, css, dir, lbl string
	listings, listed                bool
}

// isWeb says whether a request is one for a web page: by nobody in particular, or by who says so.
func (a *api) isWeb(q *request) bool {
	return (q.Method == http.MethodGet || q.Method == http.MethodHead) && q.temp == nil &&
		(!q.known || truth(q.Header.Get("X-Web-Mode")))
}

// web reads the settings; nil for a container that shows none.
func (a *api) web(q *request) *web {
	path := q.path
	path.Object = ""
	c, err := a.store.Container(q.Context(), operator(), path)
	if err != nil {
		return nil
	}
	setting := func(name string) string { return strings.TrimSpace(c.Metadata["web-"+name]) }
	w := &web{
		a: a, q: q, index: setting("index"), errorPage: setting("error"), css: setting("listings-css"),
		dir: setting("directory-type"), lbl: setting("listings-label"),
		listings: truth(setting("listings")), listed: setting("listings") != "",
	}
	if w.dir == "" {
		w.dir = "application/directory"
	}
	return w
}

// active says whether the container is a site at all.
func (w *web) active() bool { return w != nil && (w.index != "" || w.listed) }

// webContainer serves a container as a site; served is false where it is none.
func (a *api) webContainer(q *request) (served bool, err error) {
	w := a.web(q)
	if !w.active() {
		if truth(q.Header.Get("X-Web-Mode")) && w != nil {
			return true, status(http.StatusNotFound)
		}
		return false, nil
	}
	if !strings.HasSuffix(q.URL.Path, "/") {
		return true, w.withSlash()
	}
	if w.index != "" {
		if served, err := w.page(w.index); served || err != nil {
			return true, err
		}
	}
	return true, w.list("")
}

// webObject serves an object, or the index or the list of what is below its name.
func (a *api) webObject(q *request) error {
	reader, err := a.open(q, q.path)
	if err != nil && !errors.Is(err, objectstore.ErrNotFound) {
		if f := translate(err, q.known); f.status != http.StatusUnauthorized && f.status != http.StatusForbidden {
			return err
		}
		return a.web(q).fail(err)
	}
	if err == nil && reader.Size > 1 {
		return a.send(q, reader)
	}
	w := a.web(q)
	if err == nil && (w == nil || reader.ContentType != w.dir) {
		return a.send(q, reader)
	}
	if !w.active() {
		if err == nil {
			return a.send(q, reader)
		}
		return w.fail(err)
	}
	if w.index != "" {
		if served, err := w.below(w.index); served || err != nil {
			return err
		}
	}
	return w.directory()
}

// below serves the index below the object's name.
func (w *web) below(index string) (served bool, err error) {
	name := strings.TrimRight(w.q.path.Object, "/") + "/" + index
	if strings.HasSuffix(w.q.path.Object, "/") {
		return w.page(w.q.path.Object + index)
	}
	path := w.q.path
	path.Object = name
	if _, err := w.a.store.Open(w.q.Context(), w.q.caller, path, objectstore.OpenSpec{}); err != nil {
		return false, nil //nolint:nilerr // then there is no index
	}
	return true, w.withSlash()
}

// directory lists what is below the object's name.
func (w *web) directory() error {
	name := w.q.path.Object
	if strings.HasSuffix(name, "/") {
		return w.list(name)
	}
	list, err := w.a.store.Objects(w.q.Context(), w.q.caller, w.q.path, objectstore.Listing{Prefix: name + "/", Delimiter: "/", Limit: 1})
	if err != nil || len(list.Entries) == 0 {
		return w.fail(status(http.StatusNotFound))
	}
	return w.withSlash()
}

// page serves an object of the container, if it is there.
func (w *web) page(name string) (served bool, err error) {
	path := w.q.path
	path.Object = name
	reader, err := w.a.open(w.q, path)
	if errors.Is(err, objectstore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return true, w.fail(err)
	}
	return true, w.a.send(w.q, reader)
}

func (w *web) withSlash() error {
	to := escapePath(w.q.URL.Path + "/")
	w.q.w.Header().Set("Location", w.a.publicURL(w.q.Request)+to)
	return w.q.done(http.StatusMovedPermanently)
}

// fail answers with the site's own page for the error: 404error.html, where error.html is set.
func (w *web) fail(err error) error {
	if w == nil || w.errorPage == "" {
		return err
	}
	f := translate(err, w.q.known)
	path := w.q.path
	path.Object = fmt.Sprintf("%d%s", f.status, w.errorPage)
	reader, missing := w.a.store.Open(w.q.Context(), w.q.caller, path, objectstore.OpenSpec{})
	if missing != nil {
		return err
	}
	h := w.q.w.Header()
	if f.status == http.StatusUnauthorized {
		w.a.challenge(h, w.q.Request)
	}
	w.a.objectHeaders(w.q, reader)
	if w.q.Method == http.MethodHead {
		w.q.start(f.status)
		return nil
	}
	body, err := reader.Range(w.q.Context(), 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	w.q.begin(f.status)
	n, err := copyBody(w.q.w, body)
	return w.a.sent(w.q, n, err, reader.Size)
}

// list shows what is in the container, or in a directory of it.
func (w *web) list(prefix string) error {
	if !w.listings {
		return w.disabled(prefix)
	}
	list, err := w.a.store.Objects(w.q.Context(), w.q.caller, w.q.path, objectstore.Listing{Prefix: prefix, Delimiter: "/"})
	if err != nil {
		return w.fail(err)
	}
	if prefix != "" && len(list.Entries) == 0 {
		return w.fail(status(http.StatusNotFound))
	}
	var b strings.Builder
	w.head(&b, prefix)
	b.WriteString("  <h1 id=\"title\">Listing of " + html.EscapeString(w.label()) + "</h1>\n  <table id=\"listing\">\n" +
		"   <tr id=\"heading\"><th class=\"colname\">Name</th><th class=\"colsize\">Size</th><th class=\"coldate\">Date</th></tr>\n")
	if prefix != "" {
		b.WriteString(webRow("parent", "../", "../", "&nbsp;", "&nbsp;"))
	}
	for _, e := range list.Entries {
		if e.Object == nil {
			name := e.Prefix[len(prefix):]
			b.WriteString(webRow("subdir", "./"+webLink(name), name, "&nbsp;", "&nbsp;"))
		}
	}
	for _, e := range list.Entries {
		if e.Object != nil {
			name := e.Name[len(prefix):]
			class := "type-" + strings.ReplaceAll(strings.ToLower(e.ContentType), "/", " type-")
			b.WriteString(webRow(class, "./"+webLink(name), name, humanSize(e.Length()), e.ChangedAt.UTC().Format("2006-01-02 15:04:05")))
		}
	}
	b.WriteString("  </table>\n </body>\n</html>\n")
	w.q.w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	return w.q.body(http.StatusOK, []byte(b.String()))
}

// webLink is a name as a relative link: without dots, which would climb.
func webLink(name string) string { return strings.ReplaceAll(escapePath(name), ".", "%2E") }

func webRow(class, link, name, size, date string) string {
	return `   <tr class="item ` + html.EscapeString(class) + `"><td class="colname"><a href="` + link + `">` + html.EscapeString(name) +
		`</a></td><td class="colsize">` + size + `</td><td class="coldate">` + date + "</td></tr>\n"
}

// label is what the list is of.
func (w *web) label() string {
	if w.lbl == "" {
		return w.q.URL.Path
	}
	return w.lbl + "/" + w.q.path.Object
}

// head writes how the page looks.
func (w *web) head(b *strings.Builder, prefix string) {
	b.WriteString("<!DOCTYPE html>\n<html>\n <head>\n  <title>Listing of " + html.EscapeString(w.label()) + "</title>\n")
	switch {
	case w.css == "":
		b.WriteString("  <style type=\"text/css\">\n   h1 {font-size: 1em; font-weight: bold;}\n   th {text-align: left;}\n" +
			"   th, td {padding: 0px 1em 0px 1em;}\n   a {text-decoration: none;}\n  </style>\n")
	case strings.HasPrefix(w.css, "/"), strings.HasPrefix(w.css, "http://"), strings.HasPrefix(w.css, "https://"):
		b.WriteString(`  <link rel="stylesheet" type="text/css" href="` + html.EscapeString(w.css) + `" />` + "\n")
	default:
		up := strings.Repeat("../", strings.Count(prefix, "/"))
		b.WriteString(`  <link rel="stylesheet" type="text/css" href="` + up + escapePath(w.css) + `" />` + "\n")
	}
	b.WriteString(" </head>\n <body>\n")
}

// disabled says that the owner does not want the list to be seen.
func (w *web) disabled(prefix string) error {
	var b strings.Builder
	w.head(&b, prefix)
	b.WriteString("  <h1>Web Listing Disabled</h1>\n  <p>The owner of this web site has disabled web listing.</p>\n" +
		"  <p>If you are the owner of this web site, you can enable web listing by setting X-Container-Meta-Web-Listings.</p>\n")
	if w.index != "" {
		b.WriteString("  <h1>Index File Not Found</h1>\n  <p>The file " + html.EscapeString(w.index) + " of X-Container-Meta-Web-Index is not there.</p>\n")
	}
	b.WriteString(" </body>\n</html>\n")
	if err := w.fail(status(http.StatusNotFound)); err == nil {
		return nil
	}
	w.q.w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	return w.q.body(http.StatusNotFound, []byte(b.String()))
}

// humanSize is a size in the largest unit that fits.
func humanSize(n int64) string {
	units, i, size := "KMGTPE", -1, float64(n)
	for size >= 1000 && i < len(units)-1 {
		size /= 1024
		i++
	}
	if i < 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.0f%ci", size, units[i])
}
