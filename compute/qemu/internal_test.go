//go:build linux

package qemu

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/stretchr/testify/require"
)

// header is a qcow2 header of 1 GiB, changed by spoil.
func header(spoil func(*qcow2Header)) []byte {
	h := qcow2Header{Magic: [4]byte{'Q', 'F', 'I', 0xfb}, Version: 3, ClusterBits: 16, Size: 1 << 30}
	spoil(&h)
	var out bytes.Buffer
	_ = binary.Write(&out, binary.BigEndian, h)
	return out.Bytes()
}

func TestQcow2ThatNamesAnotherFileIsRefused(t *testing.T) {
	size, err := qcow2Size(bytes.NewReader(header(func(*qcow2Header) {})))
	require.NoError(t, err)
	require.EqualValues(t, 1<<30, size)
	for name, spoil := range map[string]func(*qcow2Header){
		"backing file": func(h *qcow2Header) { h.BackingOffset = 512 },
		"data file":    func(h *qcow2Header) { h.Incompatible = externalData },
		"magic":        func(h *qcow2Header) { h.Magic[0] = 'X' },
		"version":      func(h *qcow2Header) { h.Version = 9 },
		"size":         func(h *qcow2Header) { h.Size = 1 << 63 },
	} {
		_, err := qcow2Size(bytes.NewReader(header(spoil)))
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err = qcow2Size(strings.NewReader("QFI"))
	require.ErrorIs(t, err, ErrInvalid)
}

func FuzzQcow2Size(f *testing.F) {
	f.Add(header(func(*qcow2Header) {}))
	f.Add(header(func(h *qcow2Header) { h.BackingOffset = 1 }))
	f.Fuzz(func(t *testing.T, data []byte) {
		size, err := qcow2Size(bytes.NewReader(data))
		if err != nil {
			require.ErrorIs(t, err, ErrInvalid)
			return
		}
		require.GreaterOrEqual(t, size, int64(0))
	})
}

func TestVolumesOfAClusterAreNodes(t *testing.T) {
	v := driver.Volume{ID: "5d1c2a9e-0000-4000-8000-000000000001", Format: "raw", Bytes: 512, ReadOnly: true, RBD: &driver.RBD{
		Monitors: []string{"192.0.2.1:6789", "[2001:db8::1]:3300"}, Pool: "p", Namespace: "n", Image: "i", User: "u", Key: "a2V5",
	}}
	want := driver.Server{ID: v.ID, Volumes: []driver.Volume{v}}
	require.NoError(t, validateVolumes(want))
	b, _, err := (*Driver)(nil).openVolume("", v, true, nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"qom-type":"secret","id":"k-5d1c2a9e00004000800000000000","format":"base64","data":"a2V5"}`, object(b.objects[0]))
	require.JSONEq(t, `{"driver":"raw","node-name":"v-5d1c2a9e00004000800000000000","discard":"unmap","read-only":true,"file":{
		"driver":"rbd","node-name":"f-5d1c2a9e00004000800000000000","discard":"unmap","read-only":true,"pool":"p","namespace":"n","image":"i",
		"user":"u","key-secret":"k-5d1c2a9e00004000800000000000","auth-client-required":["cephx"],
		"server":[{"host":"192.0.2.1","port":"6789"},{"host":"2001:db8::1","port":"3300"}]}}`, object(b.node()))
	for _, spoil := range []func(v *driver.Volume){
		func(v *driver.Volume) { v.Path = "/x" }, func(v *driver.Volume) { v.RBD.Monitors = []string{"none"} }, func(v *driver.Volume) { v.RBD.Pool = "" },
	} {
		bad, cluster := v, *v.RBD
		bad.RBD = &cluster
		spoil(&bad)
		require.ErrorIs(t, validateVolumes(driver.Server{ID: v.ID, Volumes: []driver.Volume{bad}}), ErrInvalid)
	}
}

func TestArguments(t *testing.T) {
	m := &machine{
		server: driver.Server{
			ID: "5d1c2a9e-0000-4000-8000-000000000001", VCPUs: 2, MemoryMiB: 256, CommandLine: "console=ttyS0 a,b",
			Root: driver.Disk{Base: "/secret/image", Format: "qcow2"}, NICs: []driver.NIC{{MAC: "FA:16:3E:00:00:01", MTU: 1450}},
		},
		accelerator: "tcg", hotPlugPorts: 8, offload: true,
		disk: 3, base: 4, console: 5, kernel: 6, qmp: 7, serial: 8, nics: []machineNIC{{tap: 9, vhost: 10}},
	}
	line := strings.Join(m.arguments(), " ")
	require.Contains(t, line, "-append console=ttyS0 a,b")
	require.Contains(t, line, "-netdev tap,id=net0,fd=9,vhost=on,vhostfd=10")
	require.Contains(t, line, "bus=port0,mac=fa:16:3e:00:00:01,romfile=,host_mtu=1450")
	require.Contains(t, line, "manufacturer=OpenStack Foundation,product=OpenStack Nova")
	require.Contains(t, line, `"backing":null`, "an image's own backing file is never opened")
	require.Contains(t, line, "addr=0x11.0x0,multifunction=on", "the ninth port")
	require.NotContains(t, line, "/secret", "files are named by descriptor only")
	require.NotContains(t, line, "-initrd")
	m.offload, m.accelerator = false, "kvm"
	line = strings.Join(m.arguments(), " ")
	require.Contains(t, line, "csum=off")
	require.Contains(t, line, "-accel kvm -cpu host")
}

func TestLastLines(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want string
	}{
		{"a\nb\nc\n", 0, "a\nb\nc\n"},
		{"a\nb\nc\n", 1, "c\n"},
		{"a\nb\nlogin: ", 2, "b\nlogin: "},
		{"a\nb\n", 5, "a\nb\n"},
		{"", 3, ""},
		{"\n\n", 1, "\n"},
	} {
		require.Equal(t, test.want, string(lastLines([]byte(test.text), test.n)), "%q", test)
	}
}

func TestLogsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, log.Close()) }()
	const limit = 64 << 10
	for range 100 {
		_, err := log.WriteString(strings.Repeat("x", 8<<10-1) + "\n")
		require.NoError(t, err)
		require.NoError(t, trim(path, limit))
	}
	_, err = log.WriteString("the end\n")
	require.NoError(t, err)
	data, err := readTail(path, limit)
	require.NoError(t, err)
	require.LessOrEqual(t, len(data), limit)
	require.True(t, bytes.HasSuffix(data, []byte("x\nthe end\n")))
	require.NotContains(t, string(data), "\x00")
}

func TestHowAServerEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qemu.log")
	guest := `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}` + "\n"
	for _, test := range []struct {
		text, complaint string
		guest           bool
	}{
		{`{"return": {}}` + "\n" + guest, "", true},
		{`{"event": "SHUTDOWN", "data": {"guest": false}}` + "\n", "", false},
		{"qemu-system-x86_64: terminating on signal 15 from pid 7\n", "qemu-system-x86_64: terminating on signal 15 from pid 7", false},
		{`{"event": 7}` + "\n", `{"event": 7}`, false},
		{"", "", false},
	} {
		require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
		byGuest, complaint := readOutput(path)
		require.Equal(t, test.guest, byGuest, test.text)
		require.Equal(t, test.complaint, complaint)
	}
}
