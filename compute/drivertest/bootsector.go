package drivertest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Banner is what the guest of [BootSector] prints on its serial console when it is up.
const Banner = "boot sector is up"

// QuitByte makes the guest of [BootSector] power itself off when it is sent to its serial console; it prints any other.
const QuitByte = 'q'

// BootSector is a whole guest in one sector, for drivers of PC-like machines: it prints [Banner] on the first serial
// port and powers the machine off when the power button is pressed (ACPI's fixed registers at 0x600, where SeaBIOS puts
// them on QEMU's q35) or [QuitByte] arrives.
func BootSector() []byte {
	code := []byte{
		0xfa,       // cli
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0x8e, 0xd0, // mov ss, ax
		0xbc, 0x00, 0x7c, // mov sp, 0x7c00
		0xba, 0x02, 0x06, // mov dx, 0x602: PM1 enable
		0xb8, 0x00, 0x01, // mov ax, PWRBTN_EN
		0xef,             // out dx, ax
		0xbe, 0x57, 0x7c, // mov si, the banner
		0xac,       // print: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x05, // jz wait
		0xe8, 0x2a, 0x00, // call putc
		0xeb, 0xf6, // jmp print
		0xfb,             // wait: sti
		0xf4,             // loop: hlt, until the next tick
		0xba, 0x00, 0x06, // mov dx, 0x600: PM1 status
		0xed,             // in ax, dx
		0xf6, 0xc4, 0x01, // test ah, PWRBTN_STS>>8
		0x75, 0x15, // jnz off
		0xba, 0xfd, 0x03, // mov dx, 0x3fd: line status
		0xec,       // in al, dx
		0xa8, 0x01, // test al, data ready
		0x74, 0xee, // jz loop
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xec,           // in al, dx
		0x3c, QuitByte, // cmp al, QuitByte
		0x74, 0x05, // je off
		0xe8, 0x0a, 0x00, // call putc
		0xeb, 0xe1, // jmp loop
		0xba, 0x04, 0x06, // off: mov dx, 0x604: PM1 control
		0xb8, 0x00, 0x20, // mov ax, SLP_EN, sleep type 0: S5
		0xef,       // out dx, ax
		0xf4,       // hlt
		0x88, 0xc4, // putc: mov ah, al
		0xba, 0xfd, 0x03, // mov dx, 0x3fd
		0xec,       // in al, dx
		0xa8, 0x20, // test al, transmitter empty
		0x74, 0xfb, // jz to the in
		0x88, 0xe0, // mov al, ah
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee, // out dx, al
		0xc3, // ret
	}
	sector := make([]byte, 512)
	copy(sector, append(code, "\r\n"+Banner+"\r\n\x00"...))
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// BootSectorImage writes a raw disk image of 1 MiB with [BootSector] and returns its path.
func BootSectorImage(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bootsector.raw")
	require.NoError(t, os.WriteFile(path, append(BootSector(), make([]byte, 1<<20-512)...), 0o644))
	return path
}
