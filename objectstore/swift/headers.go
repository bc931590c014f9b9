package swift

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kintoun/kintoun/objectstore"
)

// policy is the name of the one storage policy.
const policy = "Policy-0"

// MD5 of nothing, which is the entity tag of links and delete markers.
const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

// changes are what the headers of a request do to pairs of metadata: a name and its new value, or "" to remove it.
type changes map[string]string

// metadata reads the headers X-kind-Meta-* and X-Remove-kind-Meta-* of an account or container: names in lower case with
// hyphens. An empty value removes.
func metadata(h http.Header, kind string) changes {
	set, remove := "x-"+kind+"-meta-", "x-remove-"+kind+"-meta-"
	c := changes{}
	for name := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), remove); ok {
			c[hyphens(key)] = ""
		}
	}
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), set); ok {
			c[hyphens(key)] = strings.TrimSpace(values[0])
		}
	}
	return c
}

// objectMetadata reads the headers X-Object-Meta-*. An empty value is one.
func objectMetadata(h http.Header) map[string]string {
	pairs := map[string]string{}
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "x-object-meta-"); ok {
			pairs[hyphens(key)] = strings.TrimSpace(values[0])
		}
	}
	return pairs
}

// hyphens is the name as a gateway makes of it, to which underscores and hyphens are one.
func hyphens(name string) string { return strings.ReplaceAll(name, "_", "-") }

// take removes the pair from the changes and says what it was.
func (c changes) take(name string) (value string, given bool) {
	value, given = c[name]
	delete(c, name)
	return value, given
}

// apply makes the changes.
func (c changes) apply(to map[string]string) map[string]string {
	if to == nil {
		to = map[string]string{}
	}
	for name, value := range c {
		if value == "" {
			delete(to, name)
		} else {
			to[name] = value
		}
	}
	return to
}

// checkMetadata refuses what is over Swift's limits, in its words.
func checkMetadata(pairs map[string]string, kind string, limits objectstore.Options) error {
	total, prefix := 0, "X-"+kind+"-Meta-"
	for name, value := range pairs {
		total += len(name) + len(value)
		switch {
		case name == "":
			return refuse(http.StatusBadRequest, "Metadata name cannot be empty")
		case kind != "Object" && !utf8.ValidString(value):
			return refuse(http.StatusBadRequest, "Metadata must be valid UTF-8")
		case len(name) > limits.MaxMetadataNameLength:
			return refuse(http.StatusBadRequest, "Metadata name too long: %s%s", prefix, name)
		case len(value) > limits.MaxMetadataValueLength:
			return refuse(http.StatusBadRequest, "Metadata value longer than %d: %s%s", limits.MaxMetadataValueLength, prefix, name)
		}
	}
	if len(pairs) > limits.MaxMetadataCount {
		return refuse(http.StatusBadRequest, "Too many metadata items; max %d", limits.MaxMetadataCount)
	}
	if total > limits.MaxMetadataSize {
		return refuse(http.StatusBadRequest, "Total metadata too large; max %d", limits.MaxMetadataSize)
	}
	return nil
}

// setMetadata writes pairs as headers.
func setMetadata(h http.Header, kind string, pairs map[string]string) {
	for name, value := range pairs {
		h.Set("X-"+kind+"-Meta-"+name, value)
	}
}

// timestamp is a time as Swift writes it: seconds with five digits behind the point.
func timestamp(t time.Time) string {
	return fmt.Sprintf("%016.5f", float64(t.UnixMicro())/1e6)
}

// lastModified is a time in whole seconds, rounded up as Swift does, so that nothing is older than it says.
func lastModified(t time.Time) string {
	return time.Unix(int64(math.Ceil(float64(t.UnixMicro())/1e6)), 0).UTC().Format(http.TimeFormat)
}

// isoTime is a time as listings write it.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000") }

// escapePath percent-encodes a path so that it can stand in a URL or a header. Slashes stay.
func escapePath(path string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(path) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/_.-~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// unescape reads a percent-encoded header value; what is no encoding stands for itself.
func unescape(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// pathHeader reads a header that names an object: container/object, percent-encoded, with or without a slash in front.
func pathHeader(h http.Header, name string) (container, object string, err error) {
	container, object, _ = strings.Cut(strings.TrimPrefix(unescape(h.Get(name)), "/"), "/")
	if container == "" || object == "" {
		return "", "", refuse(http.StatusPreconditionFailed, "%s header must be of the form <container name>/<object name>", name)
	}
	if !utf8.ValidString(container+object) || strings.ContainsRune(container+object, 0) {
		return "", "", refuse(http.StatusPreconditionFailed, "Invalid UTF8 or contains NULL")
	}
	return container, object, nil
}

// accountHeader reads a header that names an account, and returns its identifier; that of the request if it is not given.
func (q *request) accountHeader(name string) (string, error) {
	if _, given := q.Header[name]; !given {
		return q.path.Account, nil
	}
	account, ours := strings.CutPrefix(unescape(q.Header.Get(name)), reseller)
	switch {
	case strings.Contains(account, "/"):
		return "", refuse(http.StatusPreconditionFailed, "Account name cannot contain slashes")
	case account == "":
		return "", refuse(http.StatusPreconditionFailed, "Account name cannot be empty")
	case !ours:
		return "", objectstore.ErrForbidden
	}
	return account, nil
}

// truth reads the truth values of Swift's headers and parameters.
func truth(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on", "t", "y":
		return true
	}
	return false
}

// bareETag is an entity tag without its quotes.
func bareETag(tag string) string {
	if len(tag) > 1 && tag[0] == '"' && tag[len(tag)-1] == '"' {
		return tag[1 : len(tag)-1]
	}
	return tag
}

// conditions reads the headers that make a request conditional (RFC 9110, section 13.1).
func conditions(h http.Header) objectstore.Conditions {
	tags := func(name string) []string {
		var list []string
		for _, tag := range strings.Split(strings.Join(h.Values(name), ","), ",") {
			if tag = bareETag(strings.TrimPrefix(strings.TrimSpace(tag), "W/")); tag != "" {
				list = append(list, tag)
			}
		}
		return list
	}
	date := func(name string) time.Time {
		t, err := http.ParseTime(h.Get(name))
		if err != nil {
			return time.Time{}
		}
		return t
	}
	return objectstore.Conditions{
		IfMatch: tags("If-Match"), IfNoneMatch: tags("If-None-Match"),
		IfModifiedSince: date("If-Modified-Since"), IfUnmodifiedSince: date("If-Unmodified-Since"),
	}
}

// writeConditions are those of a request that changes something: If-Modified-Since is for readers.
func writeConditions(h http.Header) objectstore.Conditions {
	c := conditions(h)
	c.IfModifiedSince = time.Time{}
	return c
}

// expiry reads X-Delete-At and X-Delete-After; given says whether one was there.
func expiry(h http.Header, now time.Time) (at time.Time, given bool, err error) {
	if text := h.Get("X-Delete-After"); text != "" {
		seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		switch {
		case err != nil:
			return at, true, refuse(http.StatusBadRequest, "Non-integer X-Delete-After")
		case seconds <= 0:
			return at, true, refuse(http.StatusBadRequest, "X-Delete-After in past")
		}
		return time.Unix(min(now.Unix()+min(seconds, lastSecond), lastSecond), 0), true, nil
	}
	if text := h.Get("X-Delete-At"); text != "" {
		seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		switch {
		case err != nil:
			return at, true, refuse(http.StatusBadRequest, "Non-integer X-Delete-At")
		case seconds <= now.Unix():
			return at, true, refuse(http.StatusBadRequest, "X-Delete-At in past")
		}
		return time.Unix(min(seconds, lastSecond), 0), true, nil
	}
	return at, false, nil
}

// lastSecond is the last second that Swift's ten digits can tell.
const lastSecond = 9999999999
