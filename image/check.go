package image

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kintoun/kintoun/internal/fault"
)

// maxText is the longest name, tag and property name in characters, as the Image API has it; maxValue bounds a
// property's value in bytes.
const (
	maxText  = 255
	maxValue = 65535
	maxMin   = 1<<31 - 1
)

// reserved are names that no property may have: they are an image's own attributes, or were once.
var reserved = []string{
	"id", "name", "status", "visibility", "protected", "os_hidden", "checksum", "os_hash_algo", "os_hash_value", "owner",
	"size", "virtual_size", "container_format", "disk_format", "created_at", "updated_at", "tags", "direct_url", "min_ram",
	"min_disk", "self", "file", "stores", "schema", "locations", "location", "deleted", "deleted_at",
}

// check says whether the scope may turn one image into the other, and the other makes sense.
func (s *Service) check(scope Scope, before, after *Image) error {
	if after.ProjectID != before.ProjectID && before.ID != "" && !scope.Admin {
		return fault.Wrap(ErrForbidden, "the owner can be changed by an administrator only")
	}
	if err := s.checkVisibility(scope, before.Visibility, after.Visibility); err != nil {
		return err
	}
	if err := checkFormats(before, after); err != nil {
		return err
	}
	switch {
	case utf8.RuneCountInString(after.Name) > maxText:
		return fault.Wrap(ErrInvalid, "the name is longer than %d characters", maxText)
	case !sane(after.Name):
		return fault.Wrap(ErrInvalid, "the name is not valid UTF-8 text")
	case after.MinDisk < 0 || after.MinDisk > maxMin:
		return fault.Wrap(ErrInvalid, "min_disk %d must be between 0 and %d", after.MinDisk, maxMin)
	case after.MinRAM < 0 || after.MinRAM > maxMin:
		return fault.Wrap(ErrInvalid, "min_ram %d must be between 0 and %d", after.MinRAM, maxMin)
	}
	if err := s.checkTags(after); err != nil {
		return err
	}
	return s.checkProperties(before.Properties, after.Properties)
}

func (s *Service) checkVisibility(scope Scope, before, after Visibility) error {
	switch after {
	case Public:
		if before != Public && !scope.Admin {
			return fault.Wrap(ErrForbidden, "you are not permitted to publish images")
		}
	case Private, Shared, Community:
	default:
		return fault.Wrap(ErrInvalid, "invalid visibility %.40q: it must be public, private, shared or community", after)
	}
	return nil
}

func checkFormats(before, after *Image) error {
	switch {
	case after.DiskFormat != "" && !slices.Contains(diskFormats, after.DiskFormat):
		return fault.Wrap(ErrInvalid, "invalid disk format %.40q for image", after.DiskFormat)
	case after.ContainerFormat != "" && !slices.Contains(containerFormats, after.ContainerFormat):
		return fault.Wrap(ErrInvalid, "invalid container format %.40q for image", after.ContainerFormat)
	case after.Status != Queued && (after.DiskFormat != before.DiskFormat || after.ContainerFormat != before.ContainerFormat):
		return fault.Wrap(ErrForbidden, "the formats of an image can be replaced only while it is queued")
	}
	for _, f := range []string{"aki", "ari", "ami"} {
		// The Amazon formats come in pairs.
		if (after.DiskFormat == f || after.ContainerFormat == f) && after.DiskFormat != "" && after.ContainerFormat != "" &&
			after.DiskFormat != after.ContainerFormat {
			return fault.Wrap(ErrInvalid, "invalid mix of disk format %s and container format %s: they must be the same, %s",
				after.DiskFormat, after.ContainerFormat, f)
		}
	}
	return nil
}

func (s *Service) checkTags(img *Image) error {
	img.Tags = slices.Compact(slices.Sorted(slices.Values(img.Tags)))
	if len(img.Tags) > s.options.MaxTags {
		return fault.Wrap(ErrTooLarge, "an image has at most %d tags", s.options.MaxTags)
	}
	for _, tag := range img.Tags {
		if utf8.RuneCountInString(tag) > maxText || !sane(tag) {
			return fault.Wrap(ErrInvalid, "tag %.40q is longer than %d characters or not valid text", tag, maxText)
		}
	}
	return nil
}

func (s *Service) checkProperties(before, after map[string]string) error {
	if len(after) > s.options.MaxProperties {
		return fault.Wrap(ErrTooLarge, "an image has at most %d properties", s.options.MaxProperties)
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		value := after[name]
		if old, had := before[name]; had && old == value {
			continue
		}
		switch {
		case slices.Contains(reserved, name), strings.HasPrefix(name, "os_glance"):
			return fault.Wrap(ErrForbidden, "attribute %q is reserved", name)
		case name == "" || utf8.RuneCountInString(name) > maxText || !sane(name):
			return fault.Wrap(ErrInvalid, "the name of a property is 1 to %d characters: %.40q is not", maxText, name)
		case len(value) > maxValue || !sane(value):
			return fault.Wrap(ErrInvalid, "the value of property %q is longer than %d bytes or not valid text", name, maxValue)
		case (name == "kernel_id" || name == "ramdisk_id") && !isUUID(value):
			return fault.Wrap(ErrInvalid, "%s %.40q is not an image's identifier", name, value)
		}
	}
	return nil
}

// sane is text that every database keeps.
func sane(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }

func cloneMap(m map[string]string) map[string]string { return maps.Clone(m) }
