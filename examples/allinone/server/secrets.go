package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/secrets"
)

// Admin returns the administrator's credentials, made at the first start and kept in the data directory.
func (o *Options) Admin() (cloud.Credentials, error) {
	password, err := Secret(o.adminPasswordFile(), o.AdminPassword)
	return o.credentials("admin", "admin", password), err
}

func (o *Options) adminPasswordFile() string { return o.Path("admin-password") }

// Demo returns the credentials of the ordinary user that the quick start makes.
func (o *Options) Demo() (cloud.Credentials, error) {
	password, err := Secret(o.Path("demo-password"), "")
	return o.credentials("demo", "demo", password), err
}

func (o *Options) credentials(user, project, password string) cloud.Credentials {
	return cloud.Credentials{AuthURL: o.URL(cloud.Identity) + "/v3", Region: o.Region, User: user, Password: password, Project: project}
}

// secretsKey seals the keys of encrypted volumes. It is made at the first start.
func (o *Options) secretsKey() ([]byte, error) {
	fresh := make([]byte, secrets.KeySize)
	_, _ = rand.Read(fresh) // it never fails
	path := o.Path("secrets-key")
	text, err := Secret(path, hex.EncodeToString(fresh))
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(text)
	if err == nil && len(key) != secrets.KeySize {
		err = hex.ErrLength
	}
	if err != nil {
		return nil, fmt.Errorf("the key of secrets in %s is not %d hexadecimal digits: put back a copy of it, encrypted volumes cannot be opened without it: %w", path, 2*secrets.KeySize, err)
	}
	return key, nil
}

// Secret returns what the file holds; a new file is made, readable for its owner only, with the given secret or,
// without one, a random one.
func Secret(path, secret string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil && len(data) > 0 {
		return strings.TrimSpace(string(data)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if secret == "" {
		secret = rand.Text()
	}
	return secret, WriteFile(path, secret+"\n", 0o600)
}

// WriteFile replaces the file as a whole: a reader, or a restart after a crash, sees the old one or the new one.
func WriteFile(path, content string, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
