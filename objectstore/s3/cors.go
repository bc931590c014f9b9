package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// corsName is the document that a bucket's rules are kept in.
const corsName = "cors"

type corsDocument struct {
	XMLName   xml.Name   `xml:"CORSConfiguration"`
	Namespace string     `xml:"xmlns,attr,omitempty"`
	Rules     []corsRule `xml:"CORSRule"`
}

type corsRule struct {
	ID      string   `xml:",omitempty"`
	Headers []string `xml:"AllowedHeader"`
	Methods []string `xml:"AllowedMethod"`
	Origins []string `xml:"AllowedOrigin"`
	Exposed []string `xml:"ExposeHeader"`
	MaxAge  *int     `xml:"MaxAgeSeconds"`
}

func (r *corsRule) check() error {
	if len(r.Methods) == 0 || len(r.Origins) == 0 {
		return fail("MalformedXML", "A CORS rule has an AllowedMethod and an AllowedOrigin.")
	}
	for _, m := range r.Methods {
		if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, m) {
			return fail("InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
		}
	}
	for _, pattern := range append(slices.Clone(r.Origins), r.Headers...) {
		if strings.Count(pattern, "*") > 1 {
			return fail("InvalidRequest", "%q can not have more than one wildcard.", pattern)
		}
	}
	for _, name := range r.Exposed {
		if strings.Contains(name, "*") {
			return fail("InvalidRequest", "ExposeHeader %q contains wildcard. We currently do not support wildcard for ExposeHeader", name)
		}
	}
	return nil
}

// allows says whether the rule is for such a request.
func (r *corsRule) allows(origin, method string, headers []string) bool {
	if !slices.Contains(r.Methods, method) || !slices.ContainsFunc(r.Origins, func(o string) bool { return matches(o, origin) }) {
		return false
	}
	for _, h := range headers {
		if !slices.ContainsFunc(r.Headers, func(allowed string) bool { return matches(strings.ToLower(allowed), h) }) {
			return false
		}
	}
	return true
}

// matches says whether the text is as the pattern, which may have one star.
func matches(pattern, text string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	return len(text) >= len(before)+len(after) && strings.HasPrefix(text, before) && strings.HasSuffix(text, after)
}

func (a *api) getCORS(q *request) error {
	c, err := a.objects.Container(q.Context(), q.caller, q.bucket())
	if err != nil {
		return err
	}
	text := c.Documents[corsName]
	if text == "" {
		return fail("NoSuchCORSConfiguration", "The CORS configuration does not exist").with("BucketName", q.path.Container)
	}
	return writeRaw(q.w, http.StatusOK, text)
}

func (a *api) putCORS(q *request) error {
	var doc corsDocument
	if err := q.xml(&doc); err != nil {
		return err
	}
	if n := len(doc.Rules); n == 0 || n > maxRules/10 {
		return fail("MalformedXML", "A CORS configuration has one to %d rules.", maxRules/10)
	}
	for i := range doc.Rules {
		if err := doc.Rules[i].check(); err != nil {
			return err
		}
	}
	doc.XMLName, doc.Namespace = xml.Name{Local: "CORSConfiguration"}, namespace
	return a.setDocument(q, corsName, doc, http.StatusOK)
}

func (a *api) deleteCORS(q *request) error {
	return a.setDocument(q, corsName, nil, http.StatusNoContent)
}

// corsRules are the bucket's, whoever asks: browsers sign no preflight, and the rules only say who may try.
func (a *api) corsRules(q *request) []corsRule {
	path := q.bucket()
	if path.Account == "" {
		path.Account = a.options.Account
	}
	if path.Account == "" {
		path.Account = a.accountInQuery(q)
	}
	if path.Account == "" || path.Container == "" {
		return nil
	}
	c, err := a.objects.Container(q.Context(), objectstore.Caller{Admin: true}, path)
	if err != nil || c.Documents[corsName] == "" {
		return nil
	}
	var doc corsDocument
	if err := decodeXML([]byte(c.Documents[corsName]), &doc); err != nil {
		return nil
	}
	return doc.Rules
}

// accountInQuery is the account of the access key that a presigned address names.
func (a *api) accountInQuery(q *request) string {
	s := signatureV4{}
	if !s.credential(q.query.Get("X-Amz-Credential")) {
		return ""
	}
	key, err := a.keys.Key(q.Context(), s.access)
	if err != nil {
		return ""
	}
	return key.Caller.Account
}

// allowOrigin tells a browser, before anything can fail, whether the page may see the answer.
func (a *api) allowOrigin(q *request) {
	origin := q.Header.Get("Origin")
	if origin == "" || q.Method == http.MethodOptions {
		return
	}
	account := q.path.Account
	if s, err := parseAuthorization(q.Header.Get("Authorization"), q.Header); account == "" && err == nil {
		if key, err := a.keys.Key(q.Context(), s.access); err == nil {
			q.path.Account = key.Caller.Account
			defer func() { q.path.Account = "" }()
		}
	}
	for _, r := range a.corsRules(q) {
		if r.allows(origin, q.Method, nil) {
			r.answer(q.w.Header(), origin)
			return
		}
	}
}

func (r *corsRule) answer(h http.Header, origin string) {
	h.Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	if slices.Contains(r.Origins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(r.Methods, ", "))
	if len(r.Exposed) > 0 {
		h.Set("Access-Control-Expose-Headers", strings.Join(r.Exposed, ", "))
	}
	if r.MaxAge != nil {
		h.Set("Access-Control-Max-Age", strconv.Itoa(*r.MaxAge))
	}
}

// preflight answers OPTIONS.
func (a *api) preflight(q *request) error {
	origin, method := q.Header.Get("Origin"), q.Header.Get("Access-Control-Request-Method")
	if origin == "" || method == "" {
		return fail("InvalidRequest", "Insufficient information. Origin and Access-Control-Request-Method request headers needed.")
	}
	var headers []string
	for h := range strings.SplitSeq(q.Header.Get("Access-Control-Request-Headers"), ",") {
		if h = strings.ToLower(strings.TrimSpace(h)); h != "" {
			headers = append(headers, h)
		}
	}
	for _, r := range a.corsRules(q) {
		if !r.allows(origin, method, headers) {
			continue
		}
		r.answer(q.w.Header(), origin)
		if len(headers) > 0 {
			q.w.Header().Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
		}
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	e := fail("AccessForbidden", "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	return e.with("Method", method)
}
