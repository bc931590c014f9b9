//go:build linux

package rbdvolume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// monitorTimeout is how long commands wait for a monitor, in seconds: without it, for ever.
const monitorTimeout = "30"

// commandPatience is how long a command may take, and removalPatience one that gives back what an image has written: it goes on
// where an earlier one was killed. Those of Ceph 16 hang now and then when their work is done.
const (
	commandPatience = 2 * time.Minute
	removalPatience = 10 * time.Minute
)

// rbd runs the command of that name and returns what it printed.
func (d *Driver) rbd(ctx context.Context, args ...string) ([]byte, error) {
	return d.rbdWithin(ctx, commandPatience, args...)
}

func (d *Driver) rbdWithin(ctx context.Context, patience time.Duration, args ...string) ([]byte, error) {
	return d.run(ctx, patience, "rbd", append(args, "--rados-mon-op-timeout", monitorTimeout)...)
}

func (d *Driver) rados(ctx context.Context, args ...string) ([]byte, error) {
	return d.run(ctx, commandPatience, "rados", append([]string{"--pool", d.pool, "--namespace", d.o.Namespace, "--rados-mon-op-timeout", monitorTimeout}, args...)...)
}

func (d *Driver) ceph(ctx context.Context, args ...string) ([]byte, error) {
	return d.run(ctx, commandPatience, "ceph", append([]string{"--connect-timeout", monitorTimeout}, args...)...)
}

// run runs one of Ceph's commands as the driver's user, and kills it when it has taken too long.
func (d *Driver) run(ctx context.Context, patience time.Duration, name string, args ...string) ([]byte, error) {
	path, err := process.Program(name, "volumes in Ceph", "ceph-common")
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(bounded, path, append(d.identity(), args...)...)
	out, err := command(bounded, cmd)
	if bounded.Err() != nil && err != nil && ctx.Err() == nil {
		err = &commandError{what: what(cmd), said: fmt.Sprintf("it hung, and was killed after %v", patience), number: syscall.ETIMEDOUT, crashed: true}
	}
	return out, err
}

// identity says to a command of Ceph's which cluster is meant, and who asks.
func (d *Driver) identity() []string {
	args := []string{"--name", "client." + d.o.User}
	if d.o.Config != "" {
		args = append(args, "--conf", d.o.Config)
	}
	return args
}

// command runs cmd. The error of one that failed wraps the error number that it gave.
func command(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	// What a killed command has started does not hold its output open.
	cmd.WaitDelay = time.Second
	ended, err := start(cmd)
	if err == nil {
		err = <-ended
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", what(cmd), ctx.Err())
	case errors.As(err, &exit):
		return out.Bytes(), &commandError{what: what(cmd), said: said(problems.String()), number: number(exit.ExitCode(), problems.String()), crashed: exit.ExitCode() < 0}
	}
	return nil, fmt.Errorf("%s: %w", what(cmd), err)
}

// start starts a program that ends with this process: of one that is killed nothing goes on, and the next one mends what is half
// done. The kernel takes the thread that starts it for its parent (PR_SET_PDEATHSIG of prctl(2)): that is held until it ends.
func start(cmd *exec.Cmd) (ended <-chan error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, waited := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(waited)
		err := cmd.Start()
		started <- err
		if err == nil {
			waited <- cmd.Wait()
		}
	}()
	return waited, <-started
}

// what is a command as messages name it: "rbd snap rm".
func what(cmd *exec.Cmd) string {
	words := []string{cmd.Args[0][strings.LastIndexByte(cmd.Args[0], '/')+1:]}
	for i := 1; i < len(cmd.Args); i++ {
		if strings.HasPrefix(cmd.Args[i], "--") {
			i++
			continue
		}
		words = append(words, cmd.Args[i])
	}
	return strings.Join(words, " ")
}

// commandError is a command that ended with an error number.
type commandError struct {
	what, said string
	number     syscall.Errno
	crashed    bool // by a fault of its own, or it was killed
}

func (e *commandError) Error() string { return e.what + ": " + e.said }

// Unwrap also gives the kind that the contract of drivers has for the number.
func (e *commandError) Unwrap() []error {
	errs := []error{e.number}
	switch e.number { //nolint:exhaustive // the others are their own
	case syscall.ENOSPC, syscall.EDQUOT:
		errs = append(errs, driver.ErrFull)
	case syscall.EBUSY:
		errs = append(errs, driver.ErrBusy)
	}
	return errs
}

// attempts is how often a command is tried that may be repeated and crashes or hangs: those of Ceph 16 do now and then, on a busy
// machine, when their work is done.
const attempts = 3

// repeated runs a command that looks at something or removes it, again if it crashes.
func (d *Driver) repeated(ctx context.Context, patience time.Duration, args ...string) ([]byte, error) {
	for n := 1; ; n++ {
		out, err := d.rbdWithin(ctx, patience, args...)
		var failed *commandError
		if !errors.As(err, &failed) || !failed.crashed || n == attempts {
			return out, err
		}
	}
}

// is says that a command ended with that number.
func is(err error, number syscall.Errno) bool {
	var e *commandError
	return errors.As(err, &e) && e.number == number
}

// told is an error number as Ceph's commands print it: "error opening image x: (2) No such file or directory".
var told = regexp.MustCompile(`: \((\d{1,3})\) `)

// number is the error number that a command ended with. rbd exits with it, rados and ceph only print it.
func number(exit int, problems string) syscall.Errno {
	if exit == 1 {
		if all := told.FindAllStringSubmatch(problems, -1); len(all) > 0 {
			n, _ := strconv.Atoi(all[len(all)-1][1])
			return syscall.Errno(n)
		}
	}
	return syscall.Errno(exit)
}

// said is the last line that is the command's own word, and no entry of its library's log.
func said(problems string) string {
	lines := strings.Split(strings.TrimSpace(problems), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if line := strings.TrimSpace(lines[i]); line != "" && !strings.Contains(line, " -1 ") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// decode reads what a command printed for programs.
func decode(out []byte, err error, into any) error {
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("output of a command of Ceph: %w", err)
	}
	return nil
}
