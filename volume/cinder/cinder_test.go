package cinder_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/cinder"
	"github.com/kintoun/kintoun/volume/memvolume"
)

const (
	redProject   = "6f70656e737461636b20342065766572"
	blueProject  = "0123456789abcdef0123456789abcdef"
	adminProject = "fedcba9876543210fedcba9876543210"
	redUser      = "72756279727562797275627972756279"
	imageUUID    = "70a599e0-31e7-49b7-b260-868f441e862b"
)

// tokens knows three callers by their tokens: "red", "blue" and "admin".
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*identity.Caller, error) {
	switch token {
	case "red":
		return &identity.Caller{UserID: redUser, ProjectID: redProject, Roles: []identity.Role{{Name: "member"}}}, nil
	case "blue":
		return &identity.Caller{UserID: "bob", ProjectID: blueProject, Roles: []identity.Role{{Name: "member"}}}, nil
	case "admin":
		return &identity.Caller{UserID: "root", ProjectID: adminProject, Roles: []identity.Role{{Name: "admin"}}}, nil
	}
	return nil, identity.ErrUnauthorized
}

// images has one image, and takes what is uploaded.
type images struct {
	mu       sync.Mutex
	uploaded map[string][]byte
}

type disk struct{ *bytes.Reader }

func (disk) Close() error { return nil }

func (i *images) Image(_ context.Context, _ volume.Scope, id string) (volume.Image, error) {
	if id != imageUUID {
		return volume.Image{}, volume.ErrNotFound
	}
	return volume.Image{
		ID: id, Name: "cirros", Status: "active", DiskFormat: "raw", ContainerFormat: "bare", Size: 4096, VirtualBytes: 4096,
		Properties: map[string]string{"hw_disk_bus": "virtio"},
	}, nil
}

func (i *images) OpenImage(context.Context, string) (volume.ImageData, error) {
	return disk{bytes.NewReader(bytes.Repeat([]byte("disk"), 1024))}, nil
}

func (i *images) CreateImage(context.Context, volume.Scope, volume.ImageSpec) (string, error) {
	return uuid.NewString(), nil
}

func (i *images) UploadImage(_ context.Context, id string, r io.Reader, _ int64) error {
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	i.mu.Lock()
	defer i.mu.Unlock()
	i.uploaded[id] = data
	return err
}

// objects keeps backups.
type objects struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (o *objects) Put(_ context.Context, projectID, container, object string, r io.Reader) error {
	data, err := io.ReadAll(r)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept[projectID+"/"+container+"/"+object] = data
	return err
}

func (o *objects) Open(_ context.Context, projectID, container, object string) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	data, ok := o.kept[projectID+"/"+container+"/"+object]
	if !ok {
		return nil, volume.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (o *objects) Delete(_ context.Context, projectID, container, object string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.kept, projectID+"/"+container+"/"+object)
	return nil
}

// secrets keeps keys.
type secrets struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (s *secrets) CreateSecret(_ context.Context, _ string, value []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uuid.NewString()
	s.kept[id] = value
	return id, nil
}

func (s *secrets) Secret(_ context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id], nil
}

func (s *secrets) DeleteSecret(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, id)
	return nil
}

// cloud is the API over a service whose pool is in memory.
type cloud struct {
	*volume.Service
	url  string
	pool *memvolume.Pool
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c := &cloud{pool: memvolume.NewPool(100 << 30)}
	c.Service, err = volume.New(t.Context(), db, &volume.Options{
		Images: &images{uploaded: map[string][]byte{}}, Backups: &objects{kept: map[string][]byte{}}, Keys: &secrets{kept: map[string][]byte{}},
	})
	require.NoError(t, err)
	agent := volume.NewAgent(c.Service, volume.Backend{Host: "host1", Name: "mem"}, memvolume.New(c.pool, nil), &volume.AgentOptions{FilterFunction: "volume.size < 1000"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.NoError(t, agent.Started(t.Context()))
	server := httptest.NewServer(cinder.Handler(c.Service, tokens{}, &cinder.Options{AuthURL: "http://identity/"}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// client is gophercloud's, at a microversion.
func (c *cloud) client(token, microversion string) *gophercloud.ServiceClient {
	project := map[string]string{"red": redProject, "blue": blueProject, "admin": adminProject}[token]
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: token}, Endpoint: c.url + "/v3/" + project + "/", Type: "volume", Microversion: microversion,
	}
}

// answer is what the API said.
type answer struct {
	code   int
	header http.Header
	body   map[string]any
	text   string
}

// call sends a request as a plain client; body is JSON or empty.
func (c *cloud) call(t testing.TB, token, microversion, method, path, body string) answer {
	t.Helper()
	return c.send(t, method, path, body, map[string]string{"X-Auth-Token": token, "OpenStack-API-Version": "volume " + microversion})
}

func (c *cloud) send(t testing.TB, method, path, body string, header map[string]string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range header {
		if strings.TrimSpace(strings.TrimPrefix(value, "volume")) != "" {
			r.Header.Set(name, value)
		}
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	a := answer{code: response.StatusCode, header: response.Header, text: string(data)}
	if len(data) > 0 {
		require.NoError(t, json.Unmarshal(data, &a.body), "%s", data)
	}
	return a
}

// fault is the name and message of a fault body, whose code must be the answer's.
func (a answer) fault(t testing.TB) (name, message string) {
	t.Helper()
	require.Len(t, a.body, 1, a.text)
	for name, inner := range a.body {
		o := inner.(map[string]any)
		require.EqualValues(t, a.code, o["code"], a.text)
		return name, o["message"].(string)
	}
	return "", ""
}

// get is what lies behind the keys of a body.
func (a answer) get(t testing.TB, keys ...string) any {
	t.Helper()
	var value any = a.body
	for _, key := range keys {
		o, ok := value.(map[string]any)
		require.True(t, ok, "%s in %s", key, a.text)
		value, ok = o[key]
		require.True(t, ok, "%s in %s", key, a.text)
	}
	return value
}

// make creates a volume of one GiB for the project and waits until it can be used.
func (c *cloud) make(t testing.TB, token, fields string) string {
	t.Helper()
	made := c.call(t, token, "3.70", "POST", "/v3/volumes", fmt.Sprintf(`{"volume": {"size": 1%s}}`, fields))
	require.Equal(t, http.StatusAccepted, made.code, made.text)
	id := made.get(t, "volume", "id").(string)
	c.await(t, id, volume.Available)
	return id
}

var root = volume.Scope{Admin: true}

func (c *cloud) await(t testing.TB, id string, status volume.Status) {
	t.Helper()
	v, err := c.Await(t.Context(), root, id, func(v *volume.Volume) bool { return v.Status == status || v.Status == volume.Errored })
	require.NoError(t, err)
	require.Equal(t, status, v.Status)
}

func TestPoolsAreFoundByTypeAndTellTheirFunctions(t *testing.T) {
	c := newCloud(t)
	for name, specs := range map[string]string{"here": `{"volume_backend_name": "mem"}`, "nowhere": `{"volume_backend_name": "tape"}`} {
		a := c.call(t, "admin", "3.0", "POST", "/v3/"+adminProject+"/types", `{"volume_type": {"name": "`+name+`", "extra_specs": `+specs+`}}`)
		require.Equal(t, 200, a.code, a.text)
	}
	names := func(microversion, query string) int {
		a := c.call(t, "admin", microversion, "GET", "/v3/"+adminProject+"/scheduler-stats/get_pools?"+query, "")
		require.Equal(t, 200, a.code, a.text)
		return len(a.body["pools"].([]any))
	}
	require.Equal(t, 1, names("3.35", "volume_type=here"))
	require.Equal(t, 0, names("3.35", "volume_type=nowhere"))
	require.Equal(t, 1, names("3.30", "volume_type=nowhere"), "it is not known there")
	require.Equal(t, 404, c.call(t, "admin", "3.35", "GET", "/v3/"+adminProject+"/scheduler-stats/get_pools?volume_type=none", "").code)
	a := c.call(t, "admin", "3.0", "GET", "/v3/"+adminProject+"/scheduler-stats/get_pools?detail=true", "")
	require.Contains(t, a.text, `"filter_function":"volume.size \u003c 1000"`)
	require.Contains(t, a.text, `"goodness_function":null`)
}

// TestSharedVolumesByTheOldParameter has volumes that were said to be for several servers in the request, as Cinder has it up to
// Zed.
func TestSharedVolumesByTheOldParameter(t *testing.T) {
	c := newCloud(t)
	a := c.call(t, "red", "3.70", "POST", "/v3/"+redProject+"/volumes", `{"volume": {"size": 1, "multiattach": true}}`)
	require.Equal(t, 202, a.code, a.text)
	require.Equal(t, true, a.body["volume"].(map[string]any)["multiattach"])
	types := c.call(t, "admin", "3.0", "POST", "/v3/"+adminProject+"/types", `{"volume_type": {"name": "sealed"}}`)
	id := types.body["volume_type"].(map[string]any)["id"].(string)
	sealed := c.call(t, "admin", "3.0", "POST", "/v3/"+adminProject+"/types/"+id+"/encryption", `{"encryption": {"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": 256}}`)
	require.Equal(t, 200, sealed.code, sealed.text)
	a = c.call(t, "red", "3.70", "POST", "/v3/"+redProject+"/volumes", `{"volume": {"size": 1, "multiattach": true, "volume_type": "sealed"}}`)
	require.Equal(t, 400, a.code, a.text)
	require.Contains(t, a.text, "Multi-attach cannot be used with encrypted volumes")
}
