package event

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Position is how far each domain's events were read: the number of the last one, by domain.
type Position map[string]int64

// Advance says that the event was read.
func (p Position) Advance(e Event) { p[e.Domain] = e.Seq }

// String is the position as text, "compute=7,network=12", which [ParsePosition] reads.
func (p Position) String() string {
	parts := make([]string, 0, len(p))
	for _, domain := range slices.Sorted(maps.Keys(p)) {
		parts = append(parts, domain+"="+strconv.FormatInt(p[domain], 10))
	}
	return strings.Join(parts, ",")
}

// maxPosition is far more than the domains of a cloud need.
const maxPosition = 4096

// ParsePosition reads what [Position.String] wrote. An empty text is the empty position.
func ParsePosition(text string) (Position, error) {
	p := Position{}
	if text == "" {
		return p, nil
	}
	if len(text) > maxPosition {
		return nil, fmt.Errorf("event position of %d bytes is longer than %d", len(text), maxPosition)
	}
	for part := range strings.SplitSeq(text, ",") {
		domain, number, _ := strings.Cut(part, "=")
		seq, err := strconv.ParseInt(number, 10, 64)
		if _, twice := p[domain]; twice || err != nil || seq < 0 || !isName(domain) {
			return nil, fmt.Errorf("event position %q: %q is not a domain and a number", text, part)
		}
		p[domain] = seq
	}
	return p, nil
}

// MarshalText is [Position.String].
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [ParsePosition].
func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}

// isName says whether a text can be a domain's name: small letters, digits and underscores.
func isName(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
