//go:build linux

package vm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where the machine's file system has the test's program, how that is to be called, and the modules to load in order.
const (
	program    = "/program"
	callFile   = "/call.json"
	modulesDir = "/modules"
	loadFile   = "/modules/load"
)

// call is how the program is called in the machine.
type call struct{ Args, Env []string }

// environment are the variables that are passed on.
var environment = regexp.MustCompile(`^(KINTOUN_|GO|LANG=|LC_)`)

// pack makes the machine's file system: two archives, one behind the other, as the kernel takes them. The first has directories and
// links, the second what the links of a tree of links lead to.
func pack(dir, initrd, kernel string, o *Options) error {
	skeleton, tree := filepath.Join(dir, "skeleton"), filepath.Join(dir, "tree")
	if err := makeSkeleton(skeleton, o); err != nil {
		return err
	}
	if err := makeTree(tree, kernel, o); err != nil {
		return err
	}
	out, err := os.Create(initrd)
	if err != nil {
		return err
	}
	err = archive(out, skeleton)
	if err == nil {
		err = archive(out, tree, "--dereference")
	}
	return errors.Join(err, out.Close())
}

func archive(out *os.File, dir string, options ...string) error {
	var names bytes.Buffer
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, path); name != "." {
			names.WriteString(name + "\x00")
		}
		return err
	}); err != nil {
		return err
	}
	cmd := exec.Command("cpio", append([]string{"--create", "--format=newc", "--null", "--quiet"}, options...)...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, &names, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pack %s: %w: %s", dir, err, stderr.String())
	}
	return nil
}

func makeSkeleton(dir string, o *Options) error {
	for _, name := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "root", "var/tmp", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	c := call{Args: append([]string{program, "-test.run=" + o.Match, "-test.count=1", "-test.timeout=" + o.Timeout.String()}, o.Arguments...)}
	if testing.Verbose() {
		c.Args = append(c.Args, "-test.v=true")
	}
	for _, v := range os.Environ() {
		if environment.MatchString(v) {
			c.Env = append(c.Env, v)
		}
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, callFile), data, 0o600)
}

// makeTree links what the machine has of the host's files.
func makeTree(dir, kernel string, o *Options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	files := map[string]string{program: self}
	for _, f := range append([]string{"/etc/passwd", "/etc/group"}, o.Files...) {
		files[f] = f
	}
	if err := addLibraries(files, self); err != nil {
		return err
	}
	for _, name := range o.Programs {
		path, err := lookUp(name)
		if err != nil {
			return err
		}
		files[path] = path
		if err := addLibraries(files, path); err != nil {
			return err
		}
	}
	if err := addModules(files, kernel, dir, append([]string{"virtio_pci", "virtio_blk", "virtio_console", "virtio_rng"}, o.Modules...)); err != nil {
		return err
	}
	for to, from := range files {
		if err := link(dir, to, from); err != nil {
			return err
		}
	}
	return nil
}

func link(dir, to, from string) error {
	// What is below /lib here is below /usr/lib there, as everywhere since Debian 12.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(to)); err == nil && to != program {
		to = filepath.Join(parent, filepath.Base(to))
	}
	at := filepath.Join(dir, to)
	from, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(from, at); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// lookUp finds a program, also where only root's PATH leads.
func lookUp(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is to run in the machine, and is not here: %w", name, err)
	}
	return filepath.Abs(path)
}

// library finds the paths in what ldd says.
var library = regexp.MustCompile(`(/\S+) \(0x`)

func addLibraries(files map[string]string, path string) error {
	out, err := exec.Command("ldd", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "not a dynamic executable") {
		return fmt.Errorf("libraries of %s: %w: %s", path, err, out)
	}
	for _, found := range library.FindAllStringSubmatch(string(out), -1) {
		files[found[1]] = found[1]
	}
	return nil
}

// addModules adds modules and those that they need, and the file that names them in order.
func addModules(files map[string]string, kernel, dir string, names []string) error {
	needs, err := dependencies(filepath.Join(kernel, "modules/modules.dep"))
	if err != nil {
		return err
	}
	var order []string
	for _, name := range names {
		path, known := needs[plain(name)]
		if !known {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		for _, file := range slices.Backward(path) {
			if base := filepath.Base(file); !slices.Contains(order, base) {
				order = append(order, base)
				files[filepath.Join(modulesDir, base)] = filepath.Join(kernel, "modules", file)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, modulesDir), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, loadFile), []byte(strings.Join(order, "\n")), 0o600)
}

// plain is a module's name as the kernel has it.
func plain(name string) string { return strings.ReplaceAll(name, "-", "_") }

// dependencies are the files of modules, each before those that it needs, the last of which needs none
// (modules.dep(5)).
func dependencies(path string) (map[string][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	all := map[string][]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		module, needs, _ := strings.Cut(lines.Text(), ":")
		all[plain(strings.TrimSuffix(filepath.Base(module), ".ko"))] = append([]string{module}, strings.Fields(needs)...)
	}
	return all, lines.Err()
}
