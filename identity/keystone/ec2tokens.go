package keystone

import (
	"crypto/hmac"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// requestBody is what POST /v3/ec2tokens is sent: a request that somebody signed, as the service saw it that it came to. Its
// outer name has varied.
type requestBody struct {
	Credentials    *signedRequest `json:"credentials"`
	Credential     *signedRequest `json:"credential"`
	EC2Credentials *signedRequest `json:"ec2Credentials"`
}

// signedRequest is the request. The signature is not among its parameters.
type signedRequest struct {
	Access    string           `json:"access"`
	Signature string           `json:"signature"`
	Verb      string           `json:"verb"`
	Host      string           `json:"host"`
	Path      string           `json:"path"`
	Params    map[string]value `json:"params"`
	Headers   map[string]value `json:"headers"`
	// BodyHash is the SHA-256 of the body, in hexadecimal; only Signature Version 4 covers it.
	BodyHash string `json:"body_hash"`
}

// value is a text, or a number as it was written.
type value string

func (v *value) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9') {
		*v = value(data)
		return nil
	}
	return json.Unmarshal(data, (*string)(v))
}

// ec2Tokens gives a service the token of who signed a request, as Heat and the EC2 API ask for it. A signature is easily come
// by, so that since OSSA-2025-002 only services and administrators are told.
func (h *handler) ec2Tokens(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := serviceOrAdmin(caller, "ec2tokens_validate"); err != nil {
		return err
	}
	given, err := decodeSigned(r)
	if err != nil {
		return err
	}
	scheme, err := given.scheme()
	if err != nil {
		return err
	}
	key, err := h.accessKey(r, given.Access)
	if err != nil {
		return err
	}
	if !given.signedWith(scheme, key.Secret) {
		return fault.Wrap(identity.ErrUnauthorized, "Invalid EC2 signature.")
	}
	signedAt, err := parseStamp(scheme.timestamp)
	if err != nil {
		return err
	}
	text, token, err := h.service.IssueToken(r.Context(), key, signedAt)
	if err != nil {
		return err
	}
	w.Header().Set(subjectToken, text)
	return h.writeToken(w, r, http.StatusOK, token)
}

func decodeSigned(r *http.Request) (*signedRequest, error) {
	var b requestBody
	if err := wire.Decode(r, &b); err != nil {
		return nil, err
	}
	for _, given := range []*signedRequest{b.Credentials, b.Credential, b.EC2Credentials} {
		if given == nil {
			continue
		}
		if given.Access == "" {
			break
		}
		if given.Signature == "" {
			return nil, fault.Wrap(identity.ErrUnauthorized, "EC2 signature not supplied.")
		}
		return given, given.check()
	}
	return nil, fault.Wrap(identity.ErrUnauthorized, "EC2 Signature not supplied")
}

// check refuses what would read as something else once it is written down to be signed, line by line.
func (g *signedRequest) check() error {
	headers := make(map[string]value, len(g.Headers))
	for name, v := range g.Headers {
		lower := value(strings.ToLower(strings.TrimSpace(name)))
		if _, twice := headers[string(lower)]; twice {
			return fault.Wrap(identity.ErrInvalid, "The header %q is there twice.", lower)
		}
		headers[string(lower)] = v
	}
	g.Headers = headers
	lines := []string{g.Verb, g.Host, g.Path, g.BodyHash}
	for _, v := range headers {
		lines = append(lines, string(v))
	}
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			return fault.Wrap(identity.ErrInvalid, "A request has no line breaks in its verb, host, path or headers.")
		}
	}
	return nil
}

// signedWith says whether the secret makes the signature. Some clients sign the host without its port.
func (g *signedRequest) signedWith(s *scheme, secret string) bool {
	hosts := []string{g.Host}
	if bare, ok := withoutPort(g.Host); ok {
		hosts = append(hosts, bare)
	}
	for _, host := range hosts {
		if want := s.sign(secret, host); hmac.Equal([]byte(want), []byte(g.Signature)) {
			return true
		}
	}
	return false
}

// parseStamp reads the times that the versions have; zero where there is none.
func parseStamp(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "20060102T150405Z", "20060102T150405"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fault.Wrap(identity.ErrUnauthorized, "Credential timestamp is invalid: %q", text)
}
