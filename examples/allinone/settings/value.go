package settings

import (
	"encoding"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a [flag.Value] made of a parser.
type value[T any] struct {
	p         *T
	otherwise string
	parse     func(string) (T, error)
	format    func(T) string
	choices   []string
	bool      bool
	number    bool
}

// String is the value, as Set takes it.
func (v *value[T]) String() string {
	if v == nil || v.p == nil {
		return "" // package flag asks zero values too
	}
	return v.format(*v.p)
}

// Set parses the text.
func (v *value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err != nil {
		return err
	}
	*v.p = parsed
	return nil
}

// IsBoolFlag says that the flag needs no value.
func (v *value[T]) IsBoolFlag() bool { return v.bool }

// Choices are the only values, or nil.
func (v *value[T]) Choices() []string { return v.choices }

// Otherwise is the default.
func (v *value[T]) Otherwise() string { return v.otherwise }

func (v *value[T]) isNumber() bool { return v.number }

func newValue[T any](p *T, otherwise T, parse func(string) (T, error), format func(T) string) *value[T] {
	*p = otherwise
	return &value[T]{p: p, otherwise: format(otherwise), parse: parse, format: format}
}

// Value is what holds a setting's value: a [flag.Value] that knows its default.
type Value interface {
	String() string
	Set(text string) error
	Otherwise() string
}

// Text is any text.
func Text(p *string, otherwise string) Value {
	return newValue(p, otherwise, func(text string) (string, error) { return text, nil }, func(s string) string { return s })
}

// Choice is one of a few words.
func Choice(p *string, otherwise string, words ...string) Value {
	v := newValue(p, otherwise, func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
		}
		return text, nil
	}, func(s string) string { return s })
	v.choices = words
	return v
}

// Bool is true or false.
func Bool(p *bool, otherwise bool) Value {
	v := newValue(p, otherwise, func(text string) (bool, error) {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return false, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	}, strconv.FormatBool)
	v.bool, v.choices = true, []string{"true", "false"}
	return v
}

// Number is a whole number in a range.
func Number(p *int, otherwise, least, most int) Value {
	v := newValue(p, otherwise, func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is no number from %d to %d", text, least, most)
		}
		return n, nil
	}, strconv.Itoa)
	v.number = true
	return v
}

// Duration is a time span that is not negative, such as 1m30s.
func Duration(p *time.Duration, otherwise time.Duration) Value {
	return newValue(p, otherwise, func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no time span: write 10s, 1m30s or 500ms", text)
		}
		return d, nil
	}, time.Duration.String)
}

// Words are several, with commas between them; in the file, also a list.
func Words(p *[]string) Value {
	return newValue(p, nil, func(text string) ([]string, error) {
		words := strings.Split(text, ",")
		for i := range words {
			if words[i] = strings.TrimSpace(words[i]); words[i] == "" {
				return nil, fmt.Errorf("%q has an empty word", text)
			}
		}
		return words, nil
	}, func(words []string) string { return strings.Join(words, ",") })
}

// HostPort is an address and a port to listen on, or nothing.
func HostPort(p *string) Value {
	return newValue(p, "", func(text string) (string, error) {
		if text == "" {
			return "", nil
		}
		_, port, err := net.SplitHostPort(text)
		if err != nil {
			return "", fmt.Errorf("%q is no address and port: write 127.0.0.1:9464", text)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return "", fmt.Errorf("%q is no port from 0 to 65535", port)
		}
		return text, nil
	}, func(s string) string { return s })
}

// Address is an IP address, or none.
func Address(p *netip.Addr) Value { return parsed(p, "an IP address, such as 192.0.2.1") }

// Prefix is an IP address with the number of bits of its network, or none.
func Prefix(p *netip.Prefix) Value {
	return parsed(p, "an IP address with its network's bits, such as 192.0.2.1/24")
}

// address is what package netip has.
type address interface {
	encoding.TextMarshaler
	IsValid() bool
	String() string
}

func parsed[T address, P interface {
	*T
	encoding.TextUnmarshaler
}](p P, example string) Value {
	var none T
	return newValue((*T)(p), none, func(text string) (T, error) {
		var a T
		if err := P(&a).UnmarshalText([]byte(text)); err != nil {
			return a, errors.New(strconv.Quote(text) + " is not " + example)
		}
		return a, nil
	}, func(a T) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	})
}
