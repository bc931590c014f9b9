package image

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// stamp is a time in a form that sorts as text.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

var imageTable = record.Spec[Image]{
	Key:      func(i *Image) string { return i.ID },
	Revision: func(i *Image) *int64 { return &i.Revision },
	Event: func(i *Image) record.Event {
		return record.Event{Type: "image", Project: i.ProjectID, Status: string(i.Status)}
	},
	Unindexed: []string{
		"checksum", "container_format", "disk_format", "hidden", "labels", "min_disk", "min_ram", "os_hash_algo", "os_hash_value", "protected", "shared_id", "size",
	},
	Columns: []record.Column[Image]{
		{Name: string(ByName), Value: func(i *Image) any { return i.Name }},
		{Name: string(ByOwner), Value: func(i *Image) any { return i.ProjectID }},
		{Name: string(ByStatus), Value: func(i *Image) any { return string(i.Status) }},
		{Name: string(ByVisibility), Value: func(i *Image) any { return string(i.Visibility) }},
		{Name: string(ByDiskFormat), Value: func(i *Image) any { return i.DiskFormat }},
		{Name: string(ByContainerFormat), Value: func(i *Image) any { return i.ContainerFormat }},
		{Name: string(BySize), Value: func(i *Image) any {
			if i.Data == nil {
				return nil
			}
			return i.Data.Size
		}},
		{Name: string(ByCreatedAt), Value: func(i *Image) any { return stamp(i.CreatedAt) }},
		{Name: string(ByUpdatedAt), Value: func(i *Image) any { return stamp(i.UpdatedAt) }},
		{Name: string(ByChecksum), Value: func(i *Image) any { return i.data().Checksum }},
		{Name: string(ByHashAlgorithm), Value: func(i *Image) any { return i.data().HashAlgorithm }},
		{Name: string(ByHashValue), Value: func(i *Image) any { return i.data().HashValue }},
		{Name: string(ByMinDisk), Value: func(i *Image) any { return i.MinDisk }},
		{Name: string(ByMinRAM), Value: func(i *Image) any { return i.MinRAM }},
		{Name: "protected", Value: func(i *Image) any { return i.Protected }},
		{Name: "hidden", Value: func(i *Image) any { return i.Hidden }},
		// shared_id is the identifier of an image that members see.
		{Name: "shared_id", Value: func(i *Image) any {
			if i.Visibility != Shared {
				return nil
			}
			return i.ID
		}},
		{Name: "labels", Value: func(i *Image) any { return labels(i) }},
	},
}

func (i *Image) data() Data {
	if i.Data == nil {
		return Data{}
	}
	return *i.Data
}

// labels are the tags and properties as a text that can be searched for each exactly, whatever they hold.
func labels(i *Image) string {
	var b strings.Builder
	for _, tag := range i.Tags {
		b.WriteString(tagLabel(tag))
	}
	for _, name := range slices.Sorted(maps.Keys(i.Properties)) {
		b.WriteString(propertyLabel(name, i.Properties[name]))
	}
	return b.String()
}

func tagLabel(tag string) string              { return label("t" + tag) }
func propertyLabel(name, value string) string { return label("p" + name + "\x00" + value) }

func label(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:12]) + " "
}

var memberTable = record.Spec[Member]{
	Key:      func(m *Member) string { return memberKey(m.ImageID, m.ProjectID) },
	Revision: func(m *Member) *int64 { return &m.Revision },
	// It is told to the project that the image is shared with.
	Event: func(m *Member) record.Event {
		return record.Event{Type: "image_member", Project: m.ProjectID, Status: string(m.Status)}
	},
	Columns: []record.Column[Member]{
		{Name: "image", Value: func(m *Member) any { return m.ImageID }},
		{Name: "project", Value: func(m *Member) any { return m.ProjectID }},
		{Name: "status", Value: func(m *Member) any { return string(m.Status) }},
		{Name: "created_at", Value: func(m *Member) any { return stamp(m.CreatedAt) }},
	},
}

func memberKey(image, project string) string { return image + "/" + project }
