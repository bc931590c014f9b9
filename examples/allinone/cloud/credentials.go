package cloud

import (
	"fmt"
	"strings"
)

// Credentials are what a client needs to log in.
type Credentials struct {
	AuthURL, Region         string
	User, Password, Project string
}

// Environ are the variables that OpenStack's clients look for, as os/exec wants them.
func (c Credentials) Environ() []string {
	return []string{
		"OS_AUTH_URL=" + c.AuthURL, "OS_IDENTITY_API_VERSION=3", "OS_REGION_NAME=" + c.Region,
		"OS_USERNAME=" + c.User, "OS_PASSWORD=" + c.Password, "OS_PROJECT_NAME=" + c.Project,
		"OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default",
	}
}

// OpenRC is the shell file that the command line clients are used with: `source openrc`.
func (c Credentials) OpenRC() string {
	var b strings.Builder
	for _, v := range c.Environ() {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
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
