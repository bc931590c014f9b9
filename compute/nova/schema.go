package nova

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
)

// schema is as much of JSON Schema as the API's bodies need; the messages are those of Nova's validator.
type schema struct {
	// types are names of JSON's types ("integer" beside "number"); none allows everything.
	types      []string
	properties map[string]*schema
	required   []string
	// others is for properties that are not listed; nil allows none. keys is what their names are like.
	others   *schema
	keys     *regexp.Regexp
	items    *schema
	maxItems int
	unique   bool
	// minLength and maxLength bound texts in characters; zero is no bound.
	minLength, maxLength int
	pattern              *regexp.Regexp
	format               string
	enum                 []any
	minimum, maximum     *int64
	oneOf                []*schema
}

// check says what is wrong with the value. A lenient check lets properties pass that are not listed.
func (s *schema) check(value any, lenient bool) error {
	path, message, bad := s.find(value, "", lenient)
	if message == "" {
		return nil
	}
	if path == "" {
		return fault.Wrap(compute.ErrInvalid, "%s", message)
	}
	return fault.Wrap(compute.ErrInvalid, "Invalid input for field/attribute %s. Value: %s. %s", path, shorten(python(bad)), message)
}

func shorten(text string) string {
	if len(text) > 300 {
		return text[:300] + "…"
	}
	return text
}

// find returns the first fault: the field it is in, what to say, and the value.
func (s *schema) find(value any, path string, lenient bool) (string, string, any) {
	if s == nil {
		return "", "", nil
	}
	if len(s.oneOf) > 0 {
		for _, one := range s.oneOf {
			if _, message, _ := one.find(value, path, lenient); message == "" {
				return "", "", nil
			}
		}
		return path, shorten(python(value)) + " is not valid under any of the given schemas", value
	}
	if len(s.types) > 0 && !slices.ContainsFunc(s.types, func(t string) bool { return isType(value, t) }) {
		return path, shorten(python(value)) + " is not of type '" + strings.Join(s.types, "', '") + "'", value
	}
	if len(s.enum) > 0 && !slices.ContainsFunc(s.enum, func(one any) bool { return python(one) == python(value) }) {
		return path, python(value) + " is not one of " + python(s.enum), value
	}
	switch v := value.(type) {
	case string:
		if message := s.text(v); message != "" {
			return path, message, value
		}
	case json.Number:
		if message := s.number(v.String(), v.String()); message != "" {
			return path, message, value
		}
	case map[string]any:
		return s.object(v, path, lenient)
	case []any:
		return s.array(v, path, lenient)
	}
	return "", "", nil
}

func isType(value any, name string) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case json.Number:
		_, err := strconv.ParseInt(v.String(), 10, 64)
		return name == "number" || name == "integer" && err == nil
	case map[string]any:
		return name == "object"
	case []any:
		return name == "array"
	}
	return false
}

func (s *schema) text(v string) string {
	length := len([]rune(v))
	switch {
	case length < s.minLength:
		return python(v) + " is too short"
	case s.maxLength > 0 && length > s.maxLength:
		return shorten(python(v)) + " is too long"
	case s.pattern != nil && !s.pattern.MatchString(v):
		return shorten(python(v)) + " does not match " + python(s.pattern.String())
	case s.format != "" && !formats[s.format](v):
		if s.format == "name" {
			return "An invalid 'name' value was provided. The name must be: printable characters. Can not start or end with whitespace."
		}
		return shorten(python(v)) + " is not a '" + s.format + "'"
	}
	if s.minimum == nil && s.maximum == nil {
		return ""
	}
	return s.number(v, python(v))
}

func (s *schema) number(digits, shown string) string {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		if f, err := strconv.ParseFloat(digits, 64); err == nil {
			n = int64(f)
		} else if strings.HasPrefix(digits, "-") {
			n = -1 << 63
		} else {
			n = 1<<63 - 1
		}
	}
	if s.minimum != nil && n < *s.minimum {
		return fmt.Sprintf("%s is less than the minimum of %d", shown, *s.minimum)
	}
	if s.maximum != nil && n > *s.maximum {
		return fmt.Sprintf("%s is greater than the maximum of %d", shown, *s.maximum)
	}
	return ""
}

func (s *schema) object(v map[string]any, path string, lenient bool) (string, string, any) {
	for _, name := range s.required {
		if _, ok := v[name]; !ok {
			return path, "'" + name + "' is a required property", v
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		property, listed := s.properties[name]
		if !listed {
			property = s.others
			if (property == nil || s.keys != nil && !s.keys.MatchString(name)) && !lenient {
				return path, "Additional properties are not allowed ('" + name + "' was unexpected)", v
			}
		}
		if where, message, bad := property.find(v[name], name, lenient); message != "" {
			return where, message, bad
		}
	}
	return "", "", nil
}

func (s *schema) array(v []any, path string, lenient bool) (string, string, any) {
	if s.maxItems > 0 && len(v) > s.maxItems {
		return path, shorten(python(v)) + " is too long", v
	}
	seen := map[string]bool{}
	for i, item := range v {
		if where, message, bad := s.items.find(item, strconv.Itoa(i), lenient); message != "" {
			return where, message, bad
		}
		if s.unique && seen[python(item)] {
			return path, python(v) + " has non-unique elements", v
		}
		seen[python(item)] = true
	}
	return "", "", nil
}

var formats = map[string]func(string) bool{
	"uuid": func(v string) bool { _, err := uuid.Parse(v); return err == nil },
	"base64": func(v string) bool {
		_, err := base64.StdEncoding.DecodeString(strings.Map(dropSpace, v))
		return err == nil
	},
	"ip":   func(v string) bool { _, err := netip.ParseAddr(v); return err == nil },
	"ipv4": func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && a.Is4() },
	"ipv6": func(v string) bool { a, err := netip.ParseAddr(v); return err == nil && a.Is6() },
	"name": func(v string) bool {
		return printable(v) && v == strings.TrimSpace(v)
	},
	"az_name": func(v string) bool { return printable(v) && v == strings.TrimSpace(v) },
}

func printable(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) })
}

func dropSpace(r rune) rune {
	if unicode.IsSpace(r) {
		return -1
	}
	return r
}

// python writes a value as Python's repr does, which is how clients know the API's messages.
func python(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(v) + "'"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = python(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, python(key)+": "+python(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(value)
}
