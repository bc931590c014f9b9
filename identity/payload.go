package identity

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// payload is what a token says, in as few bytes as possible: a token has to fit a header together with others,
// and must stay below 255 characters for all identifiers that this package makes.
type payload struct {
	UserID  string
	Methods []string
	Scope   Scope
	// UserGeneration and ScopeGeneration are the user's and the scope's at issue; others end the token.
	UserGeneration, ScopeGeneration uint64
	ExpiresAt                       time.Time
	// AuditIDs are the token's own and that of the first of its chain.
	AuditIDs       []string
	TrustID, AppID string
}

const payloadVersion = 1

// methodNames in the order of their bits.
var methodNames = [...]string{MethodPassword, MethodToken, MethodApplicationCredential, MethodEC2}

const (
	scopeNone = iota
	scopeProject
	scopeDomain
	scopeSystem
)

var errPayload = errors.New("not a token's payload")

func (p *payload) encode() []byte {
	b := []byte{payloadVersion, 0}
	for i, name := range methodNames {
		if slices.Contains(p.Methods, name) {
			b[1] |= 1 << i
		}
	}
	b = appendID(b, p.UserID)
	switch {
	case p.Scope.ProjectID != "":
		b = appendID(append(b, scopeProject), p.Scope.ProjectID)
	case p.Scope.DomainID != "":
		b = appendID(append(b, scopeDomain), p.Scope.DomainID)
	case p.Scope.System:
		b = append(b, scopeSystem)
	default:
		b = append(b, scopeNone)
	}
	b = binary.AppendUvarint(b, p.UserGeneration)
	b = binary.AppendUvarint(b, p.ScopeGeneration)
	b = binary.AppendUvarint(b, uint64(max(p.ExpiresAt.Unix(), 0))) //nolint:gosec // not negative
	b = append(b, byte(len(p.AuditIDs)))
	for _, id := range p.AuditIDs {
		raw, _ := base64.RawURLEncoding.DecodeString(id)
		b = append(b, raw...)
	}
	return appendID(appendID(b, p.TrustID), p.AppID)
}

// appendID writes 32 hexadecimal digits as 16 bytes, and anything else with its length in front.
func appendID(b []byte, id string) []byte {
	if raw, err := hex.DecodeString(id); err == nil && len(raw) == 16 && hex.EncodeToString(raw) == id {
		return append(append(b, 0xff), raw...)
	}
	id = id[:min(len(id), 0xfe)]
	return append(append(b, byte(len(id))), id...)
}

const auditLength = 16

// reader takes a payload apart; after the first thing that is missing it only says so.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.rest) {
		r.err = errPayload
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) id() string {
	n := int(r.take(1)[0])
	if n == 0xff {
		return hex.EncodeToString(r.take(16))
	}
	return string(r.take(n))
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.err = errPayload
		return 0
	}
	r.take(n)
	return v
}

func decodePayload(b []byte) (*payload, error) {
	r := &reader{rest: b}
	if r.take(1)[0] != payloadVersion {
		return nil, errPayload
	}
	p := &payload{}
	methods := r.take(1)[0]
	for i, name := range methodNames {
		if methods&(1<<i) != 0 {
			p.Methods = append(p.Methods, name)
		}
	}
	p.UserID = r.id()
	switch r.take(1)[0] {
	case scopeNone:
	case scopeProject:
		p.Scope.ProjectID = r.id()
	case scopeDomain:
		p.Scope.DomainID = r.id()
	case scopeSystem:
		p.Scope.System = true
	default:
		return nil, errPayload
	}
	p.UserGeneration, p.ScopeGeneration = r.number(), r.number()
	seconds := r.number()
	if seconds > 1<<40 {
		return nil, errPayload
	}
	p.ExpiresAt = time.Unix(int64(seconds), 0).UTC()
	for range r.take(1)[0] {
		if r.err != nil {
			break
		}
		p.AuditIDs = append(p.AuditIDs, base64.RawURLEncoding.EncodeToString(r.take(auditLength)))
	}
	p.TrustID, p.AppID = r.id(), r.id()
	if r.err != nil || len(r.rest) > 0 || p.UserID == "" || len(p.AuditIDs) == 0 {
		return nil, errPayload
	}
	return p, nil
}
