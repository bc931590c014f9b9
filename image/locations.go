package image

import (
	"strings"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/fault"
)

// Location is where a content is kept. It tells users of the cloud's inside, and is not for all of them.
type Location struct {
	// URL is the store's own name for the content, such as "file:///var/lib/images/refs/x"; of stores that have none, a name that
	// says the store.
	URL   string
	Store string
}

// Locations are where the image's content is, the one that is read before the others; none if it has no content.
func (s *Service) Locations(img *Image) []Location {
	if img.Data == nil {
		return nil
	}
	var all []Location
	for _, at := range s.places(img.Data) {
		url := s.stores[at.store].Kind() + "://" + at.store + "/" + at.ref
		if locator, ok := s.stores[at.store].(driver.Locator); ok {
			url = locator.URL(at.ref)
		}
		all = append(all, Location{URL: url, Store: at.store})
	}
	return all
}

// Expected are checksums that a content must have, in hexadecimal digits; what is empty is not looked at.
type Expected struct {
	// Checksum is the MD5.
	Checksum string `json:",omitempty"`
	// HashAlgorithm is "sha512" where HashValue is given.
	HashAlgorithm string `json:",omitempty"`
	HashValue     string `json:",omitempty"`
}

// check refuses what no content can have.
func (e Expected) check() error {
	switch {
	case e.HashValue == "" && e.HashAlgorithm == "":
	case e.HashAlgorithm != hashAlgorithm:
		return fault.Wrap(ErrInvalid, "os_hash_algo must be %s, which contents are hashed with", hashAlgorithm)
	case !isHex(e.HashValue, 128):
		return fault.Wrap(ErrInvalid, "os_hash_value must be 128 hexadecimal digits")
	}
	if e.Checksum != "" && !isHex(e.Checksum, 32) {
		return fault.Wrap(ErrInvalid, "checksum must be 32 hexadecimal digits")
	}
	return nil
}

func isHex(text string, digits int) bool {
	return len(text) == digits && strings.Trim(strings.ToLower(text), "0123456789abcdef") == ""
}

// of says whether the content is the expected one.
func (e Expected) of(d *Data) error {
	if e.HashValue != "" && !strings.EqualFold(e.HashValue, d.HashValue) {
		return fault.Wrap(ErrConflict, "the content's os_hash_value is %s, not the expected one", d.HashValue)
	}
	if e.Checksum != "" && !strings.EqualFold(e.Checksum, d.Checksum) {
		return fault.Wrap(ErrConflict, "the content's checksum is %s, not the expected one", d.Checksum)
	}
	return nil
}
