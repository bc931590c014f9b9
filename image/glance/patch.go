package glance

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// attributes are what an image has besides its owner's properties and may be written.
var attributes = []string{
	"name", "visibility", "protected", "os_hidden", "min_disk", "min_ram", "tags", "owner", "disk_format", "container_format",
}

var (
	readOnly = []string{
		"created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file", "schema", "id",
		"os_hash_algo", "os_hash_value", "stores",
	}
	forbidden = []string{"location", "deleted", "deleted_at"}
)

// writable says whether a client may write the attribute or property.
func writable(name string) error {
	switch {
	case slices.Contains(readOnly, name):
		return fault.Wrap(image.ErrForbidden, "Attribute '%s' is read-only.", name)
	case slices.Contains(forbidden, name), strings.HasPrefix(name, "os_glance"):
		return fault.Wrap(image.ErrForbidden, "Attribute '%s' is reserved.", name)
	case name == "locations":
		return fault.Wrap(image.ErrForbidden, "Attribute 'locations' is read-only: POST …/locations adds one to a queued image, DELETE /v2/stores/… removes one.")
	}
	return nil
}

// set writes one attribute or property.
func set(img *image.Image, name string, raw json.RawMessage) error {
	target := map[string]any{
		"name": &img.Name, "visibility": (*string)(&img.Visibility), "protected": &img.Protected, "os_hidden": &img.Hidden,
		"min_disk": &img.MinDisk, "min_ram": &img.MinRAM, "tags": &img.Tags, "owner": &img.ProjectID,
		"disk_format": &img.DiskFormat, "container_format": &img.ContainerFormat,
	}[name]
	null := bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
	switch name {
	case "name", "owner", "disk_format", "container_format":
		if null {
			*(target.(*string)) = ""
			return nil
		}
	case "kernel_id", "ramdisk_id":
		if null {
			delete(img.Properties, name)
			return nil
		}
	}
	if target != nil {
		return decode(name, raw, target)
	}
	var value string
	if err := decode(name, raw, &value); err != nil {
		return err
	}
	if img.Properties == nil {
		img.Properties = map[string]string{}
	}
	img.Properties[name] = value
	return nil
}

// decode reads a value, which null is not.
func decode(name string, raw json.RawMessage, target any) error {
	err := json.Unmarshal(raw, target)
	if err == nil && bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		err = errors.New("null")
	}
	if err != nil {
		return fault.Wrap(image.ErrInvalid, "Provided object does not match schema 'image': %.100s is not valid for '%.255s'", raw, name)
	}
	return nil
}

// change is one operation of a patch.
type change struct {
	op, name string
	value    json.RawMessage
	// fresh is an add of the older form, which does not replace.
	fresh bool
}

const (
	patchV20 = "application/openstack-images-v2.0-json-patch"
	patchV21 = "application/openstack-images-v2.1-json-patch"
)

func (a *api) update(w http.ResponseWriter, r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != patchV20 && kind != patchV21 {
		w.Header().Set("Accept-Patch", patchV20+", "+patchV21)
		return wire.WithStatus(http.StatusUnsupportedMediaType, errors.New("an image is updated with a patch of type "+patchV21))
	}
	var body []map[string]json.RawMessage
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	changes := make([]change, len(body))
	for i, raw := range body {
		var err error
		if changes[i], err = parseChange(raw, kind == patchV20); err != nil {
			return err
		}
	}
	id := r.PathValue("id")
	var img *image.Image
	var err error
	if len(changes) == 0 {
		img, err = a.images.Get(r.Context(), scope(r), id)
	} else {
		img, err = a.images.Update(r.Context(), scope(r), id, func(img *image.Image) error {
			for i := range changes {
				if err := changes[i].apply(img); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, a.view(r, img))
}

var operations = []string{"add", "remove", "replace"}

// parseChange reads an operation: {"op": "add", "path": "/x", "value": …}, or in the older form {"add": "/x", "value": …}.
func parseChange(raw map[string]json.RawMessage, older bool) (change, error) {
	if raw == nil {
		return change{}, fault.Wrap(image.ErrInvalid, "Operations must be JSON objects.")
	}
	c := change{fresh: older}
	var path string
	if older {
		for _, op := range operations {
			if _, ok := raw[op]; ok && c.op != "" {
				return c, fault.Wrap(image.ErrInvalid, `Operation objects must contain only one member named "add", "remove", or "replace".`)
			} else if ok {
				c.op = op
			}
		}
		if c.op == "" || json.Unmarshal(raw[c.op], &path) != nil {
			return c, fault.Wrap(image.ErrInvalid, `Operation objects must contain exactly one member named "add", "remove", or "replace", a pointer.`)
		}
	} else {
		if json.Unmarshal(raw["op"], &c.op) != nil || !slices.Contains(operations, c.op) {
			return c, fault.Wrap(image.ErrInvalid, "Invalid operation: `%.40s`. It must be one of the following: add, remove, replace.", raw["op"])
		}
		if json.Unmarshal(raw["path"], &path) != nil {
			return c, fault.Wrap(image.ErrInvalid, "Unable to find 'path' in JSON Schema change")
		}
	}
	var err error
	if c.name, err = pointer(path); err != nil {
		return c, err
	}
	var ok bool
	if c.value, ok = raw["value"]; !ok && c.op != "remove" {
		return c, fault.Wrap(image.ErrInvalid, `Operation %q requires a member named "value".`, c.op)
	}
	return c, nil
}

var badEscape = regexp.MustCompile(`~([^01]|$)`)

// pointer reads a JSON pointer (RFC 6901) to an attribute of an image.
func pointer(path string) (string, error) {
	name, ok := strings.CutPrefix(path, "/")
	switch {
	case !ok:
		return "", fault.Wrap(image.ErrInvalid, "Pointer `%.255s` does not start with \"/\".", path)
	case badEscape.MatchString(name):
		return "", fault.Wrap(image.ErrInvalid, "Pointer `%.255s` contains \"~\" not part of a recognized escape sequence.", path)
	case strings.HasPrefix(name, "locations/"):
		return "", writable("locations")
	case strings.Contains(name, "/"), strings.TrimSpace(name) == "":
		return "", fault.Wrap(image.ErrInvalid, "Invalid JSON pointer for this resource: '%.255s'", path)
	}
	return strings.TrimSpace(strings.NewReplacer("~1", "/", "~0", "~").Replace(name)), nil
}

func (c *change) apply(img *image.Image) error {
	if err := writable(c.name); err != nil {
		return err
	}
	attribute := slices.Contains(attributes, c.name)
	_, present := img.Properties[c.name]
	switch {
	case c.op == "remove" && attribute:
		return fault.Wrap(image.ErrForbidden, "Property %s may not be removed.", c.name)
	case c.op != "add" && !attribute && !present:
		return fault.Wrap(image.ErrConflict, "Property %s does not exist.", c.name)
	case c.op == "remove":
		delete(img.Properties, c.name)
		return nil
	case c.op == "add" && c.fresh && (attribute || present):
		return fault.Wrap(image.ErrConflict, "Property %s already present.", c.name)
	}
	return set(img, c.name, c.value)
}
