package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Signature Version 4, as "Authenticating requests (AWS Signature Version 4)" of S3's API reference has it.

const (
	algorithmV4 = "AWS4-HMAC-SHA256"
	amzTime     = "20060102T150405Z"
	// maxExpiry is how long a presigned request may be good.
	maxExpiry = 7 * 24 * time.Hour
)

// signatureV4 is what a request says of its signature.
type signatureV4 struct {
	access, date, region, service string
	signed                        []string // names of headers, in lower case
	signature                     string
	at                            time.Time
	presigned                     bool
	expires                       time.Duration
}

func (s *signatureV4) scope() string {
	return s.date + "/" + s.region + "/" + s.service + "/aws4_request"
}

// parseAuthorization reads the header.
func parseAuthorization(value string, h http.Header) (*signatureV4, error) {
	rest, ok := strings.CutPrefix(value, algorithmV4)
	if !ok {
		return nil, fail("InvalidRequest", "The authorization mechanism is not supported. Please use %s.", algorithmV4)
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; !found || twice {
			return nil, fail("AuthorizationHeaderMalformed", "The authorization header is malformed.")
		}
		parts[name] = value
	}
	s := &signatureV4{signature: parts["Signature"]}
	if !s.credential(parts["Credential"]) || s.signature == "" || parts["SignedHeaders"] == "" {
		return nil, fail("AuthorizationHeaderMalformed", "The authorization header lacks a Credential of five parts, SignedHeaders or a Signature.")
	}
	s.signed = strings.Split(parts["SignedHeaders"], ";")
	stamp := h.Get("X-Amz-Date")
	var err error
	if stamp != "" {
		s.at, err = time.Parse(amzTime, stamp)
	} else {
		s.at, err = http.ParseTime(h.Get("Date"))
	}
	if err != nil {
		return nil, fail("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header.")
	}
	if !strings.HasPrefix(s.at.UTC().Format(amzTime), s.date) {
		return nil, fail("AuthorizationHeaderMalformed", "The date of the credential is not that of the request.")
	}
	return s, nil
}

// credential reads AKID/20060102/region/s3/aws4_request. An access key may contain slashes.
func (s *signatureV4) credential(text string) bool {
	parts := strings.Split(text, "/")
	n := len(parts) - 4
	if n < 1 || parts[n+3] != "aws4_request" || len(parts[n]) != 8 {
		return false
	}
	s.access, s.date, s.region, s.service = strings.Join(parts[:n], "/"), parts[n], parts[n+1], parts[n+2]
	return s.access != "" && s.service == "s3"
}

// parsePresigned reads the query.
func parsePresigned(q url.Values) (*signatureV4, error) {
	bad := func(what string) error {
		return fail("AuthorizationQueryParametersError", "%s", what)
	}
	if q.Get("X-Amz-Algorithm") != algorithmV4 {
		return nil, bad("X-Amz-Algorithm only supports " + algorithmV4 + ".")
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if len(q[name]) != 1 || q[name][0] == "" {
			return nil, bad("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	s := &signatureV4{presigned: true, signature: q.Get("X-Amz-Signature"), signed: strings.Split(q.Get("X-Amz-SignedHeaders"), ";")}
	if !s.credential(q.Get("X-Amz-Credential")) {
		return nil, bad("Error parsing the X-Amz-Credential parameter: it has five parts.")
	}
	var err error
	if s.at, err = time.Parse(amzTime, q.Get("X-Amz-Date")); err != nil {
		return nil, bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\".")
	}
	seconds, err := parseCount(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 1 || seconds > int64(maxExpiry/time.Second) {
		return nil, bad("X-Amz-Expires must be between one second and a week (604800).")
	}
	if s.expires = time.Duration(seconds) * time.Second; s.at.Format("20060102") != s.date {
		return nil, bad("The date of the credential is not that of the request.")
	}
	return s, nil
}

// fresh checks the request's time: a clock may be skew off, and a presigned request is good until it expires.
func (s *signatureV4) fresh(now time.Time, skew time.Duration) error {
	switch {
	case s.presigned && now.Before(s.at.Add(-skew)):
		return fail("AccessDenied", "Request is not valid yet").with("X-Amz-Date", s.at.Format(amzTime)).with("ServerTime", stamp(now))
	case s.presigned && now.After(s.at.Add(s.expires)):
		return fail("AccessDenied", "Request has expired").with("Expires", stamp(s.at.Add(s.expires))).with("ServerTime", stamp(now))
	case !s.presigned && now.Sub(s.at).Abs() > skew:
		return fail("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.").
			with("RequestTime", s.at.Format(amzTime)).with("ServerTime", stamp(now))
	}
	return nil
}

// key derives the signing key from the secret.
func (s *signatureV4) key(secret string) []byte {
	key := hmacSHA256([]byte("AWS4"+secret), s.date)
	for _, part := range []string{s.region, s.service, "aws4_request"} {
		key = hmacSHA256(key, part)
	}
	return key
}

// check compares the signature with the one that the secret makes.
func (s *signatureV4) check(r *http.Request, secret, payloadHash string) error {
	canonical := s.canonical(r, payloadHash)
	sum := sha256.Sum256([]byte(canonical))
	text := algorithmV4 + "\n" + s.at.UTC().Format(amzTime) + "\n" + s.scope() + "\n" + hex.EncodeToString(sum[:])
	want := hex.EncodeToString(hmacSHA256(s.key(secret), text))
	if hmac.Equal([]byte(want), []byte(s.signature)) {
		return nil
	}
	return badSignature(s.access, text, s.signature).with("CanonicalRequest", canonical)
}

func badSignature(access, text, provided string) *apiError {
	return fail("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.").
		with("AWSAccessKeyId", access).with("StringToSign", text).with("SignatureProvided", provided)
}

// covers refuses requests with headers that count and that nobody signed.
func (s *signatureV4) covers(r *http.Request) error {
	if !slices.Contains(s.signed, "host") {
		return fail("AccessDenied", "There were headers present in the request which were not signed").with("HeadersNotSigned", "host")
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(s.signed, lower) && lower != "x-amz-content-sha256" {
			return fail("AccessDenied", "There were headers present in the request which were not signed").with("HeadersNotSigned", lower)
		}
	}
	return nil
}

// canonical is the request as both sides write it down.
func (s *signatureV4) canonical(r *http.Request, payloadHash string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + canonicalPath(r) + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	for _, name := range s.signed {
		b.WriteString(name + ":" + signedHeader(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.signed, ";") + "\n" + payloadHash)
	return b.String()
}

func canonicalPath(r *http.Request) string {
	if r.URL.Path == "" {
		return "/"
	}
	return escape(r.URL.Path, true)
}

// signedHeader is the header's values, inner spaces folded. The server keeps some headers elsewhere.
func signedHeader(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		if r.ContentLength < 0 {
			return ""
		}
		return formatCount(r.ContentLength)
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

// canonicalQuery sorts the parameters, without the signature itself.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs [][2]string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		if part == "" || name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, [2]string{recode(name), recode(value)})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

// recode writes an encoded text the one way that counts.
func recode(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return escape(plain, false)
}

// escape encodes all bytes but RFC 3986's unreserved ones, and slashes where they divide a path.
func escape(text string, path bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' || path && c == '/' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // a hash never fails
	return h.Sum(nil)
}
