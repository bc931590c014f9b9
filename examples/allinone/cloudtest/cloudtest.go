// Package cloudtest gives a test a whole OpenStack-compatible cloud of its own: Keystone, Glance, Nova, Neutron and LBaaS
// on real HTTP, in the test's own process, in milliseconds.
//
//	func TestMyController(t *testing.T) {
//		c := cloudtest.New(t)
//		provider, err := openstack.AuthenticatedClient(t.Context(), c.AuthOptions())
//		…
//	}
//
// The cloud has an administrator, an ordinary user demo, devstack's flavors, a public image cirros, the networks private
// and public with a router between them, and one host. It ends with the test. Tests may run in parallel, each with its
// own. What a cloud does to its users is in the test's hand: see package memcloud for hosts and the clock, and package
// inject for faults. Nothing is needed of the machine.
//
// It speaks to any client: gophercloud by [Cloud.AuthOptions], programs by [Cloud.Environ] or [Cloud.WriteCloudsYAML].
package cloudtest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
)

// Cloud is a test's cloud.
type Cloud struct {
	*memcloud.Cloud
	t testing.TB
}

// New starts a cloud for the test, and ends it with the test.
func New(t testing.TB) *Cloud {
	t.Helper()
	return NewWith(t, nil)
}

// NewWith is [New] with options; nil is fine.
func NewWith(t testing.TB, options *memcloud.Options) *Cloud {
	t.Helper()
	c, err := memcloud.Start(context.Background(), options)
	if err != nil {
		t.Fatalf("cloudtest: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("cloudtest: %v", err)
		}
		if !t.Failed() {
			return
		}
		for _, idle := range c.Faults.Idle() {
			t.Logf("cloudtest: the fault %+v never met a step: is it spelt as package inject says?", idle)
		}
	})
	return &Cloud{Cloud: c, t: t}
}

// AuthOptions are the ordinary user's for gophercloud. Tokens are renewed by themselves.
func (c *Cloud) AuthOptions() gophercloud.AuthOptions { return authOptions(c.Demo()) }

// AdminAuthOptions are the administrator's for gophercloud.
func (c *Cloud) AdminAuthOptions() gophercloud.AuthOptions { return authOptions(c.Admin()) }

func authOptions(who cloud.Credentials) gophercloud.AuthOptions {
	return gophercloud.AuthOptions{
		IdentityEndpoint: who.AuthURL, Username: who.User, Password: who.Password, DomainName: "Default",
		TenantName: who.Project, AllowReauth: true,
	}
}

// EndpointOpts say which region's endpoints gophercloud looks for.
func (c *Cloud) EndpointOpts() gophercloud.EndpointOpts {
	return gophercloud.EndpointOpts{Region: c.Admin().Region}
}

// Environ is the environment of this process with the ordinary user's OS_ variables in it, for os/exec.
func (c *Cloud) Environ() []string { return append(os.Environ(), c.Demo().Environ()...) }

// AdminEnviron is the same for the administrator.
func (c *Cloud) AdminEnviron() []string { return append(os.Environ(), c.Admin().Environ()...) }

// WriteCloudsYAML writes a clouds.yaml with the clouds "kintoun" (the ordinary user) and "kintoun-admin" into the test's
// directory and returns its path, for OS_CLIENT_CONFIG_FILE.
func (c *Cloud) WriteCloudsYAML() string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(path, []byte(c.CloudsYAML()), 0o600); err != nil {
		c.t.Fatalf("cloudtest: %v", err)
	}
	return path
}
