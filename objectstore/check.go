package objectstore

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kintoun/kintoun/internal/fault"
)

func checkText(what, text string) error {
	if !utf8.ValidString(text) {
		return fault.Wrap(ErrInvalid, "%s %.80q is not valid UTF-8", what, text)
	}
	if strings.ContainsRune(text, 0) {
		return fault.Wrap(ErrInvalid, "%s %.80q has a NUL in it", what, text)
	}
	return nil
}

func checkName(what, name string, longest int) error {
	if name == "" {
		return fault.Wrap(ErrInvalid, "%s has no name", what)
	}
	if len(name) > longest {
		return fault.Wrap(ErrInvalid, "%s name length of %d is longer than %d", what, len(name), longest)
	}
	return checkText(what+" name", name)
}

func (s *Service) checkAccount(id string) error {
	if strings.Contains(id, "/") {
		return fault.Wrap(ErrInvalid, "account name %.80q has a slash in it", id)
	}
	return checkName("account", id, s.options.MaxAccountNameLength)
}

func (s *Service) checkContainer(path Path) error {
	if err := s.checkAccount(path.Account); err != nil {
		return err
	}
	if strings.Contains(path.Container, "/") {
		return fault.Wrap(ErrInvalid, "container name %.80q has a slash in it", path.Container)
	}
	return checkName("container", path.Container, s.options.MaxContainerNameLength)
}

func (s *Service) checkObject(path Path) error {
	if err := s.checkContainer(path); err != nil {
		return err
	}
	return checkName("object", path.Object, s.options.MaxNameLength)
}

// checkMetadata checks what owners say of their things.
func (s *Service) checkMetadata(metadata map[string]string) error {
	o, size := &s.options, 0
	if len(metadata) > o.MaxMetadataCount {
		return fault.Wrap(ErrInvalid, "too many metadata items; max %d", o.MaxMetadataCount)
	}
	for name, value := range metadata {
		size += len(name) + len(value)
		switch {
		case name == "":
			return fault.Wrap(ErrInvalid, "metadata name cannot be empty")
		case len(name) > o.MaxMetadataNameLength:
			return fault.Wrap(ErrInvalid, "metadata name too long: %.40q…; max %d", name, o.MaxMetadataNameLength)
		case len(value) > o.MaxMetadataValueLength:
			return fault.Wrap(ErrInvalid, "metadata value longer than %d: %.40q", o.MaxMetadataValueLength, name)
		}
		if err := checkText("metadata "+name, name+value); err != nil {
			return err
		}
	}
	if size > o.MaxMetadataSize {
		return fault.Wrap(ErrInvalid, "total metadata too large; max %d", o.MaxMetadataSize)
	}
	return nil
}

func (s *Service) checkPairs(what string, pairs map[string]string) error {
	size := 0
	for name, value := range pairs {
		if err := checkText(what, name+value); err != nil {
			return err
		}
		size += len(name) + len(value)
	}
	if size > s.options.MaxHeaderSize {
		return fault.Wrap(ErrInvalid, "%s: %d bytes are more than %d", what, size, s.options.MaxHeaderSize)
	}
	return nil
}

// checkInfo checks what clients say of objects.
func (s *Service) checkInfo(info *ObjectInfo) error {
	if err := s.checkMetadata(info.Metadata); err != nil {
		return err
	}
	for what, pairs := range map[string]map[string]string{"headers": info.Headers, "tags": info.Tags, "checksums": info.Checksums, "content type": {"": info.ContentType}} {
		if err := s.checkPairs(what, pairs); err != nil {
			return err
		}
	}
	if !info.ExpiresAt.IsZero() && !info.ExpiresAt.After(s.now()) {
		return fault.Wrap(ErrInvalid, "the time to delete the object at is in the past")
	}
	if info.Segments != nil && info.SegmentPrefix != "" || info.Link != nil && (info.Segments != nil || info.SegmentPrefix != "") {
		return fault.Wrap(ErrInvalid, "an object is a static large object, a dynamic one, or a link, and not several of them")
	}
	return nil
}

// maxDocuments bounds what S3 keeps of a bucket, in bytes; its own bound for a policy is 20 KiB, for CORS 64 KiB.
const maxDocuments = 256 << 10

func (s *Service) checkSettings(set *Settings) (err error) {
	if err := s.checkMetadata(set.Metadata); err != nil {
		return err
	}
	if set.Read, err = ParseACL(set.Read, false); err != nil {
		return fmt.Errorf("read access: %w", err)
	}
	if set.Write, err = ParseACL(set.Write, true); err != nil {
		return fmt.Errorf("write access: %w", err)
	}
	size := len(set.Read) + len(set.Write) + len(set.SyncTo) + len(set.SyncKey)
	for name, document := range set.Documents {
		size += len(name) + len(document)
	}
	if size > maxDocuments {
		return fault.Wrap(ErrInvalid, "the container's settings are %d bytes, more than %d", size, maxDocuments)
	}
	switch set.Versioning {
	case "", VersioningEnabled, VersioningSuspended:
	default:
		return fault.Wrap(ErrInvalid, "versioning cannot be %.40q", set.Versioning)
	}
	archives := 0
	for _, place := range []string{set.VersionsLocation, set.HistoryLocation} {
		if place == "" {
			continue
		}
		archives++
		if strings.Contains(place, "/") {
			return fault.Wrap(ErrInvalid, "container name %.80q has a slash in it", place)
		}
		if err := checkName("container", place, s.options.MaxContainerNameLength); err != nil {
			return err
		}
	}
	if archives > 1 || archives == 1 && set.Versioning != "" {
		return fault.Wrap(ErrInvalid, "older versions are kept in one way, not in several")
	}
	return checkQuota(set.QuotaBytes, set.QuotaObjects)
}

func checkQuota(quotas ...*int64) error {
	for _, quota := range quotas {
		if quota != nil && *quota < 0 {
			return fault.Wrap(ErrInvalid, "a quota of %d cannot be", *quota)
		}
	}
	return nil
}

func checkAccess(access string) error {
	if access == "" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(access))
	d.DisallowUnknownFields()
	var lists accountAccess
	if err := d.Decode(&lists); err != nil {
		return fault.Wrap(ErrInvalid, "account access control: %v", err)
	}
	return nil
}
