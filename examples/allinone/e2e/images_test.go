//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/stretchr/testify/require"
)

// TestImagesOfServers keeps a server that runs as images and backups, and kills the control plane meanwhile.
func TestImagesOfServers(t *testing.T) {
	w := &walk{testCloud: newCloud(t, "bridge")}
	w.inOrder([]row{
		{"images and networks", w.prepare},
		{"rules", w.rules},
		{"a server", func() { w.serverWith("vm1", vm1Address, "--image", "cirros") }},
		{"an image of it", w.imageOfServer},
		{"backups of it", w.backupsOfServer},
		{"the server is killed", w.killedWhileImaging},
		{"everything goes", func() { w.demo.cli("openstack", "server", "delete", "--wait", "vm1") }},
	})
}

// imageOfServer makes an image, from which another server boots with what the first has written.
func (w *walk) imageOfServer() {
	w.inGuest(vm1Address, "echo kept >/root/mark; sync")
	w.demo.cli("openstack", "server", "image", "create", "--name", "kept", "--wait", "vm1")
	require.Equal(w.t, "active", w.demo.object("openstack", "image", "show", "kept")["status"])
	w.inGuest(vm1Address, "echo later >/root/mark; sync")
	w.serverWith("copy", vm2Address, "--image", "kept")
	require.Equal(w.t, "kept", w.inGuest(vm2Address, "cat /root/mark"))
	w.demo.cli("openstack", "server", "delete", "--wait", "copy")
}

// backupsOfServer makes two, of which the later stays.
func (w *walk) backupsOfServer() {
	for _, day := range []string{"monday", "tuesday"} {
		w.demo.cli("openstack", "server", "backup", "create", "--name", day, "--type", "daily", "--rotate", "1", "--wait", "vm1")
		w.demo.becomes("vm1", "ACTIVE")
	}
	require.Empty(w.t, w.demo.rows("openstack", "image", "list", "--name", "monday"))
	require.Len(w.t, w.demo.rows("openstack", "image", "list", "--name", "tuesday"), 1)
}

// killedWhileImaging kills the control plane at different moments of an image's making: the next one ends it, and the guest has
// not noticed.
func (w *walk) killedWhileImaging() {
	server := fmt.Sprint(w.demo.object("openstack", "server", "show", "vm1")["id"])
	boot := w.inGuest(vm1Address, "cat /proc/sys/kernel/random/boot_id")
	for i := range 4 {
		_, err := w.demo.call(http.MethodPost, cloud.Compute, "/v2.1/servers/"+server+"/action", `{"createImage": {"name": "killed"}}`)
		require.NoError(w.t, err)
		time.Sleep(time.Duration(i*150) * time.Millisecond)
		w.kill()
		w.start()
		w.eventually(bootPatience, "the image is active", func() error {
			found, err := w.demo.api(cloud.Image, "/v2/images?name=killed")
			if err != nil {
				return err
			}
			list, _ := found["images"].([]any)
			for _, one := range list {
				if image, _ := one.(map[string]any); image["status"] != "active" {
					return fmt.Errorf("image %v is %v", image["id"], image["status"])
				}
			}
			require.Len(w.t, list, i+1)
			return nil
		})
		w.eventually(bootPatience, "nothing is being done with the server", func() error {
			found, err := w.demo.api(cloud.Compute, "/v2.1/servers/"+server)
			if err != nil {
				return err
			}
			v, _ := found["server"].(map[string]any)
			if v["OS-EXT-STS:task_state"] != nil || v["status"] != "ACTIVE" {
				return fmt.Errorf("it is %v, %v", v["status"], v["OS-EXT-STS:task_state"])
			}
			return nil
		})
		require.NoDirExists(w.t, w.Path("instances", server, "capture"))
	}
	require.DirExists(w.t, w.Path("instances", server))
	require.Equal(w.t, boot, w.inGuest(vm1Address, "cat /proc/sys/kernel/random/boot_id"))
}
