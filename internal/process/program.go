//go:build linux

package process

import (
	"os/exec"

	"github.com/kintoun/kintoun/probe"
)

// Program finds a program on PATH, or by its path. The error is a [probe.Missing] that names the Debian package.
func Program(name, why, debianPackage string) (path string, err error) {
	if path, err = exec.LookPath(name); err != nil {
		return "", &probe.Missing{What: name, Why: why, How: "apt-get install " + debianPackage, Err: err}
	}
	return path, nil
}
