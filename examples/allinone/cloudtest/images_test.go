package cloudtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/image"
	"github.com/stretchr/testify/require"
)

// TestAServerIsKeptAsAnImage where some properties of images are the administrator's to give: a server's image has those of the
// server's own all the same.
func TestAServerIsKeptAsAnImage(t *testing.T) {
	t.Parallel()
	protections, err := image.ReadProtections(strings.NewReader("[^licence_]\ncreate=admin\nread=@\nupdate=admin\ndelete=admin\n[.*]\ncreate=@\nread=@\nupdate=@\ndelete=@"))
	require.NoError(t, err)
	c := cloudtest.NewWith(t, &memcloud.Options{ImageProtections: protections})
	u, admin := login(t, c, c.AuthOptions()), login(t, c, c.AdminAuthOptions())
	glance, err := openstack.NewImageV2(u.provider, c.EndpointOpts())
	require.NoError(t, err)
	theirs, err := openstack.NewImageV2(admin.provider, c.EndpointOpts())
	require.NoError(t, err)
	_, err = images.Update(t.Context(), theirs, c.Seed.ImageID, images.UpdateOpts{
		images.UpdateImageProperty{Op: images.AddOp, Name: "licence_code", Value: "7"},
	}).Extract()
	require.NoError(t, err)

	s, err := u.create(t, "web")
	require.NoError(t, err)
	_, err = servers.CreateImage(t.Context(), u.compute, s.ID, servers.CreateImageOpts{Name: "forged", Metadata: map[string]string{"licence_code": "8"}}).ExtractImageID()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), "%v", err)
	id, err := servers.CreateImage(t.Context(), u.compute, s.ID, servers.CreateImageOpts{Name: "kept", Metadata: map[string]string{"mine": "yes"}}).ExtractImageID()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", u.status(t, s.ID))
	kept, err := images.Get(t.Context(), glance, id).Extract()
	require.NoError(t, err)
	require.Equal(t, images.ImageStatusActive, kept.Status)
	require.Equal(t, images.ImageVisibilityPrivate, kept.Visibility)
	require.Equal(t, "qcow2", kept.DiskFormat)
	require.Equal(t, []any{"7", "yes", s.ID, "snapshot", c.Seed.ImageID}, []any{
		kept.Properties["licence_code"], kept.Properties["mine"], kept.Properties["instance_uuid"], kept.Properties["image_type"], kept.Properties["base_image_ref"],
	})
	all, err := images.List(glance, images.ListOpts{Name: "forged"}).AllPages(t.Context())
	require.NoError(t, err)
	forged, err := images.ExtractImages(all)
	require.NoError(t, err)
	require.Empty(t, forged)

	u.seed.ImageID = id
	again, err := u.create(t, "again")
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", u.status(t, again.ID))
}
