package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/quickstart"
	"github.com/kintoun/kintoun/examples/allinone/server"
)

// sshKey returns the public half of the quick start's key pair, made when missing.
func (s *options) sshKey(ctx context.Context) (string, error) {
	path := s.Path("id_ed25519")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", path).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	public, err := os.ReadFile(path + ".pub")
	return strings.TrimSpace(string(public)), err
}

// tell writes the files that clients read, and says how to go on.
func (s *options) tell(plan *quickstart.Plan) error {
	for path, content := range map[string]string{
		s.Path("openrc"):       plan.Demo.OpenRC(),
		s.Path("openrc-admin"): plan.Admin.OpenRC(),
		s.Path("clouds.yaml"):  cloud.CloudsYAML(map[string]cloud.Credentials{"kintoun": plan.Demo, "kintoun-admin": plan.Admin}),
	} {
		if err := server.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	fmt.Println()
	for _, service := range cloud.Services() {
		fmt.Printf("  %-12s %s\n", service, s.URL(service))
	}
	self, where := os.Args[0], ""
	if s.DataDir != "/var/lib/kintoun" {
		where = " -data " + s.DataDir
	}
	fmt.Printf(`
  source %[1]s          (demo; %[1]s-admin is the administrator)
  export OS_CLIENT_CONFIG_FILE=%[2]s OS_CLOUD=kintoun

  openstack server list
  %[3]s exec%[4]s -- ip netns
  %[3]s exec%[4]s -- ip netns exec qdhcp-NETWORK ssh -i %[5]s cirros@172.24.17.2
`, s.Path("openrc"), s.Path("clouds.yaml"), self, where, s.Path("id_ed25519"))
	return nil
}
