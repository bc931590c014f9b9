//go:build linux

package qemu_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

const (
	guestAddress = "172.24.17.2"
	guestMAC     = "fa:16:3e:00:00:02"
	guestTap     = "tap0"
	metadataIP   = "169.254.169.254"
)

// guestDir is where examples/allinone/guest/build put the small guest: $KINTOUN_GUEST, or build/guest above.
func guestDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("KINTOUN_GUEST")
	for at := "."; dir == "" && len(at) < 40; at = filepath.Join("..", at) {
		if _, err := os.Stat(filepath.Join(at, "build/guest/root.img")); err == nil {
			dir = filepath.Join(at, "build/guest")
		}
	}
	if dir == "" {
		labtest.Skip(t, "needs the small guest: examples/allinone/guest/build build/guest")
	}
	dir, err := filepath.Abs(dir)
	require.NoError(t, err)
	return dir
}

// guest is the small guest, booted directly.
func guest(t testing.TB) driver.Server {
	t.Helper()
	dir := guestDir(t)
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	require.NoError(t, err)
	return driver.Server{
		ID: uuid.NewString(), Name: "vm1", VCPUs: 1, MemoryMiB: 128, Running: true, Boots: 1,
		Root:   driver.Disk{Base: filepath.Join(dir, "root.img"), Format: "raw", SizeGiB: 1},
		Kernel: filepath.Join(dir, "kernel"), Initrd: filepath.Join(dir, "initrd"), CommandLine: strings.TrimSpace(string(line)),
	}
}

// guestNetwork is a bridge with a tap for the guest, a DHCP server and a metadata service.
func guestNetwork(t testing.TB) {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	require.NoError(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { require.NoError(t, netlink.LinkDel(bridge)) })
	for _, address := range []string{"172.24.17.254/24", metadataIP + "/32"} {
		parsed, err := netlink.ParseAddr(address)
		require.NoError(t, err)
		require.NoError(t, netlink.AddrAdd(bridge, parsed))
	}
	require.NoError(t, netlink.LinkSetUp(bridge))
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: guestTap, MasterIndex: bridge.Index}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
	require.NoError(t, netlink.LinkAdd(tap))
	for _, file := range tap.Fds {
		require.NoError(t, file.Close())
	}
	t.Cleanup(func() { require.NoError(t, netlink.LinkDel(tap)) })
	require.NoError(t, netlink.LinkSetMaster(tap, bridge))
	require.NoError(t, netlink.LinkSetUp(tap))
	serveDHCP(t, bridge.Name)
	serveMetadata(t)
}

func serveDHCP(t testing.TB, device string) {
	t.Helper()
	server, err := server4.NewServer(device, nil, func(conn net.PacketConn, _ net.Addr, request *dhcpv4.DHCPv4) {
		answer := dhcpv4.MessageTypeOffer
		if request.MessageType() == dhcpv4.MessageTypeRequest {
			answer = dhcpv4.MessageTypeAck
		}
		us := net.ParseIP("172.24.17.254")
		_, metadata, _ := net.ParseCIDR(metadataIP + "/32")
		reply, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(answer), dhcpv4.WithYourIP(net.ParseIP(guestAddress)), dhcpv4.WithServerIP(us),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(us)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600),
			dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: metadata, Router: us})))
		if err == nil {
			_, _ = conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
		}
	})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve()
	}()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		<-done
	})
}

func serveMetadata(t testing.TB) {
	t.Helper()
	mux := http.NewServeMux()
	for path, text := range map[string]string{"meta-data/hostname": "vm1.novalocal", "meta-data/instance-id": "i-1", "user-data": "#!/bin/sh\necho user-data says hello\n"} {
		mux.HandleFunc("GET /2009-04-04/"+path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	listener, err := net.Listen("tcp", metadataIP+":80")
	require.NoError(t, err)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { require.NoError(t, server.Close()) })
}

// awaitConsole waits until the console shows text n times.
func awaitConsole(t testing.TB, d *qemu.Driver, id, text string, n int) string {
	t.Helper()
	var log []byte
	require.Eventually(t, func() bool {
		var err error
		log, err = d.ConsoleLog(t.Context(), id, 0)
		return err == nil && strings.Count(string(log), text) >= n
	}, 2*time.Minute, 50*time.Millisecond, "the console does not show %q", text)
	return string(log)
}

func TestGuestComesUpAndGoesDown(t *testing.T) {
	labtest.Require(t)
	d, err := qemu.New(t.Context(), options(t))
	require.NoError(t, err)
	guestNetwork(t)
	want := guest(t)
	want.NICs = []driver.NIC{{PortID: uuid.NewString(), MAC: guestMAC, MTU: 1450, Device: guestTap}}
	defer func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) }()
	require.NoError(t, d.Apply(t.Context(), want))
	awaitConsole(t, d, want.ID, "http serves vm1", 1)

	client := &http.Client{Timeout: 30 * time.Second}
	answer, err := client.Get("http://" + guestAddress + "/")
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "vm1\n", string(body))
	awaitConsole(t, d, want.ID, "user-data says hello", 1)
	awaitConsole(t, d, want.ID, "guest: ready", 1)

	// A soft reboot, and the second boot is as good as the first, but for the user-data.
	want.Boots = 2
	require.NoError(t, d.Apply(t.Context(), want))
	log := awaitConsole(t, d, want.ID, "guest: ready", 2)
	require.Contains(t, log, "reboot: Power down", "the guest did not go down by itself")
	require.Equal(t, 2, strings.Count(log, "http serves vm1"))
	require.Equal(t, 1, strings.Count(log, "user-data says hello"))

	want.Running = false
	require.NoError(t, d.Apply(t.Context(), want))
	all, err := d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, driver.Stopped, all[0].State)
}

func TestGuestBootsFromItsDisk(t *testing.T) {
	labtest.Require(t)
	d, err := qemu.New(t.Context(), options(t))
	require.NoError(t, err)
	want := guest(t)
	want.Root = driver.Disk{Base: filepath.Join(guestDir(t), "disk.qcow2"), Format: "qcow2"}
	if _, err := os.Stat(want.Root.Base); err != nil {
		labtest.Skip(t, "needs the small guest's disk: examples/allinone/guest/build --disk build/guest")
	}
	want.Kernel, want.Initrd, want.CommandLine = "", "", ""
	defer func() { require.NoError(t, d.Remove(context.WithoutCancel(t.Context()), want.ID)) }()
	require.NoError(t, d.Apply(t.Context(), want))
	awaitConsole(t, d, want.ID, "login:", 1)
}
