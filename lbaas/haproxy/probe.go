//go:build linux

package haproxy

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

var versionPattern = regexp.MustCompile(`version (\d+)\.(\d+)`)

// Probe says what this host lacks to run balancers, with a [probe.Missing] for each thing; nil if nothing. It makes a named
// network namespace where nobody sees it, and has HAProxy say its version and check a configuration that uses everything;
// nothing is left of either. What the devices need, their plugger says. Of the options, Program counts.
func Probe(ctx context.Context, options *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := options.withDefaults()
	var errs []error
	_, err := user.Lookup("nobody")
	errs = append(errs, missingAccount("user", "adduser --system --no-create-home nobody", err))
	_, err = user.LookupGroup("nogroup")
	errs = append(errs, missingAccount("group", "addgroup --system nogroup", err))
	errs = append(errs, netns.Probe(), probeProgram(ctx, o))
	return probe.Join(errs...)
}

func missingAccount(kind, how string, err error) error {
	if err == nil {
		return nil
	}
	return &probe.Missing{What: kind + " " + map[string]string{"user": "nobody", "group": "nogroup"}[kind], Why: "HAProxy without privileges", How: how, Err: err}
}

// trialTime is how long HAProxy may take for each of its answers.
const trialTime = 10 * time.Second

func probeProgram(ctx context.Context, o Options) error {
	path, err := program(o.Program)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return missingVersion(fmt.Errorf("%s -v: %w", path, err))
	}
	if err := checkVersion(string(out)); err != nil {
		return err
	}
	return probeConfig(ctx, path, o)
}

// program finds HAProxy.
func program(name string) (string, error) { return process.Program(name, "balancers", "haproxy") }

// probeConfig has HAProxy check a configuration; it reads it from memory and opens nothing that the configuration names.
func probeConfig(ctx context.Context, path string, o Options) error {
	fd, err := unix.MemfdCreate("haproxy.cfg", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "haproxy.cfg")
	defer func() { _ = file.Close() }()
	d := &Driver{options: o}
	if _, err := file.WriteString(d.render(files("/probe"), trial()).text); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-c", "-f", "/dev/fd/3")
	cmd.ExtraFiles = []*os.File{file}
	if out, err := cmd.CombinedOutput(); err != nil {
		return missingVersion(fmt.Errorf("it refuses a configuration: %w: %.300s", err, out))
	}
	return nil
}

// trial is a balancer that uses what HAProxy may have been built without.
func trial() driver.Balancer {
	return driver.Balancer{
		ID: "probe", Method: driver.RoundRobin, Protocol: driver.HTTP,
		Frontend:    driver.Frontend{Address: netip.MustParsePrefix("192.0.2.1/24"), Port: 80},
		Members:     []driver.Member{{ID: "one", Address: netip.MustParseAddr("192.0.2.2"), Port: 80, Weight: 1}},
		Monitors:    []driver.Monitor{{ID: "alive", Type: "HTTPS", Delay: time.Second, Timeout: time.Second, MaxRetries: 1, HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200"}},
		Persistence: &driver.Persistence{Type: "HTTP_COOKIE"},
	}
}

func missingVersion(err error) error {
	return &probe.Missing{What: "HAProxy 2.6 or later", Why: "balancers", How: "apt-get install haproxy (Debian 12 or later)", Err: err}
}

// checkVersion wants HAProxy 2.6, the first with checks of members that were added at run time in a release with
// long support.
func checkVersion(text string) error {
	found := versionPattern.FindStringSubmatch(text)
	if found == nil {
		return missingVersion(fmt.Errorf("it does not say its version: %.80q", text))
	}
	major, errMajor := strconv.Atoi(found[1])
	minor, errMinor := strconv.Atoi(found[2])
	if errMajor != nil || errMinor != nil || major < 2 || (major == 2 && minor < 6) {
		return missingVersion(fmt.Errorf("this is %s.%s", found[1], found[2]))
	}
	return nil
}
