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

func networksSchema(minor int) *schema {
	card := record(map[string]*schema{"fixed_ip": typeIP("ip"), "port": typeUUIDOrNull(), "uuid": typeString()})
	if minor >= 32 && minor < 37 || minor >= 42 {
		card.properties["tag"] = typeTag()
	}
	if minor < 37 {
		return list(card)
	}
	card.properties["uuid"] = typeUUID()
	return either(list(card), words("none", "auto"))
}

func hintsSchema() *schema {
	ids := either(typeUUID(), list(typeUUID()))
	return &schema{types: []string{"object"}, others: anything(), properties: map[string]*schema{
		"group": ids, "different_host": ids, "same_host": ids,
	}}
}

func createSchema(minor int, legacy bool) *schema {
	properties := map[string]*schema{
		"name": typeName(), "imageRef": either(typeUUID(), &schema{types: []string{"string"}, pattern: nothing}),
		"flavorRef": {types: []string{"string", "integer"}, minLength: 1},
		"adminPass": typeString(), "metadata": typeMetadata(), "networks": networksSchema(minor),
		"OS-DCF:diskConfig": typeDiskConfig(), "accessIPv4": typeIP("ipv4"), "accessIPv6": typeIP("ipv6"),
		"personality":       list(record(map[string]*schema{"path": typeString(), "contents": {types: []string{"string"}, format: "base64"}})),
		"availability_zone": typeName(), "block_device_mapping": list(oldDeviceSchema()), "block_device_mapping_v2": list(deviceSchema(minor)),
		"config_drive": typeBoolean(), "key_name": typeName(), "min_count": bounded(1, maxInt), "max_count": bounded(1, maxInt),
		"return_reservation_id": typeBoolean(),
		"security_groups":       list(record(map[string]*schema{"name": typeName()})),
		"user_data":             {types: []string{"string"}, format: "base64", maxLength: 65535},
	}
	required := []string{"name", "flavorRef"}
	if legacy {
		properties["user_data"].types = []string{"string", "null"}
	}
	if minor >= 19 {
		properties["description"] = typeDescription()
	}
	if minor >= 37 {
		required = append(required, "networks")
	}
	if minor >= 52 {
		properties["tags"] = &schema{types: []string{"array"}, items: typeTag(), maxItems: 50}
	}
	if minor >= 57 {
		delete(properties, "personality")
	}
	if minor >= 63 {
		properties["trusted_image_certificates"] = &schema{types: []string{"array", "null"}, items: typeString(), maxItems: 50, unique: true}
	}
	if minor >= 74 {
		properties["host"], properties["hypervisor_hostname"] = typeFQDN(), typeFQDN()
	}
	if minor >= 90 {
		properties["hostname"] = hostnameSchema(minor)
	}
	return record(map[string]*schema{
		"server": record(properties, required...), "os:scheduler_hints": hintsSchema(), "OS-SCH-HNT:scheduler_hints": hintsSchema(),
	}, "server")
}

func hostnameSchema(minor int) *schema {
	if minor >= 94 {
		return typeFQDN()
	}
	return typeHostname()
}

func updateSchema(minor int) *schema {
	properties := map[string]*schema{
		"name": typeName(), "OS-DCF:diskConfig": typeDiskConfig(), "accessIPv4": typeIP("ipv4"), "accessIPv6": typeIP("ipv6"),
	}
	if minor >= 19 {
		properties["description"] = typeDescription()
	}
	if minor >= 90 {
		properties["hostname"] = hostnameSchema(minor)
	}
	return wrap("server", record(properties))
}
