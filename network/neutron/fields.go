package neutron

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

// field is an attribute of a resource as clients may write it. Without set it is read-only.
type field[S any] struct {
	post, put bool
	set       func(spec *S, data json.RawMessage) error
}

// fields are a resource's attributes.
type fields[S any] map[string]field[S]

// decode reads an object into a spec. Unknown attributes, those that may not be written, and values of a wrong type are refused.
func (f fields[S]) decode(data json.RawMessage, put bool, required []string) (spec S, err error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
		return spec, badRequest("Resource body required")
	}
	for _, name := range required {
		if _, ok := raw[name]; !ok && !put {
			return spec, badRequest("Failed to parse request. Required attribute '%s' not specified", name)
		}
	}
	var unknown []string
	for name := range raw {
		if _, ok := f[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return spec, badRequest("Unrecognized attribute(s) '%s'", strings.Join(unknown, ", "))
	}
	names := make([]string, 0, len(raw))
	for name := range raw {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := f[name]
		switch {
		case put && !a.put:
			return spec, badRequest("Cannot update read-only attribute %s", name)
		case !put && !a.post:
			return spec, badRequest("Attribute '%s' not allowed in POST", name)
		}
		if err := a.set(&spec, raw[name]); err != nil {
			return spec, badRequest("Invalid input for %s. Reason: %s.", name, err)
		}
	}
	return spec, nil
}

// null says whether the value is JSON's null.
func null(data json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(data), []byte("null")) }

// plain is a field that may always be written; null leaves it at its default.
func plain[S, T any](parse func(json.RawMessage) (T, error), target func(*S) **T) field[S] {
	return field[S]{post: true, put: true, set: func(spec *S, data json.RawMessage) error {
		if null(data) {
			return nil
		}
		v, err := parse(data)
		if err != nil {
			return err
		}
		*target(spec) = &v
		return nil
	}}
}

// strict is a plain field that may not be null.
func strict[S, T any](parse func(json.RawMessage) (T, error), target func(*S) **T) field[S] {
	f := plain(parse, target)
	inner := f.set
	f.set = func(spec *S, data json.RawMessage) error {
		if null(data) {
			return fmt.Errorf("'None' is not a valid value")
		}
		return inner(spec, data)
	}
	return f
}

// nullable is a plain field whose null means the zero value.
func nullable[S, T any](parse func(json.RawMessage) (T, error), target func(*S) **T) field[S] {
	f := plain(parse, target)
	inner := f.set
	f.set = func(spec *S, data json.RawMessage) error {
		if null(data) {
			*target(spec) = new(T)
			return nil
		}
		return inner(spec, data)
	}
	return f
}

// once is a field that is written at creation only.
func once[S, T any](parse func(json.RawMessage) (T, error), target func(*S) *T) field[S] {
	return field[S]{post: true, set: func(spec *S, data json.RawMessage) error {
		if null(data) {
			return nil
		}
		v, err := parse(data)
		if err == nil {
			*target(spec) = v
		}
		return err
	}}
}

// atCreation makes a field writable at creation only.
func atCreation[S any](f field[S]) field[S] {
	f.put = false
	return f
}

// shown adds attributes that are shown and never written.
func (f fields[S]) shown(names ...string) fields[S] {
	for _, name := range append(names, "id", "created_at", "updated_at", "revision_number", "tags") {
		f[name] = field[S]{}
	}
	return f
}

// project adds the owner, under both of its names.
func (f fields[S]) project(target func(*S) *string) fields[S] {
	f["tenant_id"], f["project_id"] = once(parseText, target), once(parseText, target)
	return f
}

const maxText = 255

func parseText(data json.RawMessage) (string, error) {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return "", fmt.Errorf("'%s' is not a valid string", clip(data))
	}
	if len([]rune(s)) > maxText {
		return "", fmt.Errorf("'%s' exceeds maximum length of %d", clip([]byte(s)), maxText)
	}
	if strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("a string must not contain a zero byte")
	}
	return s, nil
}

// clip shortens what is quoted in a fault.
func clip(data []byte) string {
	if len(data) > 80 {
		return string(data[:80]) + "…"
	}
	return string(data)
}

// parseWord also takes a number, as text.
func parseWord(data json.RawMessage) (string, error) {
	var n int64
	if json.Unmarshal(data, &n) == nil {
		return strconv.FormatInt(n, 10), nil
	}
	return parseText(data)
}

func parseBool(data json.RawMessage) (bool, error) {
	var b wire.Bool
	if err := json.Unmarshal(data, &b); err != nil {
		return false, fmt.Errorf("'%s' cannot be converted to boolean", clip(data))
	}
	return bool(b), nil
}

func parseInt(data json.RawMessage) (int, error) {
	var n wire.Int
	if err := json.Unmarshal(data, &n); err != nil || int64(n) > 1<<31-1 || int64(n) < -1<<31 {
		return 0, fmt.Errorf("'%s' is not an integer", clip(data))
	}
	return int(n), nil
}

func parseSegment(data json.RawMessage) (uint32, error) {
	n, err := parseInt(data)
	if err == nil && n < 0 {
		err = fmt.Errorf("'%d' is negative", n)
	}
	return uint32(n), err
}

func parseAddress(data json.RawMessage) (netip.Addr, error) {
	s, err := parseText(data)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("'%s' is not a valid IP address", clip([]byte(s)))
	}
	return a, nil
}

// parseCIDR wants a network without host bits.
func parseCIDR(data json.RawMessage) (netip.Prefix, error) {
	s, err := parseText(data)
	if err != nil {
		return netip.Prefix{}, err
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("'%s' is not a valid IP subnet", clip([]byte(s)))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("'%s' isn't a recognized IP subnet cidr, '%s' is recommended", s, p.Masked())
	}
	return p, nil
}

// parseRange takes a network or an address, as rules and address pairs do.
func parseRange(data json.RawMessage) (netip.Prefix, error) {
	s, err := parseText(data)
	if err != nil {
		return netip.Prefix{}, err
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("'%s' is not a valid IP subnet", clip([]byte(s)))
	}
	return p.Masked(), nil
}

// parseList reads a list; null is an empty one.
func parseList[T any](parse func(json.RawMessage) (T, error)) func(json.RawMessage) ([]T, error) {
	return func(data json.RawMessage) ([]T, error) {
		var raw []json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return nil, fmt.Errorf("'%s' is not a list", clip(data))
		}
		list := make([]T, 0, len(raw))
		for _, r := range raw {
			v, err := parse(r)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
}

// distinct refuses lists that name something twice.
func distinct[T comparable](parse func(json.RawMessage) ([]T, error)) func(json.RawMessage) ([]T, error) {
	return func(data json.RawMessage) ([]T, error) {
		list, err := parse(data)
		for i, v := range list {
			if slices.Contains(list[:i], v) {
				return nil, fmt.Errorf("Duplicate items in the list: '%v'", v) //nolint:staticcheck // Neutron's words
			}
		}
		return list, err
	}
}

// members reads an object that has no other members than those named.
func members(data json.RawMessage, parsers map[string]func(json.RawMessage) error) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || raw == nil {
		return fmt.Errorf("'%s' is not a dictionary", clip(data))
	}
	for name, value := range raw {
		parse, ok := parsers[name]
		if !ok {
			return fmt.Errorf("Unexpected keys supplied: %s", name) //nolint:staticcheck // Neutron's words
		}
		if null(value) {
			continue
		}
		if err := parse(value); err != nil {
			return err
		}
	}
	return nil
}

// into is a member's parser that assigns.
func into[T any](target *T, parse func(json.RawMessage) (T, error)) func(json.RawMessage) error {
	return func(data json.RawMessage) (err error) {
		*target, err = parse(data)
		return err
	}
}

func parseFixedIP(data json.RawMessage) (ip network.FixedIPSpec, err error) {
	err = members(data, map[string]func(json.RawMessage) error{"subnet_id": into(&ip.SubnetID, parseText), "ip_address": into(&ip.Address, parseAddress)})
	return ip, err
}

func parseRoute(data json.RawMessage) (route network.Route, err error) {
	err = members(data, map[string]func(json.RawMessage) error{"destination": into(&route.Destination, parseCIDR), "nexthop": into(&route.NextHop, parseAddress)})
	if err == nil && (!route.Destination.IsValid() || !route.NextHop.IsValid()) {
		err = fmt.Errorf("a route needs destination and nexthop")
	}
	return route, err
}

func parsePool(data json.RawMessage) (p network.Pool, err error) {
	err = members(data, map[string]func(json.RawMessage) error{"start": into(&p.Start, parseAddress), "end": into(&p.End, parseAddress)})
	return p, err
}

func parsePair(data json.RawMessage) (p network.AddressPair, err error) {
	err = members(data, map[string]func(json.RawMessage) error{"ip_address": into(&p.Address, parseRange), "mac_address": into(&p.MAC, parseText)})
	if err == nil && !p.Address.IsValid() {
		err = fmt.Errorf("AllowedAddressPair must contain ip_address")
	}
	return p, err
}

func parseObject(data json.RawMessage) (map[string]any, error) {
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("'%s' is not a dictionary", clip(data))
	}
	return m, nil
}
