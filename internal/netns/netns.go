//go:build linux

// Package netns makes, enters and removes named network namespaces, the way ip-netns(8) lays them out: one bind
// mount per namespace below /run/netns. It does without netlink, which package nl opens inside a namespace.
package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dir is where named namespaces are mounted.
const Dir = "/run/netns"

// Path is where the namespace of that name is mounted.
func Path(name string) string { return filepath.Join(Dir, name) }

// Do runs fn on a thread of its own inside the named namespace; the thread is thrown away afterwards.
// fn must not start goroutines that rely on the namespace. An empty name is the caller's namespace.
func Do(name string, fn func() error) error {
	if name == "" {
		return fn()
	}
	result := make(chan error, 1)
	go enter(name, fn, result)
	return <-result
}

func enter(name string, fn func() error, result chan<- error) {
	runtime.LockOSThread()
	// The main thread is never thrown away: a namespace entered on it would stay pinned for ever. Hold it,
	// which forces the inner goroutine on to another thread.
	if unix.Gettid() == os.Getpid() {
		inner := make(chan error, 1)
		go enter(name, fn, inner)
		result <- <-inner
		runtime.UnlockOSThread()
		return
	}
	result <- inside(name, fn)
}

func inside(name string, fn func() error) error {
	handle, err := vnetns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer func() { _ = handle.Close() }()
	if err := vnetns.Set(handle); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return fn()
}

// Create makes the namespace if it does not exist, with its loopback up.
func Create(name string) error {
	if Exists(name) {
		return nil
	}
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	path := Path(name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	result := make(chan error, 1)
	go unshare(path, result)
	if err := <-result; err != nil {
		return errors.Join(fmt.Errorf("create network namespace %s: %w", name, err), os.Remove(path))
	}
	return nil
}

func unshare(path string, result chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		inner := make(chan error, 1)
		go unshare(path, inner)
		result <- <-inner
		runtime.UnlockOSThread()
		return
	}
	result <- mountNew(path)
}

func mountNew(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := LoopbackUp(); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
}

// LoopbackUp brings lo up in the calling thread's namespace.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err == nil {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// Delete removes the namespace's name; the kernel frees it, and the devices in it, when its last process ends.
// A namespace that is already gone is no error.
func Delete(name string) error {
	path := Path(name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Exists says whether the name is a mounted namespace, not merely a file left by a process that was killed.
func Exists(name string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(Path(name), &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// List names the namespaces that exist.
func List() ([]string, error) {
	entries, err := os.ReadDir(Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if Exists(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
