package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
)

// Schema is as much of JSON Schema (draft 4) as the bodies of OpenStack's APIs need; its messages are those of the
// validators that OpenStack's services use. The zero value allows everything.
type Schema struct {
	// Types are names of JSON's types ("integer" beside "number"); none allows all.
	Types      []string
	Properties map[string]*Schema
	// Required properties must be there; of the Alternatives at least one set, or with OneAlternative exactly one.
	Required       []string
	Alternatives   [][]string
	OneAlternative bool
	// Others is for properties that are not listed; nil allows none. Keys is what their names are like.
	Others                       *Schema
	Keys                         *regexp.Regexp
	MinProperties, MaxProperties int
	Items                        *Schema
	MinItems, MaxItems           int
	Unique                       bool
	// MinLength and MaxLength bound texts in characters; zero is no bound.
	MinLength, MaxLength int
	Pattern              *regexp.Regexp
	Format               *Format
	// Check is a rule of one's own: it returns what is wrong with the value, or nothing.
	Check            func(value any) string
	Enum             []any
	Minimum, Maximum *int64
	OneOf            []*Schema
}

// Format is a rule for texts that a pattern does not express.
type Format struct {
	Name  string
	Valid func(text string) bool
}

// FormatUUID is that of texts that are UUIDs, with or without dashes.
func FormatUUID() *Format {
	return &Format{Name: "uuid", Valid: func(text string) bool { _, err := uuid.Parse(text); return err == nil }}
}

// FormatBase64 is that of texts in base 64, with or without line ends.
func FormatBase64() *Format {
	return &Format{Name: "base64", Valid: func(text string) bool {
		_, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		return err == nil
	}}
}

// DecodeChecked reads the request's body, an object in JSON, checks it and decodes it into v. What the schema does not
// allow is fault.ErrInvalid. A lenient check lets properties pass that are not listed.
func DecodeChecked(r *http.Request, s *Schema, lenient bool, v any) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fault.Wrap(fault.ErrInvalid, "Malformed request body")
	}
	if _, ok := value.(map[string]any); !ok {
		return fault.Wrap(fault.ErrInvalid, "Malformed request body")
	}
	if err := s.Validate(value, lenient); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fault.Wrap(fault.ErrInvalid, "Malformed request body: %s", err)
	}
	return nil
}

// Validate says what is wrong with a value as a decoder with UseNumber makes it; the error is fault.ErrInvalid.
func (s *Schema) Validate(value any, lenient bool) error {
	path, message, bad := s.find(value, "", lenient)
	switch {
	case message == "":
		return nil
	case path == "":
		return fault.Wrap(fault.ErrInvalid, "%s", message)
	}
	return fault.Wrap(fault.ErrInvalid, "Invalid input for field/attribute %s. Value: %s. %s", path, shorten(Python(bad)), message)
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return text
}

// find returns the first fault: the field it is in, what to say, and the value.
func (s *Schema) find(value any, path string, lenient bool) (string, string, any) {
	if s == nil {
		return "", "", nil
	}
	if len(s.OneOf) > 0 {
		for _, one := range s.OneOf {
			if _, message, _ := one.find(value, path, lenient); message == "" {
				return "", "", nil
			}
		}
		return path, shorten(Python(value)) + " is not valid under any of the given schemas", value
	}
	if len(s.Types) > 0 && !slices.ContainsFunc(s.Types, func(t string) bool { return isType(value, t) }) {
		return path, shorten(Python(value)) + " is not of type '" + strings.Join(s.Types, "', '") + "'", value
	}
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(one any) bool { return Python(one) == Python(value) }) {
		return path, shorten(Python(value)) + " is not one of " + Python(s.Enum), value
	}
	if s.Check != nil {
		if message := s.Check(value); message != "" {
			return path, message, value
		}
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

func (s *Schema) text(v string) string {
	length := len([]rune(v))
	switch {
	case length < s.MinLength:
		return Python(v) + " is too short"
	case s.MaxLength > 0 && length > s.MaxLength:
		return shorten(Python(v)) + " is too long"
	case s.Pattern != nil && !s.Pattern.MatchString(v):
		return shorten(Python(v)) + " does not match " + Python(s.Pattern.String())
	case s.Format != nil && !s.Format.Valid(v):
		return shorten(Python(v)) + " is not a '" + s.Format.Name + "'"
	case s.Minimum == nil && s.Maximum == nil:
		return ""
	}
	return s.number(v, Python(v))
}

func (s *Schema) number(digits, shown string) string {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		if f, err := strconv.ParseFloat(digits, 64); err == nil && f > -1<<62 && f < 1<<62 {
			n = int64(f)
		} else if strings.HasPrefix(digits, "-") {
			n = -1 << 63
		} else {
			n = 1<<63 - 1
		}
	}
	if s.Minimum != nil && n < *s.Minimum {
		return fmt.Sprintf("%s is less than the minimum of %d", shown, *s.Minimum)
	}
	if s.Maximum != nil && n > *s.Maximum {
		return fmt.Sprintf("%s is greater than the maximum of %d", shown, *s.Maximum)
	}
	return ""
}

func (s *Schema) object(v map[string]any, path string, lenient bool) (string, string, any) {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return path, "'" + name + "' is a required property", v
		}
	}
	if message := s.alternative(v); message != "" {
		return path, message, v
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		property, listed := s.Properties[name]
		if !listed {
			property = s.Others
			if (property == nil || s.Keys != nil && !s.Keys.MatchString(name)) && !lenient {
				return path, "Additional properties are not allowed (" + Python(name) + " was unexpected)", v
			}
		}
		if where, message, bad := property.find(v[name], name, lenient); message != "" {
			return where, message, bad
		}
	}
	switch {
	case len(v) < s.MinProperties:
		return path, Python(v) + " does not have enough properties", v
	case s.MaxProperties > 0 && len(v) > s.MaxProperties:
		return path, shorten(Python(v)) + " has too many properties", v
	}
	return "", "", nil
}

func (s *Schema) alternative(v map[string]any) string {
	found := 0
	for _, names := range s.Alternatives {
		if !slices.ContainsFunc(names, func(name string) bool { _, ok := v[name]; return !ok }) {
			found++
		}
	}
	switch {
	case len(s.Alternatives) > 0 && found == 0:
		return shorten(Python(v)) + " is not valid under any of the given schemas"
	case s.OneAlternative && found > 1:
		return shorten(Python(v)) + " is valid under each of the given schemas"
	}
	return ""
}

func (s *Schema) array(v []any, path string, lenient bool) (string, string, any) {
	switch {
	case len(v) < s.MinItems:
		return path, Python(v) + " is too short", v
	case s.MaxItems > 0 && len(v) > s.MaxItems:
		return path, shorten(Python(v)) + " is too long", v
	}
	seen := map[string]bool{}
	for i, item := range v {
		if where, message, bad := s.Items.find(item, strconv.Itoa(i), lenient); message != "" {
			return where, message, bad
		}
		if s.Unique && seen[Python(item)] {
			return path, shorten(Python(v)) + " has non-unique elements", v
		}
		seen[Python(item)] = true
	}
	return "", "", nil
}

// Python writes a JSON value as Python's repr does, which is how clients know the services' messages.
func Python(value any) string {
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
			parts[i] = Python(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, Python(key)+": "+Python(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(value)
}
