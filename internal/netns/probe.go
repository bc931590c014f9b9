//go:build linux

package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Scratch runs fn on a thread in a new network namespace; both end with it, however it ends. Where there can be no
// namespace, fn does not run and the error is a [probe.Missing].
func Scratch(fn func() error) error { return scratch(unix.CLONE_NEWNET, fn) }

func scratch(namespaces int, fn func() error) error {
	result := make(chan error, 1)
	go leave(namespaces, fn, result)
	return <-result
}

func leave(namespaces int, fn func() error, result chan<- error) {
	runtime.LockOSThread()
	// The main thread never ends, and would stay in the namespace: hold it, so that another thread is taken.
	if unix.Gettid() == os.Getpid() {
		inner := make(chan error, 1)
		go leave(namespaces, fn, inner)
		result <- <-inner
		runtime.UnlockOSThread()
		return
	}
	if err := unix.Unshare(namespaces); err != nil {
		result <- missingNamespaces(err)
		return
	}
	result <- fn()
}

// Probe says what this process lacks to make named network namespaces. It makes one in a mount namespace that is thrown
// away, so that nobody sees it and nothing is left of it, even if the process is killed meanwhile.
func Probe() error {
	err := scratch(unix.CLONE_NEWNET|unix.CLONE_NEWNS, func() error {
		if err := mountNowhere(); err != nil {
			return missingMounts(err)
		}
		return nil
	})
	return probe.Join(err, writable())
}

// mountNowhere does what [Create] does, below a /run that only the calling thread sees.
func mountNowhere() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	place := filepath.Dir(Dir)
	if err := unix.Mount("tmpfs", place, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", place, err)
	}
	file := filepath.Join(place, "probe")
	if err := os.WriteFile(file, nil, 0o444); err != nil {
		return err
	}
	if err := LoopbackUp(); err != nil {
		return err
	}
	return unix.Mount("/proc/thread-self/ns/net", file, "none", unix.MS_BIND, "")
}

// writable says whether names can be put into [Dir], which may have to be made first.
func writable() error {
	for dir := Dir; ; dir = filepath.Dir(dir) {
		err := unix.Access(dir, unix.W_OK)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return &probe.Missing{What: "a writable " + Dir, Why: "network namespaces that have names", How: "run as root, with " + dir + " writable", Err: err}
		}
	}
}

func missingNamespaces(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return MissingCapability("CAP_SYS_ADMIN", "network namespaces", err)
	case errors.Is(err, unix.ENOSPC):
		return &probe.Missing{What: "room for a network namespace", Why: "trying the kernel", How: "raise the sysctl user.max_net_namespaces", Err: err}
	}
	return &probe.Missing{What: "network namespaces", Why: "trying the kernel", How: "a kernel with CONFIG_NET_NS", Err: err}
}

func missingMounts(err error) error {
	const why = "network namespaces that have names"
	if errors.Is(err, unix.EPERM) {
		return MissingCapability("CAP_SYS_ADMIN", why, err)
	}
	return &probe.Missing{What: "mounts", Why: why, How: "run as root, where a tmpfs and bind mounts below /run are allowed", Err: err}
}

// MissingCapability says that a capability (capabilities(7)) is missing.
func MissingCapability(name, why string, err error) error {
	return &probe.Missing{What: name, Why: why, How: "run as root; in a container, add the capability", Err: err}
}
