//go:build linux

// Package labtest says of tests what they need from the machine: a lab (see package lab), or a program.
// What is missing skips a test; with KINTOUN_REQUIRE=all it fails it.
package labtest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
)

// Require skips the test outside a lab, and fails it instead where KINTOUN_REQUIRE=all is set.
func Require(t testing.TB) {
	t.Helper()
	if !lab.Inside() {
		Skip(t, "needs root, to make a lab (a network namespace of its own)")
	}
}

// RequireProgram skips the test, as [Require] does, where a program is not installed.
func RequireProgram(t testing.TB, name, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		Skip(t, fmt.Sprintf("needs %s: apt-get install %s", name, debianPackage))
	}
}

// RequireCeph skips the test, as [Require] does, where no cluster of Ceph's can be run in a lab (package ceph below package lab).
func RequireCeph(t testing.TB) {
	t.Helper()
	Require(t)
	for _, p := range [][2]string{{"ceph-mon", "ceph-mon"}, {"ceph-mgr", "ceph-mgr"}, {"ceph-osd", "ceph-osd"}, {"rbd", "ceph-common"}} {
		RequireProgram(t, p[0], p[1])
	}
}

// Skip skips a test that cannot run here, saying why; with KINTOUN_REQUIRE=all that is a failure.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("KINTOUN_REQUIRE") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}
