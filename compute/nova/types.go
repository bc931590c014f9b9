package nova

import "github.com/kintoun/kintoun/internal/wire"

// The types that bodies are made of, as in Nova's parameter_types.

func kind(names ...string) *wire.Schema { return &wire.Schema{Types: names} }

// record is an object with the given properties and no others.
func record(properties map[string]*wire.Schema, required ...string) *wire.Schema {
	return &wire.Schema{Types: []string{"object"}, Properties: properties, Required: required}
}

// wrap is a body with one property.
func wrap(name string, inner *wire.Schema) *wire.Schema {
	return record(map[string]*wire.Schema{name: inner}, name)
}

func list(items *wire.Schema) *wire.Schema {
	return &wire.Schema{Types: []string{"array"}, Items: items}
}

func either(schemas ...*wire.Schema) *wire.Schema { return &wire.Schema{OneOf: schemas} }

func words(values ...any) *wire.Schema { return &wire.Schema{Types: []string{"string"}, Enum: values} }

func bounded(low, high int64) *wire.Schema {
	s := &wire.Schema{Types: []string{"integer", "string"}, Pattern: integerDigits, Minimum: &low, MinLength: 1}
	if high > 0 {
		s.Maximum = &high
	}
	return s
}

const maxInt = 0x7FFFFFFF

func typeString() *wire.Schema { return kind("string") }

func typeName() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, Check: checkName, MinLength: 1, MaxLength: 255}
}

func typeDescription() *wire.Schema {
	return &wire.Schema{Types: []string{"string", "null"}, MaxLength: 255}
}

func typeBoolean() *wire.Schema {
	return &wire.Schema{Types: []string{"boolean", "string"}, Enum: []any{
		true, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
		false, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no",
	}}
}

func typeUUID() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, Format: wire.FormatUUID()}
}

func typeUUIDOrNull() *wire.Schema {
	return &wire.Schema{Types: []string{"string", "null"}, Format: wire.FormatUUID()}
}

func typeTag() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, MinLength: 1, MaxLength: 60, Pattern: tagText}
}

func typeMetadata() *wire.Schema {
	return &wire.Schema{
		Types: []string{"object"}, Keys: metadataKey,
		Others: &wire.Schema{Types: []string{"string"}, MaxLength: 255},
	}
}

func typeHostname() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, MinLength: 2, MaxLength: 63, Pattern: hostLabel}
}

func typeFQDN() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255, Pattern: domainName}
}

func typeIP(format *wire.Format) *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, Format: format}
}

func typeProject() *wire.Schema {
	return &wire.Schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255, Pattern: dashed}
}

func typeDiskConfig() *wire.Schema { return words("AUTO", "MANUAL") }

// anything allows every value.
func anything() *wire.Schema { return &wire.Schema{} }
