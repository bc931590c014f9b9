package cinder

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kintoun/kintoun/internal/wire"
)

// The types that bodies are made of, as in Cinder's parameter_types.

type schema = wire.Schema

func kind(names ...string) *schema { return &schema{Types: names} }

// fields are an object's properties.
type fields map[string]*schema

// record is an object with the given properties and no others.
func record(properties fields, required ...string) *schema {
	return &schema{Types: []string{"object"}, Properties: properties, Required: required}
}

// wrap is a body with one property.
func wrap(name string, inner *schema) *schema { return record(fields{name: inner}, name) }

func list(items *schema) *schema {
	return &schema{Types: []string{"array"}, Items: items, Unique: true}
}

func either(schemas ...*schema) *schema { return &schema{OneOf: schemas} }

func words(values ...any) *schema { return &schema{Types: []string{"string"}, Enum: values} }

// orNull is the schema that allows null too.
func orNull(s *schema) *schema {
	s.Types = append(s.Types, "null")
	return s
}

// anything allows every value.
func anything() *schema { return &schema{} }

const maxInt = 0x7FFFFFFF

// Patterns of the API's texts. Schemas are made for each request, which is no time to compile them.
var (
	digits     = regexp.MustCompile(`^[0-9]+$`)
	fewDigits  = regexp.MustCompile(`^[0-9]*$`)
	hostText   = regexp.MustCompile(`^[a-zA-Z0-9-._#@:/+\[\]]*$`)
	metaKey    = regexp.MustCompile(`^[a-zA-Z0-9-_:. /]{1,255}$`)
	oldMetaKey = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,255}$`)
	specKey    = regexp.MustCompile(`^[a-zA-Z0-9-_:.]{1,255}$`)
	quotaKey   = regexp.MustCompile(`^[a-zA-Z0-9-_:. ]{1,300}$`)
	percentage = regexp.MustCompile(`^(100|[0-9]{1,2})%$`)
)

// typeText is a text of at most 255 characters, or null.
func typeText() *schema { return &schema{Types: []string{"string", "null"}, MaxLength: 255} }

// typeName is a text that is not only space.
func typeName() *schema {
	return &schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255, Check: func(value any) string {
		if text, ok := value.(string); ok && strings.TrimSpace(text) == "" {
			return "The 'name' can not be empty."
		}
		return ""
	}}
}

// typeTrimmed is a text, or null, that is at most 255 characters without the space around it.
func typeTrimmed() *schema {
	return &schema{Types: []string{"string", "null"}, Check: func(value any) string {
		if text, ok := value.(string); ok && len([]rune(strings.TrimSpace(text))) > 255 {
			return "it has more than 255 characters."
		}
		return ""
	}}
}

func typeDescription() *schema {
	return &schema{Types: []string{"string", "null"}, MaxLength: 255, Check: func(value any) string {
		if text, ok := value.(string); ok && strings.ContainsFunc(text, notPrintable) {
			return wire.Python(text) + " does not match the printable characters"
		}
		return ""
	}}
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) }

func typeBoolean() *schema {
	return &schema{Types: []string{"boolean", "string"}, Enum: []any{
		true, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t",
		false, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n", "f",
	}}
}

func typeUUID() *schema { return &schema{Types: []string{"string"}, Format: wire.FormatUUID()} }

func typeUUIDOrNull() *schema { return orNull(typeUUID()) }

func typeSize() *schema {
	low, high := int64(1), int64(maxInt)
	return &schema{Types: []string{"integer", "string"}, Pattern: digits, Minimum: &low, Maximum: &high}
}

func typeHost() *schema {
	return &schema{Types: []string{"string", "null"}, MinLength: 1, MaxLength: 255, Pattern: hostText}
}

// typePairs is an object of texts whose names match the pattern.
func typePairs(keys *regexp.Regexp, values ...string) *schema {
	return &schema{Types: []string{"object"}, Keys: keys, Others: &schema{Types: values, MaxLength: 255}}
}

// typeMetadata is what users tell of a thing; null is nothing.
func typeMetadata() *schema { return typePairs(metaKey, "string") }

func typeMetadataOrNull() *schema { return orNull(typeMetadata()) }

// onePair is such an object with exactly one pair.
func onePair(s *schema) *schema {
	s.MinProperties, s.MaxProperties = 1, 1
	return s
}

// typeStatus is one of the statuses, in whatever case.
func typeStatus(what string, statuses ...string) *schema {
	return &schema{Types: []string{"string"}, Check: func(value any) string {
		text, _ := value.(string)
		if slices.Contains(statuses, strings.ToLower(text)) {
			return ""
		}
		return what + " status: " + text + " is invalid, valid statuses are: " + strings.Join(statuses, ", ") + "."
	}}
}

// statusOrNone is such a status that may be left out, be null or be empty.
func statusOrNone(s *schema) *schema {
	check := s.Check
	s.Check = func(value any) string {
		if value == "" || value == nil {
			return ""
		}
		return check(value)
	}
	return orNull(s)
}

// text is a string that clients may send as a number; null is empty.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	var s *string
	switch {
	case json.Unmarshal(data, &s) != nil:
		*t = text(data)
	case s == nil:
		*t = ""
	default:
		*t = text(*s)
	}
	return nil
}

// trimmed is a text without the space around it.
type trimmed string

func (t *trimmed) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	*t = trimmed(strings.TrimSpace(s))
	return nil
}

// lowered is a text in lower case; null is empty.
type lowered string

func (l *lowered) UnmarshalJSON(data []byte) error {
	var s string
	err := json.Unmarshal(data, &s)
	*l = lowered(strings.ToLower(s))
	return err
}

// number reads a number that was sent as one or as a text.
func (t text) number() int {
	n, _ := strconv.Atoi(string(t)) // of the schema's form
	return n
}
