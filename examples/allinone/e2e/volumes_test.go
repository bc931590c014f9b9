//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestVolumes has servers with volumes: attached while they run, grown, photographed, backed up, booted from; and the control
// plane killed meanwhile. The images are objects of the cloud's own object storage.
func TestVolumes(t *testing.T) {
	w := &walk{testCloud: newCloud(t, "bridge", "-image-stores", cloud.ObjectImages+",file")}
	w.inOrder([]row{
		{"images and networks", w.prepare},
		{"rules", w.rules},
		{"a server", func() { w.serverWith("vm1", vm1Address, "--image", "cirros") }},
		{"another server from the same image", w.imageOfObjects},
		{"attach", w.attachVolume},
		{"a snapshot in use", w.snapshotInUse},
		{"extend in use", w.extendInUse},
		{"the server is killed", w.killedWithVolume},
		{"detach, and what the snapshot holds", w.detachVolume},
		{"backup and restore", w.backupVolume},
		{"boot from a volume", w.bootFromVolume},
		{"an image of a volume", w.imageOfVolume},
		{"everything goes", w.deleteVolumes},
	})
}

// TestVolumesInLayers has servers with volumes that are qcow2 files, whose storage daemon is killed, too.
func TestVolumesInLayers(t *testing.T) {
	w := &walk{testCloud: newCloud(t, "bridge", "-volumes-format", "qcow2")}
	w.inOrder([]row{
		{"images and networks", w.prepare},
		{"rules", w.rules},
		{"a server", func() { w.serverWith("vm1", vm1Address, "--image", "cirros") }},
		{"attach", w.attachVolume},
		{"a snapshot in use", w.snapshotInUse},
		{"extend in use", w.extendInUse},
		{"the server is killed", w.killedWithVolume},
		{"the storage daemon is killed", w.killedStorage},
		{"detach, and what the snapshot holds", w.detachVolume},
		{"boot from a volume", w.bootFromVolume},
		{"everything goes", func() {
			w.demo.cli("openstack", "server", "delete", "--wait", "vm1")
			w.demo.cli("openstack", "volume", "snapshot", "delete", "snap")
			w.volumesGo()
			left, err := os.ReadDir(w.Path("volumes.qcow2", "layers"))
			require.NoError(w.t, err)
			require.Empty(w.t, left)
		}},
	})
}

// killedStorage kills what serves the disk: the guest waits until it is served again.
func (w *walk) killedStorage() {
	w.killStorage()
	require.Equal(w.t, w.second, w.sum("/dev/vdb"))
	w.second = w.fill("/dev/vdb")
}

// killStorage kills the storage daemon.
func (w *walk) killStorage() {
	w.t.Helper()
	text, err := os.ReadFile(w.Path("volumes.qcow2", "daemon", "pid"))
	require.NoError(w.t, err)
	pid, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.Atoi(pid)
	require.NoError(w.t, err)
	require.NoError(w.t, syscall.Kill(n, syscall.SIGKILL))
}

// serverWith makes a server and logs in to it.
func (w *walk) serverWith(name, address string, from ...string) {
	w.t.Helper()
	w.demo.cli(append(append([]string{"openstack", "server", "create", "--flavor", "m1.tiny", "--network", "private", "--key-name", "demo"}, from...), name)...)
	w.demo.becomes(name, "ACTIVE")
	w.loggedIn(w.dhcp, address, name)
}

// imageOfObjects boots a second server from an image that is kept as an object: its local copy was made for the first.
func (w *walk) imageOfObjects() {
	admin := w.admin()
	id := fmt.Sprint(admin.object("openstack", "image", "show", "cirros")["id"])
	image, err := admin.api(cloud.Image, "/v2/images/"+id)
	require.NoError(w.t, err)
	require.Equal(w.t, cloud.ObjectImages, image["stores"])
	before, hits := w.copies(), w.hits(admin, id)
	require.Len(w.t, before, 3, "the disk, the kernel and the ramdisk")
	require.Positive(w.t, hits)
	w.serverWith("again", vm2Address, "--image", "cirros")
	require.Equal(w.t, before, w.copies(), "nothing is copied again")
	require.Greater(w.t, w.hits(admin, id), hits)
	w.demo.cli("openstack", "server", "delete", "--wait", "again")
}

// copies are the files of the local copies of images: which they are, and when they were made.
func (w *walk) copies() (files []string) {
	w.t.Helper()
	dir := w.Path("image-copies", "copies")
	entries, err := os.ReadDir(dir)
	require.NoError(w.t, err)
	for _, e := range entries {
		var s unix.Stat_t
		require.NoError(w.t, unix.Stat(filepath.Join(dir, e.Name()), &s))
		files = append(files, fmt.Sprintf("%s: inode %d of %d bytes, written at %d.%09d", e.Name(), s.Ino, s.Size, s.Mtim.Sec, s.Mtim.Nsec))
	}
	return files
}

// hits is how often the local copy of an image was asked for.
func (w *walk) hits(admin *user, id string) float64 {
	w.t.Helper()
	answer, err := admin.api(cloud.Image, "/v2/cache")
	require.NoError(w.t, err)
	list, _ := answer["cached_images"].([]any)
	for _, one := range list {
		if cached, _ := one.(map[string]any); cached["image_id"] == id {
			hits, _ := cached["hits"].(float64)
			return hits
		}
	}
	return 0
}

// volumeBecomes waits until the volume has the status, and returns it.
func (u *user) volumeBecomes(name, status string) map[string]any {
	u.t.Helper()
	return u.thingBecomes("volumes", name, status)
}

func (u *user) thingBecomes(kind, name, status string) (thing map[string]any) {
	u.t.Helper()
	project := u.object("openstack", "project", "show", u.Project)["id"]
	u.eventually(bootPatience, name+" is "+status, func() error {
		found, err := u.api(cloud.Volume, fmt.Sprintf("/v3/%s/%s/detail?name=%s", project, kind, name))
		if err != nil {
			return err
		}
		list, _ := found[kind].([]any)
		if len(list) != 1 {
			return fmt.Errorf("%d %s are named %s", len(list), kind, name)
		}
		thing, _ = list[0].(map[string]any)
		if thing["status"] != status {
			require.NotContains(u.t, thing["status"], "error", "%s", name)
			return fmt.Errorf("%s is %v", name, thing["status"])
		}
		return nil
	})
	return thing
}

// inGuest runs a command as root in vm1, or the server with the address.
func (w *walk) inGuest(address, command string) string {
	w.t.Helper()
	out, err := w.ssh(w.dhcp, w.key, address, "sudo sh -c '"+command+"'")
	require.NoError(w.t, err)
	return strings.TrimSpace(out)
}

// sum is a checksum of the first 8 MiB of a disk in vm1, read from the disk itself.
func (w *walk) sum(device string) string {
	w.t.Helper()
	sum, _, _ := strings.Cut(w.inGuest(vm1Address, "echo 3 >/proc/sys/vm/drop_caches; dd if="+device+" bs=1M count=8 2>/dev/null | md5sum"), " ")
	require.Len(w.t, sum, 32)
	return sum
}

// fill writes 8 MiB of noise to a disk of vm1, flushed, and returns its checksum.
func (w *walk) fill(device string) string {
	w.t.Helper()
	w.inGuest(vm1Address, "dd if=/dev/urandom of="+device+" bs=1M count=8 conv=fsync 2>/dev/null; sync")
	return w.sum(device)
}

// disks waits until vm1 has so many bytes on the disk of that name; zero is no such disk.
func (w *walk) disk(name string, bytes int64) {
	w.t.Helper()
	want := ""
	if bytes > 0 {
		want = fmt.Sprint(bytes / 512)
	}
	w.eventually(30*time.Second, fmt.Sprintf("%s has %d bytes", name, bytes), func() error {
		have, err := w.ssh(w.dhcp, w.key, vm1Address, "cat /sys/block/"+name+"/size 2>/dev/null || true")
		if err == nil && strings.TrimSpace(have) != want {
			err = fmt.Errorf("it has %s sectors", have)
		}
		return err
	})
}

const gib = 1 << 30

func (w *walk) attachVolume() {
	w.demo.cli("openstack", "volume", "create", "--size", "1", "data")
	w.demo.volumeBecomes("data", "available")
	w.demo.cli("openstack", "server", "add", "volume", "vm1", "data")
	w.demo.volumeBecomes("data", "in-use")
	w.disk("vdb", gib)
	w.first = w.fill("/dev/vdb")
}

func (w *walk) snapshotInUse() {
	w.demo.cli("openstack", "volume", "snapshot", "create", "--force", "--volume", "data", "snap")
	w.demo.thingBecomes("snapshots", "snap", "available")
	w.second = w.fill("/dev/vdb")
	require.NotEqual(w.t, w.first, w.second)
}

func (w *walk) extendInUse() {
	w.demo.cli("openstack", "--os-volume-api-version", "3.42", "volume", "set", "--size", "2", "data")
	w.demo.volumeBecomes("data", "in-use")
	w.disk("vdb", 2*gib)
	require.Equal(w.t, w.second, w.sum("/dev/vdb"))
}

// killedWithVolume kills the control plane: the guest's disk goes on, and is governed by the next one.
func (w *walk) killedWithVolume() {
	w.kill()
	w.second = w.fill("/dev/vdb")
	w.start()
	w.demo.becomes("vm1", "ACTIVE")
	w.demo.volumeBecomes("data", "in-use")
	require.Equal(w.t, w.second, w.sum("/dev/vdb"))
}

func (w *walk) detachVolume() {
	w.demo.cli("openstack", "server", "remove", "volume", "vm1", "data")
	w.demo.volumeBecomes("data", "available")
	w.disk("vdb", 0)
	w.demo.cli("openstack", "volume", "create", "--snapshot", "snap", "then")
	w.demo.volumeBecomes("then", "available")
	w.demo.cli("openstack", "server", "add", "volume", "vm1", "then")
	w.demo.volumeBecomes("then", "in-use")
	w.disk("vdb", gib)
	require.Equal(w.t, w.first, w.sum("/dev/vdb"), "the snapshot holds what was there when it was taken")
	w.demo.cli("openstack", "server", "remove", "volume", "vm1", "then")
	w.demo.volumeBecomes("then", "available")
	w.disk("vdb", 0)
}

func (w *walk) backupVolume() {
	w.demo.cli("openstack", "volume", "backup", "create", "--name", "saved", "data")
	backup := w.demo.thingBecomes("backups", "saved", "available")
	w.demo.volumeBecomes("data", "available")
	w.demo.cli("openstack", "volume", "create", "--size", "2", "restored")
	restored := w.demo.volumeBecomes("restored", "available")
	// Debian 12's openstack sends this, and then trips over any answer.
	_, err := w.demo.call("POST", cloud.Volume, fmt.Sprintf("/v3/%s/backups/%s/restore", w.demo.object("openstack", "project", "show", "demo")["id"], backup["id"]),
		fmt.Sprintf(`{"restore": {"volume_id": %q}}`, restored["id"]))
	require.NoError(w.t, err)
	w.demo.volumeBecomes("restored", "available")
	w.demo.cli("openstack", "server", "add", "volume", "vm1", "restored")
	w.demo.volumeBecomes("restored", "in-use")
	w.disk("vdb", 2*gib)
	require.Equal(w.t, w.second, w.sum("/dev/vdb"))
	w.demo.cli("openstack", "server", "remove", "volume", "vm1", "restored")
	w.demo.volumeBecomes("restored", "available")
}

func (w *walk) bootFromVolume() {
	w.demo.cli("openstack", "volume", "create", "--size", "1", "--image", "cirros", "root")
	require.Equal(w.t, "true", w.demo.volumeBecomes("root", "available")["bootable"])
	w.serverWith("vm2", vm2Address, "--volume", "root")
	w.inGuest(vm2Address, "echo kept >/root/mark; sync")
	w.demo.cli("openstack", "server", "delete", "--wait", "vm2")
	w.demo.volumeBecomes("root", "available")
	w.serverWith("vm3", vm2Address, "--volume", "root")
	require.Equal(w.t, "kept", w.inGuest(vm2Address, "cat /root/mark"))
	w.demo.cli("openstack", "server", "delete", "--wait", "vm3")
	// A volume that is made for the server, and goes with it.
	w.serverWith("vm4", vm2Address, "--image", "cirros", "--boot-from-volume", "1")
	w.demo.cli("openstack", "server", "delete", "--wait", "vm4")
}

func (w *walk) imageOfVolume() {
	w.demo.volumeBecomes("root", "available")
	w.demo.cli("openstack", "image", "create", "--volume", "root", "--disk-format", "raw", "--container-format", "bare", "rescued")
	w.demo.volumeBecomes("root", "available")
	image := w.demo.object("openstack", "image", "show", "rescued")
	require.Equal(w.t, []any{"active", float64(gib)}, []any{image["status"], image["size"]})
}

func (w *walk) deleteVolumes() {
	w.demo.cli("openstack", "server", "delete", "--wait", "vm1")
	w.demo.cli("openstack", "volume", "backup", "delete", "saved")
	w.demo.cli("openstack", "volume", "snapshot", "delete", "snap")
	w.volumesGo()
}

func (w *walk) volumesGo() {
	for _, row := range w.demo.rows("openstack", "volume", "list") {
		w.demo.cli("openstack", "volume", "delete", fmt.Sprint(row["ID"]))
	}
	w.eventually(bootPatience, "all volumes are gone", func() error {
		if left := w.demo.rows("openstack", "volume", "list"); len(left) > 0 {
			return fmt.Errorf("%v are left", left)
		}
		return nil
	})
}
