package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// sector is a guest of 512 bytes that says hello on its serial port and halts.
func sector() []byte {
	b := []byte{0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x17, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd}
	b = append(b, "hello from outside\r\n\x00"...)
	b = append(b, make([]byte, 510-len(b))...)
	return append(append(b, 0x55, 0xaa), make([]byte, 1<<20-512)...)
}

func TestBoot(t *testing.T) {
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, sector(), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, image, "hello from outside"); err != nil {
		t.Fatal(err)
	}
}
