//go:build linux

// Command vmrunner runs one virtual machine with QEMU: it boots an image, prints what the guest says on its serial
// console, and stops it when it has said a certain thing, when it has ended by itself, or on Ctrl-C.
//
//	vmrunner -image debian.qcow2 -until "login:"
//
// It needs QEMU (Debian: qemu-system-x86, qemu-utils), and no root: KVM is used where it works. The guest has no
// network, and writes to a layer over the image, which is thrown away.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vmrunner:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("vmrunner", flag.ContinueOnError)
	vm := driver.Server{ID: uuid.NewString(), Name: "vm", VCPUs: 1, Running: true, Boots: 1}
	flags.StringVar(&vm.Root.Base, "image", "", "the disk: a `file`")
	flags.StringVar(&vm.Root.Format, "format", "qcow2", "the file's format, qcow2 or raw")
	flags.IntVar(&vm.MemoryMiB, "memory", 512, "`MiB` of memory")
	until := flags.String("until", "", "stop when the guest has said this")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	servers, err := qemu.New(ctx, &qemu.Options{Dir: dir, Cgroup: "none"})
	if err != nil {
		return err
	}
	// A QEMU goes on without its starter; this one is not to.
	defer func() { err = errors.Join(err, servers.Remove(context.WithoutCancel(ctx), vm.ID)) }()
	if err := servers.Apply(ctx, vm); err != nil {
		return err
	}
	for printed, tick := []byte(nil), time.Tick(100*time.Millisecond); ctx.Err() == nil; <-tick {
		all, err := servers.List(ctx)
		if err != nil {
			return err
		}
		said, err := servers.ConsoleLog(ctx, vm.ID, 0)
		if err == nil {
			_, err = out.Write(bytes.TrimPrefix(said, printed))
		}
		if err != nil {
			return err
		}
		if printed = said; len(all) != 1 || all[0].State != driver.Running || *until != "" && strings.Contains(string(said), *until) {
			return nil
		}
	}
	return nil
}
