//go:build linux

package ovsgre_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/ovsgre"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "ovs-vswitchd", "openvswitch-switch")
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return ovsgre.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	t.Run("without CAP_NET_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_NET_ADMIN}, func() error { return ovsgre.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_NET_ADMIN: missing, needed for network devices: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return ovsgre.Probe(ctx, nil) })
}

func TestProbeWithoutPrograms(t *testing.T) {
	labtest.Require(t)
	t.Setenv("PATH", t.TempDir())
	err := ovsgre.Probe(t.Context(), nil)
	require.ErrorIs(t, err, ovsgre.ErrUnavailable)
	require.ErrorIs(t, err, exec.ErrNotFound)
	var names []string
	for _, m := range probe.All(err) {
		names = append(names, m.What)
		require.Equal(t, "apt-get install openvswitch-switch", m.How)
	}
	require.Equal(t, []string{"ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-ofctl"}, names)
	_, err = ovsgre.New(t.Context(), nil, &ovsgre.Options{RunDir: t.TempDir()})
	require.ErrorIs(t, err, ovsgre.ErrUnavailable)
}

func TestProbeOfAProgramThatDoesNotRun(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "ovs-vswitchd", "openvswitch-switch")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ovs-ofctl"), []byte("#!/bin/sh\necho no library; exit 127\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	err := ovsgre.Probe(t.Context(), nil)
	require.ErrorContains(t, err, "ovs-ofctl: missing, needed for flows: apt-get install --reinstall openvswitch-switch, this one does not run (exit status 127: no library")
	require.Len(t, probe.All(err), 1)
}
