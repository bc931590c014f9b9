//go:build linux

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

var versionPattern = regexp.MustCompile(`version (\d+)\.(\d+)`)

// Probe says what the host lacks to run balancers, each thing with what to do about it; nil is nothing.
// The errors are of the kind ErrUnsupported.
func Probe(ctx context.Context, options *Options) error {
	o := options.withDefaults()
	var missing []error
	if os.Geteuid() != 0 {
		missing = append(missing, fault.Wrap(ErrUnsupported, "balancers need root, to make network namespaces"))
	}
	if _, err := user.Lookup("nobody"); err != nil {
		missing = append(missing, fault.Wrap(ErrUnsupported, "HAProxy runs as user nobody: %v", err))
	}
	if _, err := user.LookupGroup("nogroup"); err != nil {
		missing = append(missing, fault.Wrap(ErrUnsupported, "HAProxy runs as group nogroup: %v", err))
	}
	missing = append(missing, probeVersion(ctx, o.Program))
	return errors.Join(missing...)
}

func probeVersion(ctx context.Context, program string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fault.Wrap(ErrUnsupported, "HAProxy: %v: apt-get install haproxy", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	if err != nil {
		return fault.Wrap(ErrUnsupported, "%s -v: %v", path, err)
	}
	return checkVersion(string(out))
}

// checkVersion wants HAProxy 2.6, the first with checks of members that were added at run time in a release with
// long support.
func checkVersion(text string) error {
	found := versionPattern.FindStringSubmatch(text)
	if found == nil {
		return fault.Wrap(ErrUnsupported, "HAProxy does not say its version: %.80q", text)
	}
	major, errMajor := strconv.Atoi(found[1])
	minor, errMinor := strconv.Atoi(found[2])
	if errMajor != nil || errMinor != nil || major < 2 || (major == 2 && minor < 6) {
		return fault.Wrap(ErrUnsupported, "HAProxy %s is too old, 2.6 or later is needed", fmt.Sprintf("%s.%s", found[1], found[2]))
	}
	return nil
}
