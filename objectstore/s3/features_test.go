package s3_test

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
)

func TestLists(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	var all []string
	for i := range 25 {
		all = append(all, fmt.Sprintf("dir%d/a&b %02d", i%3, i))
		s.put("mine", all[i], "x")
	}
	all = append(all, "top")
	s.put("mine", "top", "x")
	slices.Sort(all)
	for _, v1 := range []bool{true, false} {
		var keys, prefixes []string
		for o := range s.minio.ListObjects(t.Context(), "mine", minio.ListObjectsOptions{Recursive: true, MaxKeys: 7, UseV1: v1}) {
			require.NoError(t, o.Err)
			keys = append(keys, o.Key)
		}
		require.Equal(t, all, keys)
		for o := range s.minio.ListObjects(t.Context(), "mine", minio.ListObjectsOptions{MaxKeys: 1, UseV1: v1}) {
			require.NoError(t, o.Err)
			prefixes = append(prefixes, o.Key)
		}
		require.Equal(t, []string{"dir0/", "dir1/", "dir2/", "top"}, prefixes)
	}
	list := s.do("GET", "/mine?list-type=2&max-keys=3&fetch-owner=true&start-after=dir2/&encoding-type=url&prefix=dir", "").is(200, "").body
	require.Contains(t, list, "<Key>dir2/a%26b%2002</Key>")
	require.Contains(t, list, "<Owner><ID>alice</ID>")
	require.Contains(t, list, "<KeyCount>3</KeyCount>")
	require.Contains(t, list, "<IsTruncated>true</IsTruncated>")
	plain := s.do("GET", "/mine?delimiter=/", "").is(200, "").body
	require.Contains(t, plain, "<CommonPrefixes><Prefix>dir0/</Prefix></CommonPrefixes>")
	require.Contains(t, plain, "<Marker></Marker>")
	require.NotContains(t, plain, "KeyCount")
}

func TestRangesAndConditions(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.put("mine", "key", "0123456789")
	s.put("mine", "empty", "")
	for text, want := range map[string]string{
		"bytes=0-0": "0", "bytes=2-4": "234", "bytes=8-": "89", "bytes=8-100": "89", "bytes=-3": "789", "bytes=-30": "0123456789", "bytes=0-99999999999999999999": "0123456789",
	} {
		a := s.do("GET", "/mine/key", "", "Range", text).is(206, "")
		require.Equal(t, want, a.body, text)
		require.True(t, strings.HasSuffix(a.header.Get("Content-Range"), "/10"))
	}
	for _, text := range []string{"bytes=4-2", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=--1", "bytes=+1-2"} {
		require.Equal(t, "0123456789", s.do("GET", "/mine/key", "", "Range", text).is(200, "").body, text)
	}
	for _, text := range []string{"bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"} {
		require.Equal(t, "bytes */10", s.do("GET", "/mine/key", "", "Range", text).is(416, "InvalidRange").header.Get("Content-Range"), text)
	}
	s.do("GET", "/mine/empty", "", "Range", "bytes=0-").is(416, "InvalidRange")
	s.do("GET", "/mine/empty", "").is(200, "")

	whole := s.do("HEAD", "/mine/key", "").is(200, "")
	tag, at := whole.header.Get("Etag"), whole.header.Get("Last-Modified")
	when, err := http.ParseTime(at)
	require.NoError(t, err)
	before, after := when.Add(-time.Hour).Format(http.TimeFormat), when.Add(time.Hour).Format(http.TimeFormat)
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"If-Match", tag, 200},
		{"If-Match", `"x", ` + tag, 200},
		{"If-Match", `"x"`, 412},
		{"If-None-Match", tag, 304},
		{"If-None-Match", "*", 304},
		{"If-None-Match", `"x"`, 200},
		{"If-Modified-Since", at, 304},
		{"If-Modified-Since", before, 200},
		{"If-Modified-Since", "yesterday", 200},
		{"If-Unmodified-Since", before, 412},
		{"If-Unmodified-Since", after, 200},
	} {
		a := s.do("GET", "/mine/key", "", c.name, c.value)
		require.Equal(t, c.status, a.status, "%s: %s", c.name, c.value)
		if c.status == 304 {
			require.Empty(t, a.body)
			require.Equal(t, tag, a.header.Get("Etag"))
		}
	}
	s.do("GET", "/mine/key", "", "Range", "bytes=0-1", "If-Range", tag).is(206, "")
	s.do("GET", "/mine/key", "", "Range", "bytes=0-1", "If-Range", at).is(206, "")
	s.do("GET", "/mine/key", "", "Range", "bytes=0-1", "If-Range", `"x"`).is(200, "")

	s.do("PUT", "/mine/key", "new", "If-None-Match", "*").is(412, "PreconditionFailed")
	s.do("PUT", "/mine/key", "new", "If-Match", `"x"`).is(412, "PreconditionFailed")
	s.do("PUT", "/mine/key", "new", "If-Match", tag).is(200, "")
	s.do("PUT", "/mine/other", "new", "If-None-Match", "*").is(200, "")
	s.do("DELETE", "/mine/other", "", "If-Match", `"x"`).is(412, "PreconditionFailed")
}

func TestVersions(t *testing.T) {
	s := newServer(t, nil)
	ctx := t.Context()
	s.bucket("mine")
	s.put("mine", "key", "zero")
	require.NoError(t, s.minio.EnableVersioning(ctx, "mine"))
	require.Contains(t, s.do("GET", "/mine?versioning", "").body, "<Status>Enabled</Status>")
	one, two := s.put("mine", "key", "one"), s.put("mine", "key", "two")
	require.NotEmpty(t, one.VersionID)
	require.NotEqual(t, one.VersionID, two.VersionID)
	read := func(version string) string { return s.do("GET", "/mine/key?versionId="+version, "").is(200, "").body }
	require.Equal(t, []string{"zero", "one", "two"}, []string{read("null"), read(one.VersionID), read(two.VersionID)})
	gone := s.do("DELETE", "/mine/key", "").is(204, "")
	require.Equal(t, "true", gone.header.Get("X-Amz-Delete-Marker"))
	marker := gone.header.Get("X-Amz-Version-Id")
	require.Equal(t, "true", s.do("GET", "/mine/key", "").is(404, "NoSuchKey").header.Get("X-Amz-Delete-Marker"))
	s.do("GET", "/mine/key?versionId="+marker, "").is(405, "MethodNotAllowed")
	s.do("GET", "/mine/key?versionId=nothing", "").is(404, "NoSuchVersion")

	var found []string
	for o := range s.minio.ListObjects(ctx, "mine", minio.ListObjectsOptions{WithVersions: true, Recursive: true, MaxKeys: 2}) {
		require.NoError(t, o.Err)
		found = append(found, fmt.Sprint(o.VersionID, o.IsLatest, o.IsDeleteMarker, o.Size))
	}
	require.Equal(t, []string{
		fmt.Sprint(marker, true, true, 0), fmt.Sprint(two.VersionID, false, false, 3), fmt.Sprint(one.VersionID, false, false, 3), fmt.Sprint("null", false, false, 4),
	}, found)
	s.do("DELETE", "/mine/key?versionId="+marker, "").is(204, "")
	require.Equal(t, "two", s.do("GET", "/mine/key", "").is(200, "").body)
	copied := s.do("PUT", "/mine/copy", "", "X-Amz-Copy-Source", "/mine/key?versionId="+one.VersionID).is(200, "")
	require.Equal(t, one.VersionID, copied.header.Get("X-Amz-Copy-Source-Version-Id"))
	require.Equal(t, "one", s.do("GET", "/mine/copy", "").body)
	s.do("PUT", "/mine/key?tagging&versionId=null", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>").is(200, "")
	require.Contains(t, s.do("GET", "/mine/key?tagging&versionId=null", "").is(200, "").body, "<Key>a</Key>")
	require.NotContains(t, s.do("GET", "/mine/key?tagging", "").is(200, "").body, "<Key>a</Key>")

	require.NoError(t, s.minio.SuspendVersioning(ctx, "mine"))
	s.put("mine", "key", "three")
	require.Equal(t, "three", read("null"))
	deleted := s.do("POST", "/mine?delete", "<Delete><Object><Key>key</Key><VersionId>"+one.VersionID+"</VersionId></Object><Object><Key>nothing</Key></Object><Object><Key></Key></Object></Delete>").is(200, "").body
	require.Contains(t, deleted, "<Deleted><Key>key</Key><VersionId>"+one.VersionID+"</VersionId></Deleted>")
	require.Contains(t, deleted, "<Error><Key></Key><Code>MalformedXML</Code>")
	require.NotContains(t, s.do("POST", "/mine?delete", "<Delete><Quiet>true</Quiet><Object><Key>x</Key></Object></Delete>").is(200, "").body, "<Deleted>")
}

func TestUploadsInParts(t *testing.T) {
	s := newServer(t, nil)
	ctx := t.Context()
	s.bucket("mine")
	id, err := s.core.NewMultipartUpload(ctx, "mine", "key", minio.PutObjectOptions{ContentType: "text/plain", UserMetadata: map[string]string{"a": "b"}})
	require.NoError(t, err)
	var parts []minio.CompletePart
	for i, n := range []int{2000, 3000, 10} {
		p, err := s.core.PutObjectPart(ctx, "mine", "key", id, i+1, strings.NewReader(strings.Repeat(string(rune('a'+i)), n)), int64(n), minio.PutObjectPartOptions{})
		require.NoError(t, err)
		parts = append(parts, minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag})
	}
	s.do("GET", "/mine/key", "").is(404, "NoSuchKey")
	listed, err := s.core.ListObjectParts(ctx, "mine", "key", id, 1, 1)
	require.NoError(t, err)
	require.True(t, listed.IsTruncated)
	require.Equal(t, 2, listed.ObjectParts[0].PartNumber)
	require.EqualValues(t, 3000, listed.ObjectParts[0].Size)
	uploads, err := s.core.ListMultipartUploads(ctx, "mine", "", "", "", "", 10)
	require.NoError(t, err)
	require.Len(t, uploads.Uploads, 1)
	require.Equal(t, id, uploads.Uploads[0].UploadID)

	complete := func(body string) answer {
		return s.do("POST", "/mine/key?uploadId="+url.QueryEscape(id), "<CompleteMultipartUpload>"+body+"</CompleteMultipartUpload>")
	}
	part := func(n int, tag string) string {
		return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n, tag)
	}
	complete("").is(400, "MalformedXML")
	complete(part(1, parts[1].ETag)).is(400, "InvalidPart")
	complete(part(7, parts[1].ETag)).is(400, "InvalidPart")
	complete(part(2, parts[1].ETag)+part(1, parts[0].ETag)).is(400, "InvalidPartOrder")
	complete(part(1, parts[0].ETag)+part(1, parts[0].ETag)).is(400, "InvalidPartOrder")
	copied := s.do("PUT", "/mine/key?partNumber=4&uploadId="+url.QueryEscape(id), "", "X-Amz-Copy-Source", "mine/nothing")
	copied.is(404, "NoSuchKey")
	s.put("mine", "source", "0123456789")
	s.do("PUT", "/mine/key?partNumber=4&uploadId="+url.QueryEscape(id), "", "X-Amz-Copy-Source", "mine/source", "X-Amz-Copy-Source-Range", "bytes=2-4").is(200, "")
	s.do("PUT", "/mine/key?partNumber=4&uploadId="+url.QueryEscape(id), "", "X-Amz-Copy-Source", "mine/source", "X-Amz-Copy-Source-Range", "bytes=2-40").is(416, "InvalidRange")
	s.do("PUT", "/mine/key?partNumber=4&uploadId="+url.QueryEscape(id), "", "X-Amz-Copy-Source", "mine/source", "X-Amz-Copy-Source-Range", "2-4").is(400, "InvalidArgument")
	s.do("PUT", "/mine/key?partNumber=0&uploadId="+url.QueryEscape(id), "").is(400, "InvalidArgument")
	s.do("PUT", "/mine/key?partNumber=10001&uploadId="+url.QueryEscape(id), "").is(400, "InvalidArgument")
	s.do("PUT", "/mine/key?partNumber=1&uploadId=nothing", "x").is(404, "NoSuchUpload")
	complete(part(1, parts[0].ETag)+part(4, "x")).is(400, "InvalidPart")

	done, err := s.core.CompleteMultipartUpload(ctx, "mine", "key", id, parts, minio.PutObjectOptions{})
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(done.ETag, "-3"), done.ETag)
	whole := s.do("GET", "/mine/key", "").is(200, "")
	require.Equal(t, strings.Repeat("a", 2000)+strings.Repeat("b", 3000)+strings.Repeat("c", 10), whole.body)
	require.Equal(t, "text/plain", whole.header.Get("Content-Type"))
	require.Equal(t, "b", whole.header.Get("X-Amz-Meta-A"))
	second := s.do("GET", "/mine/key?partNumber=2", "").is(206, "")
	require.Equal(t, strings.Repeat("b", 3000), second.body)
	require.Equal(t, "bytes 2000-4999/5010", second.header.Get("Content-Range"))
	require.Equal(t, "3", second.header.Get("X-Amz-Mp-Parts-Count"))
	s.do("GET", "/mine/key?partNumber=4", "").is(416, "InvalidPartNumber")
	s.do("GET", "/mine/source?partNumber=1", "").is(206, "")
	require.Equal(t, "ab", s.do("GET", "/mine/key", "", "Range", "bytes=1999-2000").is(206, "").body)
	attributes := s.do("GET", "/mine/key?attributes", "", "X-Amz-Object-Attributes", "ETag,ObjectParts,ObjectSize,StorageClass,Checksum", "X-Amz-Max-Parts", "2").is(200, "").body
	require.Contains(t, attributes, "<PartsCount>3</PartsCount><PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>")
	require.Contains(t, attributes, "<ObjectSize>5010</ObjectSize>")
	s.do("GET", "/mine/key?attributes", "", "X-Amz-Object-Attributes", "Colour").is(400, "InvalidArgument")

	id, err = s.core.NewMultipartUpload(ctx, "mine", "other", minio.PutObjectOptions{})
	require.NoError(t, err)
	for n := 1; n <= 2; n++ {
		p, err := s.core.PutObjectPart(ctx, "mine", "other", id, n, strings.NewReader("small"), 5, minio.PutObjectPartOptions{})
		require.NoError(t, err)
		parts[n-1].ETag = p.ETag
	}
	_, err = s.core.CompleteMultipartUpload(ctx, "mine", "other", id, parts[:2], minio.PutObjectOptions{})
	require.Equal(t, "EntityTooSmall", minio.ToErrorResponse(err).Code)
	require.NoError(t, s.core.AbortMultipartUpload(ctx, "mine", "other", id))
	s.do("DELETE", "/mine/other?uploadId="+url.QueryEscape(id), "").is(404, "NoSuchUpload")
}

func TestCopies(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.bucket("other")
	s.do("PUT", "/mine/a%20b", "content", "Content-Type", "text/plain", "X-Amz-Meta-Colour", "blue", "X-Amz-Tagging", "x=y").is(200, "")
	source := []string{"X-Amz-Copy-Source", "/mine/a%20b"}
	s.do("PUT", "/other/same", "", source...).is(200, "")
	a := s.do("GET", "/other/same", "").is(200, "")
	require.Equal(t, []string{"content", "text/plain", "blue", "1"}, []string{a.body, a.header.Get("Content-Type"), a.header.Get("X-Amz-Meta-Colour"), a.header.Get("X-Amz-Tagging-Count")})
	s.do("PUT", "/other/meta", "", append(source, "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-Size", "big")...).is(200, "")
	a = s.do("HEAD", "/other/meta", "").is(200, "")
	require.Equal(t, []string{"", "big", "1"}, []string{a.header.Get("X-Amz-Meta-Colour"), a.header.Get("X-Amz-Meta-Size"), a.header.Get("X-Amz-Tagging-Count")})
	s.do("PUT", "/other/tags", "", append(source, "X-Amz-Tagging-Directive", "REPLACE", "X-Amz-Tagging", "p=q&r=s")...).is(200, "")
	a = s.do("HEAD", "/other/tags", "").is(200, "")
	require.Equal(t, []string{"blue", "2"}, []string{a.header.Get("X-Amz-Meta-Colour"), a.header.Get("X-Amz-Tagging-Count")})

	s.do("PUT", "/mine/a%20b", "", source...).is(400, "InvalidRequest")
	s.do("PUT", "/mine/a%20b", "", append(source, "X-Amz-Metadata-Directive", "REPLACE")...).is(200, "")
	s.do("PUT", "/mine/a%20b", "", append(source, "X-Amz-Metadata-Directive", "MAYBE")...).is(400, "InvalidArgument")
	for _, bad := range []string{"mine", "/", "mine/", "/mine", "%zz/x", "mine/x?versionId="} {
		s.do("PUT", "/other/x", "", "X-Amz-Copy-Source", bad).is(400, "InvalidArgument")
	}
	s.do("PUT", "/other/x", "", "X-Amz-Copy-Source", "mine/nothing").is(404, "NoSuchKey")
	s.do("PUT", "/other/x", "", "X-Amz-Copy-Source", "nothing/x").is(404, "NoSuchBucket")
	s.do("PUT", "/other/x", "", "X-Amz-Copy-Source", "bob:x/y").is(403, "AccessDenied")
	tag := s.do("HEAD", "/mine/a%20b", "").header.Get("Etag")
	for name, c := range map[string]struct {
		value  string
		status int
	}{
		"If-Match": {tag, 200}, "If-None-Match": {tag, 412}, "If-Modified-Since": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 412},
		"If-Unmodified-Since": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 412},
	} {
		a := s.do("PUT", "/other/x", "", append(source, "X-Amz-Copy-Source-"+name, c.value)...)
		require.Equal(t, c.status, a.status, "%s: %s", name, a.body)
	}
	s.do("PUT", "/other/x", "", append(source, "If-None-Match", "*")...).is(412, "PreconditionFailed")
}

func TestSubresources(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.put("mine", "key", "x")
	for query, code := range map[string]string{
		"policy": "NoSuchBucketPolicy", "policyStatus": "NoSuchBucketPolicy", "encryption": "ServerSideEncryptionConfigurationNotFoundError",
		"object-lock": "ObjectLockConfigurationNotFoundError", "website": "NoSuchWebsiteConfiguration", "replication": "ReplicationConfigurationNotFoundError",
		"publicAccessBlock": "NoSuchPublicAccessBlockConfiguration", "lifecycle": "NoSuchLifecycleConfiguration", "cors": "NoSuchCORSConfiguration",
		"tagging": "NoSuchTagSet", "metrics&id=x": "NoSuchConfiguration",
	} {
		s.do("GET", "/mine?"+query, "").is(404, code)
		s.do("GET", "/nothing?"+query, "").is(404, "NoSuchBucket")
		if query != "policyStatus" {
			s.do("DELETE", "/mine?"+query, "").is(204, "")
		}
	}
	for query, element := range map[string]string{
		"logging": "BucketLoggingStatus", "notification": "NotificationConfiguration", "accelerate": "AccelerateConfiguration",
		"requestPayment": "<Payer>BucketOwner</Payer>", "ownershipControls": "BucketOwnerEnforced", "versioning": "VersioningConfiguration",
	} {
		require.Contains(t, s.do("GET", "/mine?"+query, "").is(200, "").body, element)
	}
	for _, query := range []string{"policy", "encryption", "object-lock", "website", "replication", "logging", "notification"} {
		s.do("PUT", "/mine?"+query, "<x/>").is(501, "NotImplemented")
	}
	s.do("GET", "/mine/key?retention", "").is(404, "NoSuchObjectLockConfiguration")
	s.do("GET", "/mine/key?torrent", "").is(501, "NotImplemented")
	s.do("GET", "/mine/key", "").is(200, "")

	tags := "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
	s.do("PUT", "/mine?tagging", tags).is(204, "")
	require.Contains(t, s.do("GET", "/mine?tagging", "").is(200, "").body, "<Tag><Key>a</Key><Value>b</Value></Tag>")
	s.do("PUT", "/mine?tagging", strings.ReplaceAll(tags, "</Tag>", "</Tag><Tag><Key>a</Key></Tag>")).is(400, "InvalidTag")
	s.do("PUT", "/mine/key?tagging", tags).is(200, "")
	s.do("DELETE", "/mine/key?tagging", "").is(204, "")
	require.NotContains(t, s.do("GET", "/mine/key?tagging", "").is(200, "").body, "<Tag>")
	s.do("PUT", "/mine/nothing?tagging", tags).is(404, "NoSuchKey")
}

func TestAccessLists(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.put("mine", "key", "x")
	require.Contains(t, s.do("GET", "/mine?acl", "").is(200, "").body, `xsi:type="CanonicalUser"`)
	s.do("PUT", "/mine?acl", "", "X-Amz-Acl", "public-read-write").is(200, "")
	public := s.do("GET", "/mine?acl", "").is(200, "").body
	require.Contains(t, public, "AllUsers</URI></Grantee><Permission>READ</Permission>")
	require.Contains(t, s.do("GET", "/mine/key?acl", "").is(200, "").body, "AllUsers")
	s.do("PUT", "/mine/new", "x", "X-Amz-Acl", "public-read").is(200, "")
	s.do("PUT", "/mine/key?acl", "", "X-Amz-Acl", "private").is(200, "")
	// What is answered can be sent back.
	s.do("PUT", "/mine?acl", public).is(200, "")
	require.Equal(t, public, s.do("GET", "/mine?acl", "").body)
	s.do("PUT", "/mine?acl", "", "X-Amz-Acl", "purple").is(400, "InvalidArgument")
	s.do("PUT", "/mine?acl", "", "X-Amz-Grant-Read", "id=x").is(501, "NotImplemented")
	s.do("PUT", "/mine?acl", "<AccessControlPolicy>").is(400, "MalformedACLError")
	s.do("PUT", "/mine?acl", "<AccessControlPolicy><AccessControlList><Grant><Grantee><ID>bob</ID></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>").is(501, "NotImplemented")
	s.do("PUT", "/mine/key?acl", "", "X-Amz-Acl", "authenticated-read").is(400, "AccessControlListNotSupported")
}

func TestLifecycle(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	doc := `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>one</ID><Filter><And><Prefix>logs/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter><Status>Enabled</Status><Expiration><Days>3</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>`
	s.do("PUT", "/mine?lifecycle", doc).is(200, "")
	require.Contains(t, s.do("GET", "/mine?lifecycle", "").is(200, "").body, doc)
	c, err := s.objects.Container(t.Context(), alice, objectstore.Path{Account: "alice", Container: "mine"})
	require.NoError(t, err)
	require.Equal(t, []objectstore.LifecycleRule{{ID: "one", Prefix: "logs/", Tags: map[string]string{"a": "b"}, Days: 3, NoncurrentDays: 5, AbortDays: 7}}, c.Lifecycle)
	rule := func(text string) answer {
		return s.do("PUT", "/mine?lifecycle", "<LifecycleConfiguration><Rule>"+text+"</Rule></LifecycleConfiguration>")
	}
	rule("<Prefix>x</Prefix><Status>Disabled</Status><Expiration><Date>2030-01-02T00:00:00Z</Date></Expiration>").is(200, "")
	rule("<Status>Maybe</Status><Expiration><Days>1</Days></Expiration>").is(400, "MalformedXML")
	rule("<Status>Enabled</Status>").is(400, "InvalidRequest")
	rule("<Status>Enabled</Status><Expiration><Days>0</Days></Expiration>").is(400, "InvalidArgument")
	rule("<Status>Enabled</Status><Expiration><Days>1</Days><Date>2030-01-02T00:00:00Z</Date></Expiration>").is(400, "InvalidArgument")
	rule("<Status>Enabled</Status><Expiration><Date>2030-01-02T03:00:00Z</Date></Expiration>").is(400, "InvalidArgument")
	rule("<Status>Enabled</Status><Transition><Days>1</Days></Transition>").is(501, "NotImplemented")
	rule("<Status>Enabled</Status><Filter><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter><Expiration><Days>1</Days></Expiration>").is(501, "NotImplemented")
	s.do("DELETE", "/mine?lifecycle", "").is(204, "")
	s.do("GET", "/mine?lifecycle", "").is(404, "NoSuchLifecycleConfiguration")
}

func TestOtherOrigins(t *testing.T) {
	s := newServer(t, &s3.Options{Account: "alice"})
	s.bucket("mine")
	s.put("mine", "key", "x")
	preflight := func(origin, method, headers string) answer {
		return s.nobody("OPTIONS", "/mine/key", "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	preflight("https://a.example", "PUT", "").is(403, "AccessForbidden")
	doc := "<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule></CORSConfiguration>"
	s.do("PUT", "/mine?cors", doc).is(200, "")
	require.Contains(t, s.do("GET", "/mine?cors", "").is(200, "").body, "<AllowedOrigin>https://*.example</AllowedOrigin>")
	good := preflight("https://a.example", "PUT", "X-Amz-Date, x-amz-acl").is(200, "")
	require.Equal(t, "https://a.example", good.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "x-amz-date, x-amz-acl", good.header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "30", good.header.Get("Access-Control-Max-Age"))
	preflight("https://a.other", "PUT", "").is(403, "AccessForbidden")
	preflight("https://a.example", "DELETE", "").is(403, "AccessForbidden")
	preflight("https://a.example", "PUT", "cookie").is(403, "AccessForbidden")
	s.nobody("OPTIONS", "/mine/key", "").is(400, "InvalidRequest")
	require.Equal(t, "ETag", s.do("GET", "/mine/key", "", "Origin", "https://b.example").is(200, "").header.Get("Access-Control-Expose-Headers"))
	require.Equal(t, "https://b.example", s.do("GET", "/mine/nothing", "", "Origin", "https://b.example").is(404, "").header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, s.do("GET", "/mine/key", "", "Origin", "https://b.other").is(200, "").header.Get("Access-Control-Allow-Origin"))
	for _, bad := range []string{"<CORSRule/>", "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule>", "<CORSRule><AllowedOrigin>*.*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"} {
		require.Equal(t, 400, s.do("PUT", "/mine?cors", "<CORSConfiguration>"+bad+"</CORSConfiguration>").status)
	}
	s.do("DELETE", "/mine?cors", "").is(204, "")
	preflight("https://a.example", "PUT", "").is(403, "AccessForbidden")
}

func TestForms(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	policy := minio.NewPostPolicy()
	require.NoError(t, policy.SetBucket("mine"))
	require.NoError(t, policy.SetKeyStartsWith("up/"))
	require.NoError(t, policy.SetExpires(time.Now().Add(time.Hour)))
	require.NoError(t, policy.SetContentLengthRange(2, 10))
	require.NoError(t, policy.SetUserMetadata("colour", "blue"))
	require.NoError(t, policy.SetSuccessStatusAction("201"))
	_, fields, err := s.minio.PresignedPostPolicy(t.Context(), policy)
	require.NoError(t, err)
	post := func(content string, changes ...string) answer {
		var b strings.Builder
		form := multipart.NewWriter(&b)
		all := map[string]string{}
		for name, value := range fields {
			all[name] = value
		}
		all["key"] = "up/${filename}"
		for i := 0; i < len(changes); i += 2 {
			all[changes[i]] = changes[i+1]
		}
		for name, value := range all {
			require.NoError(t, form.WriteField(name, value))
		}
		file, err := form.CreateFormFile("file", "name.txt")
		require.NoError(t, err)
		_, err = io.WriteString(file, content)
		require.NoError(t, err)
		require.NoError(t, form.Close())
		return s.nobody("POST", "/mine", b.String(), "Content-Type", form.FormDataContentType())
	}
	require.Contains(t, post("hello").is(201, "").body, "<Key>up/name.txt</Key>")
	a := s.do("GET", "/mine/up/name.txt", "").is(200, "")
	require.Equal(t, []string{"hello", "blue"}, []string{a.body, a.header.Get("X-Amz-Meta-Colour")})
	post("x").is(400, "EntityTooSmall")
	post("much too much").is(400, "EntityTooLarge")
	post("hello", "key", "down/x").is(403, "AccessDenied")
	post("hello", "x-amz-meta-colour", "red").is(403, "AccessDenied")
	post("hello", "x-amz-meta-more", "x").is(403, "AccessDenied")
	post("hello", "policy", fields["policy"]+"AA").is(403, "SignatureDoesNotMatch")
	post("hello", "x-amz-signature", "00").is(403, "SignatureDoesNotMatch")
	post("hello", "policy", "").is(403, "AccessDenied")
	s.nobody("POST", "/mine", "x").is(400, "MalformedPOSTRequest")
	s.nobody("POST", "/mine", "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk", "Content-Type", "multipart/form-data; boundary=x").is(400, "")
	require.NotContains(t, s.do("GET", "/mine", "").body, "down/x")
}

// An SDK's upload in parts, with checksums of each part in trailers and, at the end, of the whole.
func TestUploadsInPartsWithChecksums(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	content := strings.Repeat("0123456789abcdef", 12<<16)
	for name, sum := range map[string]minio.ChecksumType{"composite": minio.ChecksumSHA256, "whole": minio.ChecksumFullObjectCRC32C, "nvme": minio.ChecksumCRC64NVME} {
		info, err := s.minio.PutObject(t.Context(), "mine", name, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{PartSize: 5 << 20, Checksum: sum, NumThreads: 1})
		require.NoError(t, err, name)
		require.True(t, strings.HasSuffix(info.ETag, "-3"), info.ETag)
		require.Equal(t, content, s.do("GET", "/mine/"+name, "", "X-Amz-Checksum-Mode", "ENABLED").is(200, "").body)
	}

	id, err := s.core.NewMultipartUpload(t.Context(), "mine", "key", minio.PutObjectOptions{})
	require.NoError(t, err)
	a := s.do("PUT", "/mine/key?partNumber=1&uploadId="+url.QueryEscape(id), "123456789", "X-Amz-Checksum-Crc32", "y/Q5Jg==").is(200, "")
	complete := func(sum string) answer {
		return s.do("POST", "/mine/key?uploadId="+url.QueryEscape(id), "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+a.header.Get("Etag")+
			"</ETag></Part></CompleteMultipartUpload>", "X-Amz-Checksum-Crc32", sum, "X-Amz-Checksum-Type", "FULL_OBJECT")
	}
	complete("AAAAAA==").is(400, "BadDigest")
	complete("y/Q5Jg==").is(200, "")
}

func TestRateLimits(t *testing.T) {
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	limits := objectstore.RateLimits{Container: []objectstore.SizeRate{{PerSecond: 0.001}}, Patience: 1, Buffer: 1}
	objects, err := objectstore.New(t.Context(), db, memobjects.New(nil), &objectstore.Options{RateLimits: limits})
	require.NoError(t, err)
	s := newServerOf(t, objects, nil)
	require.NoError(t, s.minio.MakeBucket(t.Context(), "slow", minio.MakeBucketOptions{}))
	_, err = s.minio.PutObject(t.Context(), "slow", "o", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	require.NoError(t, err)
	target, err := s.minio.PresignedPutObject(t.Context(), "slow", "o", time.Minute)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, target.String(), strings.NewReader("y"))
	require.NoError(t, err)
	answer, err := s.client.Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, errors.Join(err, answer.Body.Close()))
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Contains(t, string(body), "<Code>SlowDown</Code><Message>Please reduce your request rate.</Message>")
}
