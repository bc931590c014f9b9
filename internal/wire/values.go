package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Int is a number that clients may send as a string ("80"), as Debian's neutron client does.
type Int int64

// UnmarshalJSON accepts 80 and "80".
func (i *Int) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not an integer", text)
	}
	*i = Int(n)
	return nil
}

// Bool is a truth value that clients may send as a string ("True") or number.
type Bool bool

// UnmarshalJSON accepts true, "true", "True", 1 and the like.
func (b *Bool) UnmarshalJSON(data []byte) error {
	v, err := ParseBool(strings.Trim(string(data), `"`))
	*b = Bool(v)
	return err
}

// ParseBool reads the truth values that OpenStack's APIs take: true, True, 1, yes, on, t, y and their opposites.
func ParseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes", "on", "t", "y":
		return true, nil
	case "false", "0", "no", "off", "f", "n":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean", text)
}

// Optional tells a field that was left out from one that was null and one that has a value.
type Optional[T any] struct {
	// Set says that the field was there, Null that it was null.
	Set, Null bool
	Value     T
}

// UnmarshalJSON notes that the field was there.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	o.Set = true
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		o.Null = true
		return nil
	}
	return json.Unmarshal(data, &o.Value)
}
