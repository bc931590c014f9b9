//go:build linux

// Package outside_test proves that this module can be used from outside of it: testdata/module is what a developer wrote
// who had only the documentation, and every program of examples is built there once more, where internal packages are out
// of reach.
package outside_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

const module = "github.com/kintoun/kintoun"

func TestOutside(t *testing.T) {
	dir := outside(t)
	copyFiles(t, "testdata/module", dir)
	mains, err := filepath.Glob("../../examples/*/main.go")
	require.NoError(t, err)
	programs := 0
	for _, main := range mains {
		if name := filepath.Base(filepath.Dir(main)); name != "allinone" { // the reference server, which is ours
			copyFiles(t, filepath.Dir(main), filepath.Join(dir, "examples", name))
			require.NoError(t, removeTests(filepath.Join(dir, "examples", name))) // some make a lab, which is internal
			programs++
		}
	}
	require.NotZero(t, programs)

	said, err := command(t, dir, "go", "build", "./...")
	require.NoError(t, err, "a program does not build outside of this module:\n%s", said)
	// Vetting and symbols would cost as much again.
	said, err = command(t, dir, "go", "test", "-count=1", "-timeout=2m", "-vet=off", "-ldflags=-s -w", "-v", "./...")
	require.NoError(t, err, "%s", said)
	t.Run("NothingIsSkipped", func(t *testing.T) {
		if _, why, found := strings.Cut(said, "--- SKIP"); found {
			labtest.Skip(t, why[:min(len(why), 200)])
		}
	})
}

// TestInternalPackagesAreOutOfReach makes sure that a build outside is one.
func TestInternalPackagesAreOutOfReach(t *testing.T) {
	dir := outside(t)
	program := "package main\n\nimport _ \"" + module + "/internal/fault\"\n\nfunc main() {}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600))
	said, err := command(t, dir, "go", "build", "./...")
	require.Error(t, err)
	require.Contains(t, said, "use of internal package")
}

// outside makes an empty module that requires this one as it is here, with the versions that this one has of others.
func outside(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	said, err := command(t, dir, "go", "mod", "edit", "-module=example.org/outside", "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	require.NoError(t, err, "%s", said)
	look(t, root)
	return dir
}

// look reads the directories of all packages: the go command takes this test's last result for good unless something has
// changed that the test itself has looked at, and what the commands read that it runs is not known.
func look(t *testing.T, root string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "build" || entry.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	}))
}

func removeTests(dir string) error {
	tests, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, test := range tests {
		err = errors.Join(err, os.Remove(test))
	}
	return err
}

func copyFiles(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".go" {
			return err
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		below, err := filepath.Rel(from, file)
		require.NoError(t, err)
		name := filepath.Join(to, below)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		return os.WriteFile(name, content, 0o600)
	}))
}

func command(t *testing.T, dir, name string, args ...string) (said string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
