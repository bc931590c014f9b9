package cinder

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/kintoun/kintoun/internal/wire"
)

var errNotDictionary = errors.New("it is not a dictionary of texts")

// dictionary reads a filter such as {'key': 'value'}, a dictionary as Python writes it, or as JSON.
func dictionary(text string) (map[string]string, error) {
	var values map[string]any
	if json.Unmarshal([]byte(text), &values) == nil {
		all := make(map[string]string, len(values))
		for key, value := range values {
			s, ok := value.(string)
			if !ok {
				s = wire.Python(value)
			}
			all[key] = s
		}
		return all, nil
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if !ok {
		return nil, errNotDictionary
	}
	all := map[string]string{}
	for {
		rest = strings.TrimLeft(rest, " ,")
		if rest == "}" {
			return all, nil
		}
		key, after, ok := literal(rest)
		if !ok {
			return nil, errNotDictionary
		}
		after, ok = strings.CutPrefix(strings.TrimLeft(after, " "), ":")
		if !ok {
			return nil, errNotDictionary
		}
		value, after, ok := literal(strings.TrimLeft(after, " "))
		if !ok {
			return nil, errNotDictionary
		}
		all[key], rest = value, after
	}
}

// literal reads one text of Python's, or the bare word of a number or truth value.
func literal(s string) (value, rest string, ok bool) {
	s = strings.TrimPrefix(s, "u") // as Python 2 marked its texts
	if s == "" {
		return "", "", false
	}
	quote := s[0]
	if quote != '\'' && quote != '"' {
		end := strings.IndexAny(s, ",}: ")
		if end <= 0 {
			return "", "", false
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == quote:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
