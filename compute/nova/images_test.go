package nova_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/nova"
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

// proxiedImages are the images of the old calls: red's.
type proxiedImages struct {
	images []nova.Image
	filter nova.ImageFilter
}

func (p *proxiedImages) find(scope compute.Scope, id string) (int, error) {
	for i := range p.images {
		if p.images[i].ID == id && scope.ProjectID == redProject {
			return i, nil
		}
	}
	return 0, compute.ErrNotFound
}

func (p *proxiedImages) Images(_ context.Context, _ compute.Scope, filter nova.ImageFilter) ([]nova.Image, error) {
	p.filter = filter
	return p.images[:min(len(p.images), filter.Limit)], nil
}

func (p *proxiedImages) Image(_ context.Context, scope compute.Scope, id string) (nova.Image, error) {
	i, err := p.find(scope, id)
	if err != nil {
		return nova.Image{}, err
	}
	return p.images[i], nil
}

func (p *proxiedImages) DeleteImage(_ context.Context, scope compute.Scope, id string) error {
	i, err := p.find(scope, id)
	if err == nil {
		p.images = append(p.images[:i], p.images[i+1:]...)
	}
	return err
}

func (p *proxiedImages) SetImageProperties(_ context.Context, scope compute.Scope, id string, change func(map[string]string) error) (map[string]string, error) {
	i, err := p.find(scope, id)
	if err != nil {
		return nil, err
	}
	changed := maps.Clone(p.images[i].Properties)
	if err := change(changed); err != nil {
		return nil, err
	}
	p.images[i].Properties = changed
	return changed, nil
}

func TestOldCallsForImages(t *testing.T) {
	c := newCloud(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c.proxiedImages.images = []nova.Image{
		{ID: "i1", Name: "kept", Status: "active", SizeBytes: 7, MinDisk: 1, Properties: map[string]string{"instance_uuid": "s", "a": "b"}, CreatedAt: at, UpdatedAt: at},
		{ID: "i2", Name: "new", Status: "queued", CreatedAt: at, UpdatedAt: at},
	}
	a := c.call(t, "red", "2.1", "GET", "/v2.1/images/i1", "")
	require.Equal(t, http.StatusOK, a.code, a.text)
	links := func(collection, id string) []any {
		return []any{
			map[string]any{"rel": "self", "href": c.url + "/v2.1/" + collection + "/" + id}, map[string]any{"rel": "bookmark", "href": c.url + "/" + collection + "/" + id},
		}
	}
	require.Equal(t, map[string]any{
		"id": "i1", "name": "kept", "status": "ACTIVE", "progress": 100.0, "minDisk": 1.0, "minRam": 0.0, "OS-EXT-IMG-SIZE:size": 7.0,
		"created": "2026-01-02T03:04:05Z", "updated": "2026-01-02T03:04:05Z", "metadata": map[string]any{"instance_uuid": "s", "a": "b"},
		"links": links("images", "i1"), "server": map[string]any{"id": "s", "links": links("servers", "s")},
	}, a.body["image"])
	for path, code := range map[string]int{"/v2.1/images/i3": 404, "/v2.1/images/i1/metadata/x": 404, "/v2.1/images?minDisk=x": 400, "/v2.1/images?changes-since=x": 400} {
		require.Equal(t, code, c.call(t, "red", "2.35", "GET", path, "").code, path)
	}
	require.Equal(t, http.StatusNotFound, c.call(t, "blue", "2.1", "GET", "/v2.1/images/i1", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "2.36", "GET", "/v2.1/images/i1", "").code)
	require.Equal(t, http.StatusOK, c.call(t, "red", "2.38", "GET", "/v2.1/images/i1/metadata", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "2.39", "GET", "/v2.1/images/i1/metadata", "").code)

	a = c.call(t, "red", "2.1", "GET", "/v2.1/images?limit=1&server=http://x/servers/s&type=snapshot&name=kept&status=ACTIVE&minRam=3&property-os=x", "")
	require.Equal(t, []any{map[string]any{"id": "i1", "name": "kept", "links": links("images", "i1")}}, a.body["images"])
	require.Contains(t, a.text, "marker=i1")
	ram := int64(3)
	require.Equal(t, nova.ImageFilter{
		Name: "kept", Status: "active", MinRAM: &ram, Limit: 1, Properties: map[string]string{"instance_uuid": "s", "image_type": "snapshot", "os": "x"},
	}, c.proxiedImages.filter)
	a = c.call(t, "red", "2.1", "GET", "/v2.1/images/detail?changes-since=2026-01-01T00:00:00Z", "")
	require.Len(t, a.body["images"], 2)
	require.Equal(t, []any{"SAVING", 25.0}, []any{a.body["images"].([]any)[1].(map[string]any)["status"], a.body["images"].([]any)[1].(map[string]any)["progress"]})
	require.Equal(t, 2026, c.proxiedImages.filter.Since.Year())

	for _, step := range []struct {
		method, path, body string
		code               int
		metadata           map[string]any
	}{
		{"POST", "", `{"metadata":{"c":"d"}}`, 200, map[string]any{"instance_uuid": "s", "a": "b", "c": "d"}},
		{"PUT", "", `{"metadata":{"e":"f"}}`, 200, map[string]any{"e": "f"}},
		{"PUT", "/g", `{"meta":{"g":"h"}}`, 200, map[string]any{"e": "f", "g": "h"}},
		{"PUT", "/g", `{"meta":{"x":"h"}}`, 400, map[string]any{"e": "f", "g": "h"}},
		{"PUT", "/g", `{"meta":{"g":"h","x":"y"}}`, 400, map[string]any{"e": "f", "g": "h"}},
		{"DELETE", "/e", "", 204, map[string]any{"g": "h"}},
		{"DELETE", "/e", "", 404, map[string]any{"g": "h"}},
	} {
		require.Equal(t, step.code, c.call(t, "red", "2.1", step.method, "/v2.1/images/i1/metadata"+step.path, step.body).code, step)
		require.Equal(t, step.metadata, c.call(t, "red", "2.1", "GET", "/v2.1/images/i1/metadata", "").body["metadata"], step)
	}
	require.Equal(t, map[string]any{"meta": map[string]any{"g": "h"}}, c.call(t, "red", "2.1", "GET", "/v2.1/images/i1/metadata/g", "").body)
	require.Equal(t, http.StatusNotFound, c.call(t, "blue", "2.1", "DELETE", "/v2.1/images/i1", "").code)
	require.Equal(t, http.StatusNoContent, c.call(t, "red", "2.1", "DELETE", "/v2.1/images/i1", "").code)
	require.Equal(t, http.StatusNotFound, c.call(t, "red", "2.1", "DELETE", "/v2.1/images/i1", "").code)
}
