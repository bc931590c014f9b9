package swift_test

import (
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/accounts"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/stretchr/testify/require"
)

func TestGophercloud(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	client := &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: "alice"}, Endpoint: s.URL + "/v1/AUTH_alice/", Type: "object-store",
	}
	header, err := accounts.Update(ctx, client, accounts.UpdateOpts{Metadata: map[string]string{"Color": "red"}, TempURLKey: "key"}).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, header.TransID)
	account, err := accounts.Get(ctx, client, nil).Extract()
	require.NoError(t, err)
	require.EqualValues(t, 0, account.ContainerCount)
	require.Equal(t, "key", account.TempURLKey)

	created, err := containers.Create(ctx, client, "c", containers.CreateOpts{Metadata: map[string]string{"A": "b"}, ContainerRead: ".r:*"}).Extract()
	require.NoError(t, err)
	require.NotEmpty(t, created.TransID)
	_, err = containers.Create(ctx, client, "v", containers.CreateOpts{VersionsEnabled: true}).Extract()
	require.NoError(t, err)
	page, err := containers.List(client, containers.ListOpts{}).AllPages(ctx)
	require.NoError(t, err)
	names, err := containers.ExtractNames(page)
	require.NoError(t, err)
	require.Equal(t, []string{"c", "v"}, names)
	got, err := containers.Get(ctx, client, "c", nil).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{".r:*"}, got.Read)
	require.Equal(t, "Policy-0", got.StoragePolicy)
	versioned, err := containers.Get(ctx, client, "v", nil).Extract()
	require.NoError(t, err)
	require.True(t, versioned.VersionsEnabled)

	put, err := objects.Create(ctx, client, "c", "dir/a b", objects.CreateOpts{
		Content: strings.NewReader("content"), ContentType: "text/x", Metadata: map[string]string{"Color": "red"},
	}).Extract()
	require.NoError(t, err)
	require.Equal(t, md5Of("content"), put.ETag)
	download := objects.Download(ctx, client, "c", "dir/a b", objects.DownloadOpts{Range: "bytes=1-3"})
	body, err := download.ExtractContent()
	require.NoError(t, err)
	require.Equal(t, "ont", string(body))
	metadata, err := objects.Get(ctx, client, "c", "dir/a b", nil).ExtractMetadata()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"Color": "red"}, metadata)
	copied, err := objects.Copy(ctx, client, "c", "dir/a b", objects.CopyOpts{Destination: "/v/copy"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "c/dir%20a"[:2], copied.CopiedFrom[:2])
	require.NotEmpty(t, copied.ObjectVersionID)
	_, err = objects.Update(ctx, client, "c", "dir/a b", objects.UpdateOpts{Metadata: map[string]string{"Taste": "sweet"}}).Extract()
	require.NoError(t, err)
	list, err := objects.List(client, "c", objects.ListOpts{Delimiter: "/"}).AllPages(ctx)
	require.NoError(t, err)
	info, err := objects.ExtractInfo(list)
	require.NoError(t, err)
	require.Equal(t, "dir/", info[0].Subdir)
	versions, err := objects.List(client, "v", objects.ListOpts{Versions: true}).AllPages(ctx)
	require.NoError(t, err)
	info, err = objects.ExtractInfo(versions)
	require.NoError(t, err)
	require.Equal(t, copied.ObjectVersionID, info[0].VersionID)
	require.True(t, info[0].IsLatest)

	url, err := objects.CreateTempURL(ctx, client, "v", "copy", objects.CreateTempURLOpts{Method: objects.GET, TTL: 60, Digest: "sha256"})
	require.NoError(t, err)
	require.Equal(t, "content", s.do("GET", strings.TrimPrefix(url, s.URL), nil, "").body)
	bulk, err := objects.BulkDelete(ctx, client, "c", []string{"dir/a b", "none"}).Extract()
	require.NoError(t, err)
	require.Equal(t, 1, bulk.NumberDeleted)
	require.Equal(t, 1, bulk.NumberNotFound)
	_, err = containers.Delete(ctx, client, "c").Extract()
	require.NoError(t, err)
	_, err = containers.Delete(ctx, client, "v").Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 409))
}
