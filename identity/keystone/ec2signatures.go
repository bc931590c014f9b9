package keystone

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what the first signatures are made of
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/url"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
)

// The signatures of requests to EC2 and its like, as AWS defined them one after the other: "AWS Signature Version 4 for API
// requests" and "Signature Version 2" of its general reference, the versions 0 and 1 of EC2's old developer guides.

// scheme is one way to sign one request.
type scheme struct {
	// sign makes the signature for a host.
	sign func(secret, host string) string
	// timestamp is the request's own and covered by the signature; empty where it has none.
	timestamp string
}

const algorithm4 = "AWS4-HMAC-SHA256"

// scheme is the way that the request says it is signed.
func (g *signedRequest) scheme() (*scheme, error) {
	version, there := g.Params["SignatureVersion"]
	switch version {
	case "0":
		return g.scheme0()
	case "1":
		return g.scheme1(), nil
	case "2":
		return g.scheme2()
	}
	authorization, inHeader := g.Headers["authorization"]
	if inHeader && strings.HasPrefix(string(authorization), algorithm4) || !inHeader && g.Params["X-Amz-Algorithm"] == algorithm4 {
		return g.scheme4()
	}
	if there {
		return nil, fault.Wrap(identity.ErrInvalid, "Unknown signature version: %s", version)
	}
	return nil, fault.Wrap(identity.ErrInvalid, "Unexpected signature format")
}

func lacks(what string) error {
	return fault.Wrap(identity.ErrInvalid, "The signed request lacks %s.", what)
}

func (g *signedRequest) scheme0() (*scheme, error) {
	action, timestamp := string(g.Params["Action"]), string(g.Params["Timestamp"])
	if action == "" || timestamp == "" {
		return nil, lacks("an Action or a Timestamp")
	}
	return &scheme{timestamp: timestamp, sign: func(secret, _ string) string { return inBase64(sha1.New, secret, action+timestamp) }}, nil
}

// scheme1 covers names and values, in the order of the names in lower case, without anything between them.
func (g *signedRequest) scheme1() *scheme {
	var text strings.Builder
	for _, name := range g.names("Signature", strings.ToLower) {
		text.WriteString(name + string(g.Params[name]))
	}
	return &scheme{timestamp: string(g.Params["Timestamp"]), sign: func(secret, _ string) string { return inBase64(sha1.New, secret, text.String()) }}
}

func (g *signedRequest) scheme2() (*scheme, error) {
	if g.Verb == "" || g.Host == "" || g.Path == "" {
		return nil, lacks("a verb, a host or a path")
	}
	method := sha256.New
	if g.Params["SignatureMethod"] == "HmacSHA1" {
		method = sha1.New
	} else {
		// As Keystone has it: clients may leave out what is the default.
		g.Params["SignatureMethod"] = "HmacSHA256"
	}
	query := g.query("Signature", func(name string) string { return name })
	return &scheme{timestamp: string(g.Params["Timestamp"]), sign: func(secret, host string) string {
		return inBase64(method, secret, g.Verb+"\n"+host+"\n"+g.Path+"\n"+query)
	}}, nil
}

func (g *signedRequest) scheme4() (*scheme, error) {
	credential := strings.Split(g.said("Credential"), "/")
	n := len(credential) - 4
	stamp := string(g.Headers["x-amz-date"])
	if stamp == "" {
		stamp = string(g.Params["X-Amz-Date"])
	}
	switch {
	case n < 1 || len(credential[n]) != 8 || credential[n+3] != "aws4_request":
		return nil, lacks("a Credential of five parts")
	case stamp == "" || g.Verb == "" || g.Path == "" || g.BodyHash == "":
		return nil, lacks("a verb, a path, a body_hash or an X-Amz-Date")
	case !strings.HasPrefix(stamp, credential[n]):
		return nil, fault.Wrap(identity.ErrUnauthorized, "Request date mismatch error")
	}
	scope := credential[n:]
	return &scheme{timestamp: stamp, sign: func(secret, host string) string {
		sum := sha256.Sum256([]byte(g.canonical(host)))
		text := algorithm4 + "\n" + stamp + "\n" + strings.Join(scope, "/") + "\n" + hex.EncodeToString(sum[:])
		var parts [][]byte
		for _, part := range append(slices.Clone(scope), text) {
			parts = append(parts, []byte(part))
		}
		return signature4(secret, parts)
	}}, nil
}

// said is a part of the Authorization header, or of the query in its place.
func (g *signedRequest) said(name string) string {
	header, there := g.Headers["authorization"]
	if !there {
		return string(g.Params["X-Amz-"+name])
	}
	_, rest, _ := strings.Cut(string(header), name+"=")
	part, _, _ := strings.Cut(rest, ",")
	return strings.TrimSpace(part)
}

// canonical is the request as Version 4 writes it down. As in Keystone, a signed header that it was not sent is left out, and
// the parameters of a POST are in its body.
func (g *signedRequest) canonical(host string) string {
	query := ""
	if !strings.EqualFold(g.Verb, "POST") {
		query = g.query("X-Amz-Signature", encode)
	}
	var b strings.Builder
	b.WriteString(strings.ToUpper(g.Verb) + "\n" + g.Path + "\n" + query + "\n")
	signed := g.said("SignedHeaders")
	for name := range strings.SplitSeq(signed, ";") {
		v, there := g.Headers[name]
		if !there {
			continue
		}
		if name == "host" && host != g.Host {
			if bare, ok := withoutPort(string(v)); ok {
				v = value(bare)
			}
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(string(v)), " ") + "\n")
	}
	b.WriteString("\n" + signed + "\n" + g.BodyHash)
	return b.String()
}

// query is the parameters as a query, but for the signature itself.
func (g *signedRequest) query(signature string, order func(string) string) string {
	names := g.names(signature, order)
	for i, name := range names {
		names[i] = encode(name) + "=" + encode(string(g.Params[name]))
	}
	return strings.Join(names, "&")
}

// names are the parameters' but the signature's, in an order.
func (g *signedRequest) names(signature string, order func(string) string) []string {
	var names []string
	for name := range g.Params {
		if name != signature {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := strings.Compare(order(a), order(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return names
}

// encode leaves RFC 3986's unreserved characters as they are.
func encode(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// withoutPort is a host without its port; false if it has none.
func withoutPort(host string) (string, bool) {
	u, err := url.Parse("//" + host)
	if err != nil || u.Port() == "" {
		return "", false
	}
	return strings.ToLower(u.Hostname()), true
}

func inBase64(method func() hash.Hash, secret, text string) string {
	h := hmac.New(method, []byte(secret))
	_, _ = h.Write([]byte(text)) // a hash never fails
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
