package s3

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Signature Version 2 is made of
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Signature Version 2, as "Signing and authenticating REST requests" of S3's user guide has it: what old tools speak.

// signatureV2 is what a request says of its signature.
type signatureV2 struct {
	access, signature string
	// expires is when a presigned request ends; zero for a header.
	expires   time.Time
	presigned bool
}

// subresources are the parameters that the signature covers, sorted.
var subresources = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "encryption", "inventory", "legal-hold", "lifecycle",
	"location", "logging", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus",
	"publicAccessBlock", "replication", "requestPayment", "response-cache-control", "response-content-disposition",
	"response-content-encoding", "response-content-language", "response-content-type", "response-expires", "restore",
	"retention", "select", "select-type", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

func parseAuthorizationV2(value string) (*signatureV2, error) {
	access, signature, found := strings.Cut(strings.TrimPrefix(value, "AWS "), ":")
	if !found || access == "" || signature == "" {
		return nil, fail("InvalidArgument", "AWS authorization header is invalid. Expected AwsAccessKeyId:signature")
	}
	return &signatureV2{access: strings.TrimSpace(access), signature: strings.TrimSpace(signature)}, nil
}

func parsePresignedV2(q url.Values) (*signatureV2, error) {
	seconds, err := parseCount(q.Get("Expires"))
	s := &signatureV2{access: q.Get("AWSAccessKeyId"), signature: q.Get("Signature"), presigned: true}
	if err != nil || s.access == "" || s.signature == "" {
		return nil, fail("AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	s.expires = time.Unix(seconds, 0)
	return s, nil
}

func (s *signatureV2) fresh(h http.Header, now time.Time, skew time.Duration) error {
	if s.presigned {
		if now.After(s.expires) {
			return fail("AccessDenied", "Request has expired").with("Expires", stamp(s.expires)).with("ServerTime", stamp(now))
		}
		return nil
	}
	date := h.Get("X-Amz-Date")
	if date == "" {
		date = h.Get("Date")
	}
	at, err := http.ParseTime(date)
	if err != nil {
		at, err = time.Parse(time.RFC1123Z, date)
	}
	if err != nil {
		return fail("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
	}
	if now.Sub(at).Abs() > skew {
		return fail("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.").
			with("RequestTime", date).with("ServerTime", stamp(now))
	}
	return nil
}

// check compares the signature with the one that the secret makes. The bucket is given where the host names it.
func (s *signatureV2) check(r *http.Request, q url.Values, secret, hostBucket string) error {
	date := r.Header.Get("Date")
	if s.presigned {
		date = formatCount(s.expires.Unix())
	} else if r.Header.Get("X-Amz-Date") != "" {
		date = ""
	}
	text := r.Method + "\n" + r.Header.Get("Content-Md5") + "\n" + r.Header.Get("Content-Type") + "\n" + date + "\n" +
		amzHeaders(r.Header) + canonicalResource(r, q, hostBucket)
	h := hmac.New(sha1.New, []byte(secret))
	_, _ = h.Write([]byte(text)) // a hash never fails
	if want := base64.StdEncoding.EncodeToString(h.Sum(nil)); hmac.Equal([]byte(want), []byte(s.signature)) {
		return nil
	}
	return badSignature(s.access, text, s.signature)
}

func amzHeaders(h http.Header) string {
	var lines []string
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			trimmed := slices.Clone(values)
			for i := range trimmed {
				trimmed[i] = strings.TrimSpace(trimmed[i])
			}
			lines = append(lines, lower+":"+strings.Join(trimmed, ",")+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func canonicalResource(r *http.Request, q url.Values, hostBucket string) string {
	resource := r.URL.EscapedPath()
	if hostBucket != "" {
		resource = "/" + hostBucket + resource
	}
	divider := "?"
	for _, name := range subresources {
		if !q.Has(name) {
			continue
		}
		resource += divider + name
		if value := q.Get(name); value != "" {
			resource += "=" + value
		}
		divider = "&"
	}
	return resource
}
