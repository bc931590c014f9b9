//go:build linux

package qemu_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	o := options(t)
	labtest.Traceless(t, func(ctx context.Context) error { return qemu.Probe(ctx, o) })
	left, err := os.ReadDir(o.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, qemu.Probe(t.Context(), nil))
}

func TestProbeNamesAllThatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := qemu.Probe(t.Context(), nil)
	require.ErrorIs(t, err, qemu.ErrUnavailable)
	require.ErrorIs(t, err, exec.ErrNotFound)
	all := probe.All(err)
	require.Len(t, all, 2)
	require.Equal(t, "qemu-img", all[0].What)
	require.Equal(t, "apt-get install qemu-utils", all[0].How)
	require.Equal(t, "qemu-system-x86_64", all[1].What)
	require.Equal(t, "apt-get install qemu-system-x86", all[1].How)
}

func TestProbeOfWhatDoesNotRun(t *testing.T) {
	o := options(t)
	broken := filepath.Join(o.Dir, "qemu")
	require.NoError(t, os.Chmod(o.Dir, 0o755))
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\necho 'no such machine: q35'\nexit 1\n"), 0o755))
	o.Binary = broken
	require.ErrorContains(t, qemu.Probe(t.Context(), o), "a QEMU that runs a guest: missing, needed for servers: apt-get install qemu-system-x86 (7.2 or later) (no such machine: q35)")

	o = options(t)
	o.Accelerator = "warp"
	require.ErrorIs(t, qemu.Probe(t.Context(), o), qemu.ErrInvalid)
	o.Accelerator, o.User = "tcg", "no-such-user"
	if os.Geteuid() == 0 {
		require.ErrorContains(t, qemu.Probe(t.Context(), o), "an account for servers: missing")
	}
}
