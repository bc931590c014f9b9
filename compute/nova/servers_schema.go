package nova

import (
	"github.com/kintoun/kintoun/internal/wire"
)

// createServer is the body of POST /servers.
type createServer struct {
	Server struct {
		Name             string
		ImageRef         string
		FlavorRef        text
		AdminPass        string
		Metadata         map[string]string
		Networks         networksField
		KeyName          *string                 `json:"key_name"`
		UserData         *string                 `json:"user_data"`
		SecurityGroups   []struct{ Name string } `json:"security_groups"`
		AvailabilityZone *string                 `json:"availability_zone"`
		ConfigDrive      wire.Bool               `json:"config_drive"`
		MinCount         *wire.Int               `json:"min_count"`
		MaxCount         *wire.Int               `json:"max_count"`
		ReservationID    wire.Bool               `json:"return_reservation_id"`
		DiskConfig       string                  `json:"OS-DCF:diskConfig"`
		AccessIPv4       string
		AccessIPv6       string
		Personality      []any
		OldDevices       []device `json:"block_device_mapping"`
		Devices          []device `json:"block_device_mapping_v2"`
		Description      *string
		Tags             []string
		TrustedCerts     []string `json:"trusted_image_certificates"`
		Host             string
		Hypervisor       string `json:"hypervisor_hostname"`
		Hostname         string
	}
	Hints    *hints `json:"os:scheduler_hints"`
	OldHints *hints `json:"OS-SCH-HNT:scheduler_hints"`
}

type hints struct {
	Group         textList
	SameHost      textList `json:"same_host"`
	DifferentHost textList `json:"different_host"`
}

func networksSchema(minor int) *wire.Schema {
	card := record(map[string]*wire.Schema{"fixed_ip": typeIP(formatIP()), "port": typeUUIDOrNull(), "uuid": typeString()})
	if minor >= 32 && minor < 37 || minor >= 42 {
		card.Properties["tag"] = typeTag()
	}
	if minor < 37 {
		return list(card)
	}
	card.Properties["uuid"] = typeUUID()
	return either(list(card), words("none", "auto"))
}

func hintsSchema() *wire.Schema {
	ids := either(typeUUID(), list(typeUUID()))
	return &wire.Schema{Types: []string{"object"}, Others: anything(), Properties: map[string]*wire.Schema{
		"group": ids, "different_host": ids, "same_host": ids,
	}}
}

func createSchema(minor int, legacy bool) *wire.Schema {
	properties := map[string]*wire.Schema{
		"name": typeName(), "imageRef": either(typeUUID(), &wire.Schema{Types: []string{"string"}, Pattern: nothing}),
		"flavorRef": {Types: []string{"string", "integer"}, MinLength: 1},
		"adminPass": typeString(), "metadata": typeMetadata(), "networks": networksSchema(minor),
		"OS-DCF:diskConfig": typeDiskConfig(), "accessIPv4": typeIP(formatIPv4()), "accessIPv6": typeIP(formatIPv6()),
		"personality":       list(record(map[string]*wire.Schema{"path": typeString(), "contents": {Types: []string{"string"}, Format: wire.FormatBase64()}})),
		"availability_zone": typeName(), "block_device_mapping": list(oldDeviceSchema()), "block_device_mapping_v2": list(deviceSchema(minor)),
		"config_drive": typeBoolean(), "key_name": typeName(), "min_count": bounded(1, maxInt), "max_count": bounded(1, maxInt),
		"return_reservation_id": typeBoolean(),
		"security_groups":       list(record(map[string]*wire.Schema{"name": typeName()})),
		"user_data":             {Types: []string{"string"}, Format: wire.FormatBase64(), MaxLength: 65535},
	}
	required := []string{"name", "flavorRef"}
	if legacy {
		properties["user_data"].Types = []string{"string", "null"}
	}
	if minor >= 19 {
		properties["description"] = typeDescription()
	}
	if minor >= 37 {
		required = append(required, "networks")
	}
	if minor >= 52 {
		properties["tags"] = &wire.Schema{Types: []string{"array"}, Items: typeTag(), MaxItems: 50}
	}
	if minor >= 57 {
		delete(properties, "personality")
	}
	if minor >= 63 {
		properties["trusted_image_certificates"] = &wire.Schema{Types: []string{"array", "null"}, Items: typeString(), MaxItems: 50, Unique: true}
	}
	if minor >= 74 {
		properties["host"], properties["hypervisor_hostname"] = typeFQDN(), typeFQDN()
	}
	if minor >= 90 {
		properties["hostname"] = hostnameSchema(minor)
	}
	return record(map[string]*wire.Schema{
		"server": record(properties, required...), "os:scheduler_hints": hintsSchema(), "OS-SCH-HNT:scheduler_hints": hintsSchema(),
	}, "server")
}

func hostnameSchema(minor int) *wire.Schema {
	if minor >= 94 {
		return typeFQDN()
	}
	return typeHostname()
}

func updateSchema(minor int) *wire.Schema {
	properties := map[string]*wire.Schema{
		"name": typeName(), "OS-DCF:diskConfig": typeDiskConfig(), "accessIPv4": typeIP(formatIPv4()), "accessIPv6": typeIP(formatIPv6()),
	}
	if minor >= 19 {
		properties["description"] = typeDescription()
	}
	if minor >= 90 {
		properties["hostname"] = hostnameSchema(minor)
	}
	return wrap("server", record(properties))
}
