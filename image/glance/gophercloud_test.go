package glance_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/imagedata"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/members"
	"github.com/stretchr/testify/require"
)

func client(s *httptest.Server, project string) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: project, HTTPClient: *http.DefaultClient},
		Endpoint:       s.URL + "/", ResourceBase: s.URL + "/v2/", Type: "image",
	}
}

func TestGophercloud(t *testing.T) {
	s := newServer(t, nil)
	ctx, alice, bob := t.Context(), client(s, "alice"), client(s, "bob")
	shared, protected := images.ImageVisibilityShared, true
	img, err := images.Create(ctx, alice, images.CreateOpts{
		Name: "disk", DiskFormat: "raw", ContainerFormat: "bare", Visibility: &shared, Tags: []string{"t"}, MinDisk: 1, Protected: &protected,
		Properties: map[string]string{"hw_disk_bus": "scsi"},
	}).Extract()
	require.NoError(t, err)
	require.Equal(t, images.ImageStatusQueued, img.Status)
	require.Equal(t, "scsi", img.Properties["hw_disk_bus"])
	require.NoError(t, imagedata.Upload(ctx, alice, img.ID, strings.NewReader("content")).ExtractErr())
	err = imagedata.Upload(ctx, alice, img.ID, strings.NewReader("again")).ExtractErr()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusConflict), "%v", err)
	content, err := imagedata.Download(ctx, alice, img.ID).Extract()
	require.NoError(t, err)
	text, err := io.ReadAll(content)
	require.NoError(t, err)
	require.NoError(t, content.(io.Closer).Close())
	require.Equal(t, "content", string(text))

	img, err = images.Update(ctx, alice, img.ID, images.UpdateOpts{
		images.ReplaceImageName{NewName: "renamed"}, images.ReplaceImageTags{NewTags: []string{"u"}}, images.ReplaceImageProtected{NewProtected: false},
		images.UpdateImageProperty{Op: images.AddOp, Name: "os_distro", Value: "debian"},
		images.UpdateImageProperty{Op: images.RemoveOp, Name: "hw_disk_bus"},
	}).Extract()
	require.NoError(t, err)
	require.Equal(t, "renamed", img.Name)
	require.Equal(t, []string{"u"}, img.Tags)
	require.Equal(t, images.ImageStatusActive, img.Status)
	require.EqualValues(t, 7, img.SizeBytes)
	require.Equal(t, "debian", img.Properties["os_distro"])

	for range 3 {
		_, err := images.Create(ctx, alice, images.CreateOpts{Name: "more"}).Extract()
		require.NoError(t, err)
	}
	pages, err := images.List(alice, images.ListOpts{Limit: 2, Sort: "name:asc"}).AllPages(ctx)
	require.NoError(t, err)
	list, err := images.ExtractImages(pages)
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Equal(t, "renamed", list[3].Name)

	_, err = images.Get(ctx, bob, img.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "%v", err)
	_, err = members.Create(ctx, alice, img.ID, "bob").Extract()
	require.NoError(t, err)
	_, err = members.Update(ctx, bob, img.ID, "bob", members.UpdateOpts{Status: "accepted"}).Extract()
	require.NoError(t, err)
	memberPages, err := members.List(alice, img.ID).AllPages(ctx)
	require.NoError(t, err)
	all, err := members.ExtractMembers(memberPages)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "accepted", all[0].Status)
	_, err = images.Get(ctx, bob, img.ID).Extract()
	require.NoError(t, err)
	require.NoError(t, members.Delete(ctx, alice, img.ID, "bob").ExtractErr())
	require.NoError(t, images.Delete(ctx, alice, img.ID).ExtractErr())
	_, err = images.Get(ctx, alice, img.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "%v", err)
}
