package nova

// The types that bodies are made of, as in Nova's parameter_types.

func kind(names ...string) *schema { return &schema{types: names} }

// record is an object with the given properties and no others.
func record(properties map[string]*schema, required ...string) *schema {
	return &schema{types: []string{"object"}, properties: properties, required: required}
}

// wrap is a body with one property.
func wrap(name string, inner *schema) *schema { return record(map[string]*schema{name: inner}, name) }

func list(items *schema) *schema { return &schema{types: []string{"array"}, items: items} }

func either(schemas ...*schema) *schema { return &schema{oneOf: schemas} }

func words(values ...any) *schema { return &schema{types: []string{"string"}, enum: values} }

func bounded(low, high int64) *schema {
	s := &schema{types: []string{"integer", "string"}, pattern: integerDigits, minimum: &low, minLength: 1}
	if high > 0 {
		s.maximum = &high
	}
	return s
}

const maxInt = 0x7FFFFFFF

func typeString() *schema { return kind("string") }

func typeName() *schema {
	return &schema{types: []string{"string"}, format: "name", minLength: 1, maxLength: 255}
}

func typeDescription() *schema { return &schema{types: []string{"string", "null"}, maxLength: 255} }

func typeBoolean() *schema {
	return &schema{types: []string{"boolean", "string"}, enum: []any{
		true, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
		false, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no",
	}}
}

func typeUUID() *schema { return &schema{types: []string{"string"}, format: "uuid"} }

func typeUUIDOrNull() *schema { return &schema{types: []string{"string", "null"}, format: "uuid"} }

func typeTag() *schema {
	return &schema{types: []string{"string"}, minLength: 1, maxLength: 60, pattern: tagText}
}

func typeMetadata() *schema {
	return &schema{
		types: []string{"object"}, keys: metadataKey,
		others: &schema{types: []string{"string"}, maxLength: 255},
	}
}

func typeHostname() *schema {
	return &schema{types: []string{"string"}, minLength: 2, maxLength: 63, pattern: hostLabel}
}

func typeFQDN() *schema {
	return &schema{types: []string{"string"}, minLength: 1, maxLength: 255, pattern: domainName}
}

func typeIP(format string) *schema { return &schema{types: []string{"string"}, format: format} }

func typeProject() *schema {
	return &schema{types: []string{"string"}, minLength: 1, maxLength: 255, pattern: dashed}
}

func typeDiskConfig() *schema { return words("AUTO", "MANUAL") }

// anything allows every value.
func anything() *schema { return &schema{} }
