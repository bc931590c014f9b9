//go:build linux

package haproxy_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "haproxy", "haproxy")
	t.Run("without CAP_SYS_ADMIN", func(t *testing.T) {
		says := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error { return haproxy.Probe(t.Context(), nil) })
		require.Contains(t, says, "CAP_SYS_ADMIN: missing, needed for network namespaces: run as root")
	})
	labtest.Traceless(t, func(ctx context.Context) error { return haproxy.Probe(ctx, nil) })
}

func TestProbeOfOtherHAProxies(t *testing.T) {
	labtest.Require(t)
	fake := func(script string) *haproxy.Options {
		program := filepath.Join(t.TempDir(), "haproxy")
		require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755))
		return &haproxy.Options{Program: program}
	}
	for _, c := range []struct {
		name    string
		options *haproxy.Options
		says    string
	}{
		{"none", &haproxy.Options{Program: "no-such-haproxy"}, "no-such-haproxy: missing, needed for balancers: apt-get install haproxy (exec"},
		{"an old one", fake("echo HA-Proxy version 2.2.9"), "HAProxy 2.6 or later: missing, needed for balancers: apt-get install haproxy (Debian 12 or later) (this is 2.2)"},
		{"a broken one", fake("exit 127"), "-v: exit status 127"},
		{"another program", fake("echo nginx"), "it does not say its version"},
		{"one without TLS", fake("echo HAProxy version 2.6.0; test $1 = -v || { echo 'no ssl'; exit 1; }"), "it refuses a configuration: exit status 1: HAProxy version 2.6.0\nno ssl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := haproxy.Probe(t.Context(), c.options)
			require.ErrorIs(t, err, haproxy.ErrUnavailable)
			require.ErrorContains(t, err, c.says)
			require.Len(t, probe.All(err), 1)
		})
	}
}
