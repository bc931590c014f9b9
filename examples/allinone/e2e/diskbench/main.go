//go:build linux

// Command diskbench is what a guest of the benchmarks measures a disk with: reads and writes past its page cache, one request after
// the other, 4 KiB at random places and 1 MiB in sequence. It stands in for fio, which no small guest has.
//
//	diskbench DEVICE SECONDS BYTES
//
// prints a line "bench NAME RATE" for each, in requests per second or MB/s, over the first BYTES of the device.
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("bench failed:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments", len(args))
	}
	seconds, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	// What is mapped begins at a page, as O_DIRECT wants it.
	buffer, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	for i := range buffer {
		buffer[i] = byte(i*7 + i>>8)
	}
	d := disk{f, size, time.Duration(seconds * float64(time.Second))}
	for _, m := range []struct {
		name  string
		part  []byte
		do    func([]byte, int64) (int, error)
		order func(n, blocks int64) int64
		unit  float64
	}{
		{"sequential-write", buffer, f.WriteAt, inSequence, 1e6},
		{"sequential-read", buffer, f.ReadAt, inSequence, 1e6},
		{"random-write", buffer[:4096], f.WriteAt, atRandom, 4096},
		{"random-read", buffer[:4096], f.ReadAt, atRandom, 4096},
	} {
		rate, err := d.measure(m.part, m.do, m.order)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Printf("bench %s %.1f\n", m.name, rate/m.unit)
	}
	return f.Close()
}

func inSequence(n, blocks int64) int64 { return n % blocks }

func atRandom(_, blocks int64) int64 {
	return rand.Int64N(blocks) //nolint:gosec // it draws places, not secrets
}

type disk struct {
	file *os.File
	size int64
	long time.Duration
}

// measure does one thing for a while, and returns how many bytes a second; what is written is flushed in the end.
func (d disk) measure(part []byte, do func([]byte, int64) (int, error), order func(n, blocks int64) int64) (float64, error) {
	start, n := time.Now(), int64(0)
	for time.Since(start) < d.long {
		if _, err := do(part, order(n, d.size/int64(len(part)))*int64(len(part))); err != nil {
			return 0, err
		}
		n++
	}
	err := d.file.Sync()
	return float64(n*int64(len(part))) / time.Since(start).Seconds(), err
}
