//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// volumeTurns is how often each side of a comparison has its turn.
const volumeTurns = 3

// measures are what was measured, by what it is.
type measures map[string][]float64

func (m measures) add(what string, value float64) { m[what] = append(m[what], value) }

func (m measures) median(what string) float64 {
	all := slices.Sorted(slices.Values(m[what]))
	return all[len(all)/2]
}

// forDemo has the clients of the demo project pass its rules.
func (w *bench) forDemo() *bench {
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "icmp", "default")
	w.demo.cli("openstack", "security", "group", "rule", "create", "--protocol", "tcp", "default")
	w.must("ip", "netns", "exec", w.dhcp, "sh", "-c", "for wait in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 20 >$wait; done")
	return w
}

// BenchmarkVolumeBoot is a server whose root is a volume, which is made of the image, beside one whose root is the image, from
// the request until it is ACTIVE and answers a ping. The two take turns; the medians are told.
func BenchmarkVolumeBoot(b *testing.B) {
	w := prepared(newCloud(b, "auto")).forDemo()
	fromImage := fmt.Sprintf(`"imageRef": %q`, w.image)
	fromVolume := fmt.Sprintf(`"block_device_mapping_v2": [{"boot_index": 0, "uuid": %q, "source_type": "image", "destination_type": "volume", "volume_size": 1, "delete_on_termination": true}]`, w.image)
	id, _, _ := w.booted(fromImage) // the KVM probe, and the first use of the image
	w.removed(id)
	took := measures{}
	for b.Loop() {
		for range volumeTurns {
			for name, from := range map[string]string{"image": fromImage, "volume": fromVolume} {
				start := time.Now()
				id, _, active := w.booted(from)
				took.add("ping-from-"+name, float64(time.Since(start).Milliseconds()))
				took.add("ACTIVE-from-"+name, float64(active.Milliseconds()))
				w.removed(id)
			}
		}
	}
	for what := range took {
		b.ReportMetric(took.median(what), "ms-"+what)
	}
	b.ReportMetric(took.median("ping-from-volume")/took.median("ping-from-image"), "ping-volume/image")
}

// volumePath is the API's path of the demo project's volumes.
func (w *bench) volumePath() string {
	return fmt.Sprintf("/v3/%v/volumes", w.demo.object("openstack", "project", "show", w.demo.Project)["id"])
}

func (w *bench) volume(path, of string) string {
	id := w.post(cloud.Volume, path, "volume", `{"size": 1, "name": "b"`+of+`}`)
	w.volumeIs(path, id, "available")
	return id
}

func (w *bench) volumeIs(path, id, status string) {
	w.t.Helper()
	w.soon("the volume is "+status, func() error {
		v, err := w.demo.api(cloud.Volume, path+"/"+id)
		if err != nil {
			return err
		}
		one, _ := v["volume"].(map[string]any)
		if one["status"] != status {
			return fmt.Errorf("it is %v", one["status"])
		}
		return nil
	})
}

// BenchmarkVolumeAttach is a volume from the request to attach it until the running guest has the disk.
func BenchmarkVolumeAttach(b *testing.B) {
	w := prepared(newCloud(b, "auto")).forDemo()
	server, address, _ := w.booted(fmt.Sprintf(`"imageRef": %q`, w.image))
	w.eventually(bootPatience, "SSH", func() error { _, err := w.ssh(w.dhcp, w.key, address, "true"); return err })
	path := w.volumePath()
	id := w.volume(path, "")
	took := measures{}
	for b.Loop() {
		seen := w.watchDisk(address)
		start := time.Now()
		w.post(cloud.Compute, "/v2.1/servers/"+server+"/os-volume_attachments", "volumeAttachment", fmt.Sprintf(`{"volumeId": %q}`, id))
		require.Equal(b, "seen", <-seen)
		took.add("seen", float64(time.Since(start).Milliseconds()))
		w.volumeIs(path, id, "in-use")
		start = time.Now()
		w.delete(cloud.Compute, "/v2.1/servers/"+server+"/os-volume_attachments/"+id)
		w.volumeIs(path, id, "available")
		took.add("detach", float64(time.Since(start).Milliseconds()))
	}
	b.ReportMetric(took.median("seen"), "ms-attach-until-seen")
	b.ReportMetric(took.median("detach"), "ms-detach")
	w.removed(server)
}

// watchDisk says "seen" when the guest has its second disk; it looks every 10 ms.
func (w *bench) watchDisk(address string) <-chan string {
	w.t.Helper()
	arguments := w.sshArguments("echo watching; until [ -e /sys/block/vdb ]; do usleep 10000; done; echo seen")
	arguments[slices.Index(arguments, "cirros@"+vm1Address)] = "cirros@" + address
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	cmd := exec.CommandContext(ctx, "ip", arguments...)
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(w.t, lines.Scan())
	seen := make(chan string, 1)
	go func() {
		defer cancel()
		lines.Scan()
		seen <- lines.Text()
		_ = cmd.Wait()
	}()
	return seen
}

// BenchmarkVolumeDisk is what a guest gets out of a volume, beside the same guest on the same file in a QEMU that was started by
// hand: 4 KiB at random places and 1 MiB in sequence, one request after the other, past the guest's page cache. They take turns.
func BenchmarkVolumeDisk(b *testing.B) {
	labtest.RequireProgram(b, "cpio", "cpio")
	w := prepared(newCloud(b, "auto"))
	initrd := w.benchInitrd()
	image := w.benchImage(initrd)
	path := w.volumePath()
	id := w.volume(path, "")
	file := filepath.Join(w.DataDir, "volumes", "volume-"+id)
	fillFile(b, file) // so that nobody pays for making room
	rates := measures{}
	for b.Loop() {
		for range volumeTurns {
			w.diskOfServer(image, path, id, func(what string, rate float64) { rates.add(what, rate) })
			w.diskByHand(initrd, file, func(what string, rate float64) { rates.add(what+"-by-hand", rate) })
		}
	}
	for _, what := range []string{"sequential-write", "sequential-read", "random-write", "random-read"} {
		unit := "MB/s-"
		if strings.HasPrefix(what, "random") {
			unit = "per-second-"
		}
		b.ReportMetric(rates.median(what), unit+what)
		b.ReportMetric(rates.median(what)/rates.median(what+"-by-hand"), what+"/by-hand")
	}
}

// diskBytes is how much of a disk is gone over.
const diskBytes = 128 << 20

func fillFile(b *testing.B, name string) {
	b.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	require.NoError(b, err)
	_, err = io.CopyN(f, rand.Reader, diskBytes)
	require.NoError(b, err)
	require.NoError(b, f.Sync())
	require.NoError(b, f.Close())
}

// benchInitrd is the guest's, with a program in place of its system: Linux takes the last of the files with one name.
func (w *bench) benchInitrd() string {
	w.t.Helper()
	dir := filepath.Join(filepath.Dir(w.binary), "initrd")
	require.NoError(w.t, os.MkdirAll(dir, 0o755))
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "diskbench"), "./diskbench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1")
	out, err := build.CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	script := `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/load
until [ -b /dev/vdb ]; do sleep 0.1; done
/diskbench /dev/vdb 2 ` + strconv.Itoa(diskBytes) + ` >/dev/console 2>&1
echo bench ended >/dev/console
while :; do sleep 1000; done
`
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, "init"), []byte(script), 0o755)) //nolint:gosec // a program
	w.must("sh", "-c", "cd "+dir+" && printf '%s\\n' init diskbench | cpio --quiet -o -H newc | gzip -1 >../more && cat "+absolute(w.t, guestDir+"/initrd")+" ../more >../both")
	return filepath.Join(filepath.Dir(dir), "both")
}

// benchImage is an image that boots with the initrd.
func (w *bench) benchImage(initrd string) string {
	admin := w.admin()
	admin.t = w.t
	ramdisk := admin.id("openstack", "image", "create", "--public", "--disk-format", "ari", "--container-format", "ari", "--file", initrd, "bench-ramdisk")
	kernel := admin.id("openstack", "image", "show", "cirros-kernel")
	return admin.id("openstack", "image", "create", "--public", "--disk-format", "ami", "--container-format", "ami", "--file", guestDir+"/root.img",
		"--property", "kernel_id="+kernel, "--property", "ramdisk_id="+ramdisk, "--property", "os_command_line="+w.commandLine(), "bench")
}

func (w *bench) commandLine() string {
	line, err := os.ReadFile(guestDir + "/cmdline")
	require.NoError(w.t, err)
	return strings.TrimSpace(string(line))
}

// diskOfServer boots a server with the volume as its second disk, and says what it measures.
func (w *bench) diskOfServer(image, path, volume string, say func(what string, rate float64)) {
	w.t.Helper()
	server := w.post(cloud.Compute, "/v2.1/servers", "server", fmt.Sprintf(`{"name": "b", "imageRef": %q, "flavorRef": "1", "networks": [{"uuid": %q}],
		"block_device_mapping_v2": [{"boot_index": 0, "uuid": %[1]q, "source_type": "image", "destination_type": "local", "delete_on_termination": true},
			{"boot_index": -1, "uuid": %[3]q, "source_type": "volume", "destination_type": "volume"}]}`, image, w.network, volume))
	w.benched(say, func() (string, error) {
		v, err := w.demo.call("POST", cloud.Compute, "/v2.1/servers/"+server+"/action", `{"os-getConsoleOutput": {}}`)
		return fmt.Sprint(v["output"]), err
	})
	w.removed(server)
	w.volumeIs(path, volume, "available")
}

// diskByHand boots the same guest on the same file.
func (w *bench) diskByHand(initrd, file string, say func(what string, rate float64)) {
	w.t.Helper()
	console := filepath.Join(w.DataDir, "hand.log")
	qemu := exec.Command("qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg,tb-size=32", "-cpu", "qemu64", "-m", "128", "-display", "none",
		"-kernel", guestDir+"/kernel", "-initrd", initrd, "-append", w.commandLine(), "-drive", "if=virtio,format=raw,snapshot=on,file="+guestDir+"/root.img",
		"-drive", "if=virtio,format=raw,cache=none,file="+file, "-serial", "file:"+console, "-device", "virtio-rng-pci")
	require.NoError(w.t, qemu.Start())
	defer func() { _ = qemu.Process.Kill(); _ = qemu.Wait() }()
	w.benched(say, func() (string, error) {
		text, err := os.ReadFile(console)
		return string(text), err
	})
}

// benched waits for what diskbench prints to the console.
func (w *bench) benched(say func(what string, rate float64), console func() (string, error)) {
	w.t.Helper()
	var text string
	w.eventually(2*time.Minute, "the guest has measured its disk", func() (err error) {
		if text, err = console(); err == nil && !strings.Contains(text, "bench ended") {
			err = fmt.Errorf("the console has %q", text)
		}
		return err
	})
	found := regexp.MustCompile(`bench (\S+) ([0-9.]+)`).FindAllStringSubmatch(text, -1)
	require.Len(w.t, found, 4, text)
	for _, line := range found {
		rate, err := strconv.ParseFloat(line[2], 64)
		require.NoError(w.t, err)
		say(line[1], rate)
	}
}

// BenchmarkVolumeImage makes an image of a volume of 1 GiB of which 128 MiB are written, and a volume of that image, beside cp,
// sync and sha512sum of the same bytes. They take turns; the medians are told.
func BenchmarkVolumeImage(b *testing.B) {
	w := prepared(newCloud(b, "auto"))
	path := w.volumePath()
	id := w.volume(path, "")
	file := filepath.Join(w.DataDir, "volumes", "volume-"+id)
	fillFile(b, file)
	took := measures{}
	for b.Loop() {
		for range volumeTurns {
			start := time.Now()
			image := w.uploaded(path, id)
			took.add("upload", float64(time.Since(start).Milliseconds()))
			start = time.Now()
			volume := w.volume(path, fmt.Sprintf(`, "imageRef": %q`, image))
			took.add("download", float64(time.Since(start).Milliseconds()))
			start = time.Now()
			w.must("sh", "-c", "cp "+file+" "+file+".copy && sync "+file+".copy && sha512sum "+file+".copy && rm "+file+".copy")
			took.add("cp+sha512sum", float64(time.Since(start).Milliseconds()))
			w.delete(cloud.Volume, path+"/"+volume)
			w.delete(cloud.Image, "/v2/images/"+image)
		}
	}
	for what := range took {
		b.ReportMetric(took.median(what), "ms-"+what)
	}
	b.ReportMetric(took.median("upload")/took.median("cp+sha512sum"), "upload/cp+sha512sum")
	b.ReportMetric(took.median("download")/took.median("cp+sha512sum"), "download/cp+sha512sum")
}

// uploaded makes an image of a volume.
func (w *bench) uploaded(path, volume string) string {
	w.t.Helper()
	v, err := w.demo.call("POST", cloud.Volume, path+"/"+volume+"/action", `{"os-volume_upload_image": {"image_name": "b", "disk_format": "raw", "container_format": "bare"}}`)
	require.NoError(w.t, err)
	made, _ := v["os-volume_upload_image"].(map[string]any)
	image := fmt.Sprint(made["image_id"])
	w.soon("the image is active", func() error {
		i, err := w.demo.api(cloud.Image, "/v2/images/"+image)
		if err == nil && i["status"] != "active" {
			err = fmt.Errorf("it is %v", i["status"])
		}
		return err
	})
	w.volumeIs(path, volume, "available")
	return image
}
