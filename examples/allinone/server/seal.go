package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/sealedobjects"
)

// seal encrypts what the store keeps, if there is a key.
func (o *Options) seal(store driver.Store) (driver.Store, error) {
	if o.ObjectsKey == "" {
		return store, nil
	}
	text, err := os.ReadFile(o.ObjectsKey)
	if err != nil {
		return nil, fmt.Errorf("the key of objects: %w: make one with `openssl rand -hex %d >FILE`, and keep a copy", err, sealedobjects.KeySize)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err == nil && len(key) != sealedobjects.KeySize {
		err = errors.New("its length is another")
	}
	if err != nil {
		return nil, fmt.Errorf("the key of objects in %s is not %d hexadecimal digits", o.ObjectsKey, 2*sealedobjects.KeySize)
	}
	return sealedobjects.New(store, key)
}
