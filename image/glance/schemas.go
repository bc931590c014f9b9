package glance

import (
	"maps"
	"net/http"
	"slices"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/wire"
)

type object = map[string]any

const uuidPattern = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"

// property describes an attribute in JSON Schema; type "string?" is a string or null.
func property(kind, description string, more object) object {
	p := object{"type": kind, "description": description}
	if last := len(kind) - 1; kind[last] == '?' {
		p["type"] = []string{"null", kind[:last]}
	}
	maps.Copy(p, more)
	return p
}

func choice(values []string) object {
	list := []any{nil}
	for _, v := range values {
		list = append(list, v)
	}
	return object{"enum": list}
}

func imageSchema() object {
	fixed := object{"readOnly": true}
	custom := object{"is_base": false}
	reference := object{"is_base": false, "pattern": uuidPattern}
	return object{
		"name": "image",
		"properties": object{
			"id":               property("string", "An identifier for the image", object{"pattern": uuidPattern}),
			"name":             property("string?", "Descriptive name for the image", object{"maxLength": 255}),
			"status":           property("string", "Status of the image", object{"readOnly": true, "enum": []string{"queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"}}),
			"visibility":       property("string", "Scope of image accessibility", object{"enum": []string{"community", "public", "private", "shared"}}),
			"protected":        property("boolean", "If true, image will not be deletable.", nil),
			"os_hidden":        property("boolean", "If true, image will not appear in default image list response.", nil),
			"checksum":         property("string?", "MD5 hash of the image's data", object{"readOnly": true, "maxLength": 32}),
			"os_hash_algo":     property("string?", "Algorithm of os_hash_value", object{"readOnly": true, "maxLength": 64}),
			"os_hash_value":    property("string?", "Hash of the image's data in hexadecimal digits", object{"readOnly": true, "maxLength": 128}),
			"owner":            property("string?", "Owner of the image", object{"maxLength": 255}),
			"size":             property("integer?", "Size of image file in bytes", fixed),
			"virtual_size":     property("integer?", "Virtual size of image in bytes", fixed),
			"container_format": property("string?", "Format of the container", choice(image.ContainerFormats())),
			"disk_format":      property("string?", "Format of the disk", choice(image.DiskFormats())),
			"created_at":       property("string", "Date and time of image registration", fixed),
			"updated_at":       property("string", "Date and time of the last image modification", fixed),
			"tags":             property("array", "List of strings related to the image", object{"items": object{"type": "string", "maxLength": 255}}),
			"direct_url":       property("string", "URL to access the image file kept in external store", fixed),
			"min_ram":          property("integer", "Amount of ram (in MB) required to boot image.", nil),
			"min_disk":         property("integer", "Amount of disk space (in GB) required to boot image.", nil),
			"self":             property("string", "An image self url", fixed),
			"file":             property("string", "An image file url", fixed),
			"stores":           property("string", "Store in which image data resides", fixed),
			"schema":           property("string", "An image schema url", fixed),
			"locations": property("array", "A set of URLs to access the image file kept in external store", object{"items": object{
				"type": "object", "required": []string{"url", "metadata"},
				"properties": object{"url": object{"type": "string", "maxLength": 255}, "metadata": object{"type": "object"}},
			}}),
			"kernel_id":     property("string?", "ID of image stored in Glance that should be used as the kernel when booting an AMI-style image.", reference),
			"ramdisk_id":    property("string?", "ID of image stored in Glance that should be used as the ramdisk when booting an AMI-style image.", reference),
			"instance_uuid": property("string", "Identifier of the server that the image was made from", custom),
			"architecture":  property("string", "Processor architecture that the image needs", custom),
			"os_distro":     property("string", "Common name of the operating system's distribution, in lower case", custom),
			"os_version":    property("string", "Operating system version, as its distributor names it", custom),
		},
		"additionalProperties": object{"type": "string"},
		"links": []object{
			{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"},
		},
	}
}

func memberSchema() object {
	return object{
		"name": "member",
		"properties": object{
			"member_id":  property("string", "An identifier for the image member (tenantId)", nil),
			"image_id":   property("string", "An identifier for the image", object{"pattern": uuidPattern}),
			"created_at": property("string", "Date and time of image member creation", nil),
			"updated_at": property("string", "Date and time of last modification of image member", nil),
			"status":     property("string", "The status of this image member", object{"enum": []string{"pending", "accepted", "rejected"}}),
			"schema":     object{"readOnly": true, "type": "string"},
		},
		"additionalProperties": false,
	}
}

func taskSchema() object {
	fixed := object{"readOnly": true}
	return object{
		"name": "task",
		"properties": object{
			"id":         property("string", "An identifier for the task", object{"pattern": uuidPattern}),
			"type":       property("string", "What the task does", object{"enum": []string{"import", "api_image_import", "location_import"}}),
			"status":     property("string", "How far the task is", object{"enum": []string{"pending", "processing", "success", "failure"}}),
			"input":      property("object?", "What the task was given", nil),
			"result":     property("object?", "What came of the task", nil),
			"owner":      property("string", "Project that owns the task", nil),
			"message":    property("string", "What went wrong, if something did", nil),
			"image_id":   property("string", "Image that the task is about", nil),
			"request_id": property("string", "Request that started the task", nil),
			"user_id":    property("string", "User who started the task", nil),
			"expires_at": property("string?", "When the task may be forgotten", nil),
			"created_at": property("string", "When the task was created", nil),
			"updated_at": property("string", "When the task last changed", nil),
			"self":       property("string", "A task self url", fixed),
			"schema":     property("string", "A task schema url", fixed),
		},
	}
}

// collection is the schema of a list of items.
func collection(name string, item object) object {
	text := object{"type": "string"}
	return object{
		"name": name,
		"properties": object{
			name: object{"type": "array", "items": item}, "first": text, "next": text, "schema": text,
		},
		"links": []object{
			{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, {"rel": "describedby", "href": "{schema}"},
		},
	}
}

// schemas are those that the API describes itself with, by their paths below /v2/schemas.
func schemas() map[string]object {
	all := map[string]object{
		"image": imageSchema(), "images": collection("images", imageSchema()),
		"member": memberSchema(), "members": collection("members", memberSchema()),
		"task": taskSchema(), "tasks": collection("tasks", taskSchema()),
	}
	for _, m := range metadefs() {
		properties := object{}
		for _, name := range append([]string{"created_at", "updated_at", "description"}, m.required...) {
			properties[name] = object{"type": "string"}
		}
		schema := object{"name": m.name, "properties": properties, "required": m.required, "additionalProperties": false}
		all["metadefs/"+m.path], all["metadefs/"+m.paths] = schema, collection(m.items, schema)
	}
	return all
}

// metadef is what the catalogue of metadata definitions has: names, and what must be given.
type metadef struct {
	path, paths, name, items string
	required                 []string
}

func metadefs() []metadef {
	return []metadef{
		{"namespace", "namespaces", "namespace", "namespaces", []string{"namespace"}},
		{"object", "objects", "object", "objects", []string{"name"}},
		{"property", "properties", "property", "properties", []string{"name", "title", "type"}},
		{"tag", "tags", "tag", "tags", []string{"name"}},
		{"resource_type", "resource_types", "resource_type_association", "resource_type_associations", []string{"name"}},
	}
}

func schemaRoutes() []wire.Route {
	all := schemas()
	routes := make([]wire.Route, 0, len(all))
	for _, path := range slices.Sorted(maps.Keys(all)) {
		routes = append(routes, wire.Route{Method: "GET", Path: "/v2/schemas/" + path, Serve: func(w http.ResponseWriter, _ *http.Request) error {
			return wire.JSON(w, http.StatusOK, all[path])
		}})
	}
	return routes
}
