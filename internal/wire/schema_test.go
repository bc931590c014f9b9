package wire_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestSchema(t *testing.T) {
	low, high := int64(1), int64(10)
	text := func() *wire.Schema { return &wire.Schema{Types: []string{"string"}, MinLength: 2, MaxLength: 4} }
	s := &wire.Schema{
		Types: []string{"object"}, Required: []string{"a"},
		Properties: map[string]*wire.Schema{
			"a": text(),
			"b": {Types: []string{"integer", "string"}, Pattern: regexp.MustCompile(`^[0-9]+$`), Minimum: &low, Maximum: &high},
			"c": {Types: []string{"array"}, Items: text(), MinItems: 1, MaxItems: 2, Unique: true},
			"d": {Types: []string{"object"}, Keys: regexp.MustCompile(`^[a-z]+$`), Others: text(), MinProperties: 1, MaxProperties: 2},
			"e": {Enum: []any{true, "True"}},
			"f": {OneOf: []*wire.Schema{{Types: []string{"null"}}, {Types: []string{"string"}, Format: wire.FormatUUID()}}},
			"g": {Types: []string{"string"}, Format: wire.FormatBase64()},
			"h": {Types: []string{"object"}, Others: &wire.Schema{}, Alternatives: [][]string{{"x"}, {"y", "z"}}, OneAlternative: true},
			"i": {Check: func(value any) string {
				if value == "bad" {
					return "it is bad"
				}
				return ""
			}},
			"j": {Types: []string{"number", "boolean"}},
		},
	}
	for body, want := range map[string]string{
		`{"a": "ok", "b": 1, "c": ["xx", "yy"], "d": {"k": "vv"}, "e": true, "f": null, "g": "eA ==", "h": {"x": 1, "z": 2}, "i": "fine", "j": 1.5}`: "",
		`{"a": "ok", "b": "10", "f": "70a599e031e749b7b260868f441e862b", "e": "True", "h": {"y": 1, "z": 1}, "j": false}`:                            "",
		`{`:                      "Malformed request body",
		`[]`:                     "Malformed request body",
		`{}`:                     "'a' is a required property",
		`{"a": 1}`:               "Invalid input for field/attribute a. Value: 1. 1 is not of type 'string'",
		`{"a": "x"}`:             "'x' is too short",
		`{"a": "xxxxx"}`:         "'xxxxx' is too long",
		`{"a": "ok", "b": 0}`:    "0 is less than the minimum of 1",
		`{"a": "ok", "b": "11"}`: "'11' is greater than the maximum of 10",
		`{"a": "ok", "b": "99999999999999999999"}`:       "maximum",
		`{"a": "ok", "b": -99999999999999999999}`:        "not of type",
		`{"a": "ok", "b": "-1"}`:                         "does not match",
		`{"a": "ok", "b": 1.5}`:                          "not of type",
		`{"a": "ok", "c": []}`:                           "[] is too short",
		`{"a": "ok", "c": ["xx", "xx"]}`:                 "non-unique",
		`{"a": "ok", "c": ["xx", "yy", "zz"]}`:           "too long",
		`{"a": "ok", "c": ["x"]}`:                        "field/attribute 0. Value: 'x'. 'x' is too short",
		`{"a": "ok", "d": {}}`:                           "enough properties",
		`{"a": "ok", "d": {"K": "vv"}}`:                  "Additional properties are not allowed ('K' was unexpected)",
		`{"a": "ok", "d": {"k":"vv","l":"vv","m":"vv"}}`: "too many properties",
		`{"a": "ok", "e": "true"}`:                       "'true' is not one of [True, 'True']",
		`{"a": "ok", "f": "x"}`:                          "not valid under any",
		`{"a": "ok", "g": "?"}`:                          "is not a 'base64'",
		`{"a": "ok", "h": {"y": 1}}`:                     "not valid under any",
		`{"a": "ok", "h": {"x": 1, "y": 1, "z": 1}}`:     "valid under each",
		`{"a": "ok", "i": "bad"}`:                        "Value: 'bad'. it is bad",
		`{"a": "ok", "z": null}`:                         "Additional properties are not allowed ('z' was unexpected)",
	} {
		var got map[string]any
		err := wire.DecodeChecked(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), s, false, &got)
		if want == "" {
			require.NoError(t, err, body)
			require.Equal(t, "ok", got["a"])
			continue
		}
		require.ErrorIs(t, err, fault.ErrInvalid, body)
		require.Contains(t, err.Error(), want, body)
	}
	var got map[string]any
	require.NoError(t, wire.DecodeChecked(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a": "ok", "z": 1}`)), s, true, &got))
	require.ErrorIs(t, wire.DecodeChecked(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a": "ok"}`)), s, false, new([]int)), fault.ErrInvalid)
	require.NoError(t, (&wire.Schema{}).Validate(map[string]any{"x": nil}, true))
	require.Equal(t, `{'a\'': [None, True, False, 1]}`, wire.Python(map[string]any{"a'": []any{nil, true, false, 1}}))
}
