package cloud

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Credentials are what a client needs to log in.
type Credentials struct {
	AuthURL, Region         string
	User, Password, Project string
}

// Admin returns the administrator's credentials, made at the first start and kept in the data directory.
func (o *Options) Admin() (Credentials, error) {
	password, err := Secret(o.adminPasswordFile(), o.AdminPassword)
	return o.credentials("admin", "admin", password), err
}

func (o *Options) adminPasswordFile() string { return o.Path("admin-password") }

// Demo returns the credentials of the ordinary user that the quick start makes.
func (o *Options) Demo() (Credentials, error) {
	password, err := Secret(o.Path("demo-password"), "")
	return o.credentials("demo", "demo", password), err
}

func (o *Options) credentials(user, project, password string) Credentials {
	return Credentials{AuthURL: o.URL(Identity) + "/v3", Region: o.Region, User: user, Password: password, Project: project}
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

// OpenRC is the shell file that the command line clients are used with: `source openrc`.
func (c Credentials) OpenRC() string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"OS_AUTH_URL", c.AuthURL}, {"OS_IDENTITY_API_VERSION", "3"}, {"OS_REGION_NAME", c.Region},
		{"OS_USERNAME", c.User}, {"OS_PASSWORD", c.Password}, {"OS_PROJECT_NAME", c.Project},
		{"OS_USER_DOMAIN_NAME", "Default"}, {"OS_PROJECT_DOMAIN_NAME", "Default"},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	return b.String()
}

// CloudsYAML is the configuration file of openstacksdk, gophercloud and OpenTofu with one cloud per user.
func CloudsYAML(clouds map[string]Credentials) string {
	var b strings.Builder
	b.WriteString("clouds:\n")
	for _, name := range []string{"kintoun", "kintoun-admin"} {
		c, ok := clouds[name]
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "  %s:\n    region_name: %q\n    identity_api_version: 3\n    auth:\n", name, c.Region)
		for _, v := range [][2]string{
			{"auth_url", c.AuthURL}, {"username", c.User}, {"password", c.Password}, {"project_name", c.Project},
			{"user_domain_name", "Default"}, {"project_domain_name", "Default"},
		} {
			fmt.Fprintf(&b, "      %s: %q\n", v[0], v[1])
		}
	}
	return b.String()
}
