// Command vm boots an image and prints its console until it has said something.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
)

func main() {
	image := flag.String("image", "", "a raw image")
	until := flag.String("until", "login:", "what to wait for")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *image, *until); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, image, until string) (err error) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d, err := qemu.New(ctx, &qemu.Options{Dir: dir, Accelerator: "tcg", Cgroup: "none"})
	if err != nil {
		return err
	}
	if image, err = filepath.Abs(image); err != nil {
		return err
	}
	const id = "0d5ae9b4-31a2-4a4b-9a3c-7e6f4a1a2b3c"
	defer func() { err = errors.Join(err, d.Remove(context.WithoutCancel(ctx), id)) }()
	err = d.Apply(ctx, driver.Server{
		ID: id, Name: "vm", VCPUs: 1, MemoryMiB: 64, Root: driver.Disk{Base: image, Format: "raw"}, Running: true, Boots: 1,
	})
	if err != nil {
		return err
	}
	for {
		text, err := d.ConsoleLog(ctx, id, 0)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte(until)) {
			_, err = out.Write(text)
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: the guest said %q", ctx.Err(), text)
		}
	}
}
