package nova_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/kintoun/kintoun/compute"
	"github.com/stretchr/testify/require"
)

func TestGophercloudImages(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	for _, microversion := range []string{"2.1", "2.44", "2.45", "2.96"} {
		imageID, err := servers.CreateImage(t.Context(), c.client("red", microversion), id, servers.CreateImageOpts{
			Name: "kept", Metadata: map[string]string{"a": "b"},
		}).ExtractImageID()
		require.NoError(t, err, microversion)
		require.NoError(t, uuid.Validate(imageID), microversion)
		c.await(t, id, "ACTIVE")
	}
}

func TestImagesAndBackupsOfServers(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "vm1")
	path := "/v2.1/servers/" + id + "/action"
	for _, bad := range []string{
		`{"createImage":{}}`, `{"createImage":{"name":""}}`, `{"createImage":{"name":"x","metadata":{"a":1}}}`, `{"createImage":{"name":"x","size":1}}`,
		`{"createBackup":{"name":"x","backup_type":"daily"}}`, `{"createBackup":{"name":"x","backup_type":"daily","rotation":-1}}`,
		`{"createBackup":{"name":"x","backup_type":1,"rotation":1}}`, `{"createBackup":{"name":"x","backup_type":"daily","rotation":"many"}}`,
	} {
		require.Equal(t, http.StatusBadRequest, c.call(t, "red", "2.1", "POST", path, bad).code, bad)
	}
	for _, good := range []string{`{"createImage":{"name":"x"}}`, `{"createBackup":{"name":"x","backup_type":"daily","rotation":"1"}}`} {
		require.Equal(t, http.StatusNotFound, c.call(t, "blue", "2.1", "POST", path, good).code)
		a := c.call(t, "red", "2.1", "POST", path, good)
		require.Equal(t, http.StatusAccepted, a.code, a.text)
		at := strings.LastIndex(a.header.Get("Location"), "/images/")
		require.NoError(t, uuid.Validate(a.header.Get("Location")[at+len("/images/"):]))
		c.await(t, id, "ACTIVE")
		a = c.call(t, "red", "2.45", "POST", path, good)
		require.NoError(t, uuid.Validate(a.body["image_id"].(string)))
		require.Empty(t, a.header.Get("Location"))
		c.await(t, id, "ACTIVE")
	}
	a := c.call(t, "red", "2.1", "POST", path, `{"createBackup":{"name":"x","backup_type":"daily","rotation":0}}`)
	require.Equal(t, http.StatusAccepted, a.code)
	require.Empty(t, a.header.Get("Location"), "it will not stay")
	c.await(t, id, "ACTIVE")

	boots := c.volumes.Add(redProject, compute.Volume{SizeGiB: 1, Bootable: true})
	list, err := c.CreateServers(t.Context(), compute.Scope{ProjectID: redProject, UserID: "ruby"}, compute.ServerSpec{
		Name: "boots from a volume", FlavorID: "1", Devices: []compute.BlockDevice{{Source: compute.FromVolume, ID: boots}},
	})
	require.NoError(t, err)
	c.await(t, list[0].ID, "ACTIVE")
	a = c.call(t, "red", "2.1", "POST", "/v2.1/servers/"+list[0].ID+"/action", `{"createBackup":{"name":"x","backup_type":"daily","rotation":1}}`)
	require.Equal(t, http.StatusBadRequest, a.code)
	_, message := a.fault(t)
	require.Equal(t, "Backup is not supported for volume-backed instances.", message)
}
