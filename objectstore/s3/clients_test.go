package s3_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// shell runs Debian's clients in a directory of their own.
type shell struct {
	t   testing.TB
	dir string
	env []string
}

func newShell(t testing.TB, s *server) *shell {
	dir := t.TempDir()
	at := s.Listener.Addr().String()
	sh := &shell{t: t, dir: dir, env: []string{
		"PATH=/usr/bin:/bin", "HOME=" + dir, "AWS_ACCESS_KEY_ID=" + access, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_DEFAULT_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "RESTIC_PASSWORD=x", "RESTIC_REPOSITORY=s3:" + s.URL + "/backups", "GOMAXPROCS=2",
	}}
	sh.write(".s3cfg", "[default]\naccess_key = "+access+"\nsecret_key = "+secret+"\nhost_base = "+at+"\nhost_bucket = "+at+"\nuse_https = False\nbucket_location = "+region+"\n")
	sh.write(".config/rclone/rclone.conf", "[k]\ntype = s3\nprovider = Other\naccess_key_id = "+access+"\nsecret_access_key = "+secret+"\nendpoint = "+s.URL+"\nregion = "+region+"\n")
	return sh
}

func (s *shell) write(name, content string) {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(name), 0o700))
	require.NoError(s.t, os.WriteFile(name, []byte(content), 0o600))
}

func (s *shell) same(a, b string) {
	s.t.Helper()
	x, err := os.ReadFile(filepath.Join(s.dir, a))
	require.NoError(s.t, err)
	y, err := os.ReadFile(filepath.Join(s.dir, b))
	require.NoError(s.t, err)
	require.True(s.t, bytes.Equal(x, y), "%s and %s", a, b)
}

func (s *shell) try(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.t.Context(), "/usr/bin/"+program, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *shell) run(program string, args ...string) string {
	s.t.Helper()
	out, err := s.try(program, args...)
	require.NoError(s.t, err, "%s %v: %s", program, args, out)
	return out
}

// tree makes some files, one of them of 20 MB.
func (s *shell) tree() {
	s.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 20<<20)
	for i := range big {
		big[i] = byte(random.Uint32())
	}
	s.write("big", string(big))
	s.write("small", "a song")
	s.write("tree/empty", "")
	s.write("tree/a b+c&ü.txt", "one")
	s.write("tree/deep/er/file", "two")
}

func TestS3cmd(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/s3cmd", "s3cmd")
	sh := newShell(t, newServer(t, nil))
	sh.tree()
	sh.run("s3cmd", "mb", "s3://first")
	sh.run("s3cmd", "put", "small", "s3://first/dir/small")
	sh.run("s3cmd", "put", "--multipart-chunk-size-mb=5", "big", "s3://first/big")
	sh.run("s3cmd", "get", "s3://first/dir/small", "small.back")
	sh.run("s3cmd", "get", "s3://first/big", "big.back")
	sh.same("small", "small.back")
	sh.same("big", "big.back")
	require.Contains(t, sh.run("s3cmd", "ls", "s3://first"), "DIR  s3://first/dir/")
	require.Contains(t, sh.run("s3cmd", "ls", "-r", "s3://first"), "s3://first/dir/small")
	require.Contains(t, sh.run("s3cmd", "info", "s3://first"), "Location:  us-east-1")
	require.Contains(t, sh.run("s3cmd", "info", "s3://first/dir/small"), "File size: 6")
	require.Contains(t, sh.run("s3cmd", "du", "s3://first"), "20971526")
	sh.run("s3cmd", "cp", "s3://first/dir/small", "s3://first/copy")
	sh.run("s3cmd", "mv", "s3://first/copy", "s3://first/moved")
	sh.run("s3cmd", "modify", "--add-header=Cache-Control:max-age=1", "s3://first/moved")
	sh.run("s3cmd", "setacl", "--acl-public", "s3://first")
	require.Contains(t, sh.run("s3cmd", "info", "s3://first"), "*anon*: READ")
	sh.run("s3cmd", "setacl", "--acl-private", "s3://first")
	sh.run("s3cmd", "expire", "--expiry-days=3", "s3://first")
	require.Contains(t, sh.run("s3cmd", "getlifecycle", "s3://first"), "<Days>3</Days>")
	sh.run("s3cmd", "dellifecycle", "s3://first")
	sh.run("s3cmd", "sync", "tree/", "s3://first/tree/")
	sh.run("s3cmd", "sync", "--delete-removed", "s3://first/tree/", "back/")
	sh.same("tree/a b+c&ü.txt", "back/a b+c&ü.txt")
	sh.run("s3cmd", "del", "-r", "--force", "s3://first")
	sh.run("s3cmd", "rb", "s3://first")
	out, err := sh.try("s3cmd", "ls", "s3://first")
	require.Error(t, err)
	require.Contains(t, out, "NoSuchBucket")
	// And as the old tools sign.
	sh.run("s3cmd", "--signature-v2", "mb", "s3://second")
	sh.run("s3cmd", "--signature-v2", "put", "small", "s3://second/a b")
	sh.run("s3cmd", "--signature-v2", "get", "s3://second/a b", "v2.back")
	sh.same("small", "v2.back")
	require.Contains(t, sh.run("s3cmd", "--signature-v2", "ls", "s3://second"), "s3://second/a b")
}

func TestRclone(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/rclone", "rclone")
	sh := newShell(t, newServer(t, nil))
	sh.tree()
	sh.run("rclone", "mkdir", "k:first")
	sh.run("rclone", "copy", "--s3-upload-cutoff=5M", "--s3-chunk-size=5M", "big", "k:first")
	sh.run("rclone", "copyto", "k:first/big", "big.back")
	sh.same("big", "big.back")
	sh.run("rclone", "sync", "tree", "k:first/tree")
	sh.run("rclone", "check", "tree", "k:first/tree")
	sh.run("rclone", "check", "--download", "tree", "k:first/tree")
	require.Contains(t, sh.run("rclone", "lsf", "-R", "k:first"), "tree/a b+c&ü.txt")
	require.Contains(t, sh.run("rclone", "cat", "k:first/tree/deep/er/file"), "two")
	sh.run("rclone", "moveto", "k:first/tree/deep/er/file", "k:first/moved")
	sh.run("rclone", "copyto", "k:first/moved", "k:first/again")
	sh.write("piped", "from a pipe")
	sh.run("rclone", "copyto", "--no-traverse", "--s3-use-multipart-etag=true", "piped", "k:first/piped")
	require.Contains(t, sh.run("rclone", "size", "k:first"), "Total objects: 6")
	sh.run("rclone", "purge", "k:first")
	require.NotContains(t, sh.run("rclone", "lsd", "k:"), "first")
}

func TestAWS(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/aws", "awscli")
	s := newServer(t, nil)
	sh := newShell(t, s)
	sh.tree()
	sh.write(".aws/config", "[default]\ns3 =\n  multipart_threshold = 5MB\n  multipart_chunksize = 5MB\n")
	aws := func(args ...string) string {
		t.Helper()
		return sh.run("aws", append([]string{"--endpoint-url", s.URL}, args...)...)
	}
	aws("s3", "mb", "s3://first")
	aws("s3", "cp", "--no-progress", "big", "s3://first/big")
	aws("s3", "cp", "--no-progress", "s3://first/big", "big.back")
	sh.same("big", "big.back")
	aws("s3", "sync", "--no-progress", "tree", "s3://first/tree")
	aws("s3", "sync", "--no-progress", "s3://first/tree", "back")
	sh.same("tree/a b+c&ü.txt", "back/a b+c&ü.txt")
	require.Contains(t, aws("s3", "ls", "s3://first"), "PRE tree/")
	require.Contains(t, aws("s3api", "list-objects-v2", "--bucket", "first", "--max-items", "2", "--page-size", "1"), "NextToken")
	require.Contains(t, aws("s3api", "put-object", "--bucket", "first", "--key", "sum", "--body", "small", "--checksum-algorithm", "SHA256"), "ChecksumSHA256")
	require.Contains(t, aws("s3api", "head-object", "--bucket", "first", "--key", "sum", "--checksum-mode", "ENABLED"), "ChecksumSHA256")
	require.Contains(t, aws("s3api", "get-object-attributes", "--bucket", "first", "--key", "sum", "--object-attributes", "ETag", "ObjectSize", "Checksum"), `"ObjectSize": 6`)
	aws("s3api", "put-object-tagging", "--bucket", "first", "--key", "sum", "--tagging", "TagSet=[{Key=a,Value=b}]")
	require.Contains(t, aws("s3api", "get-object-tagging", "--bucket", "first", "--key", "sum"), `"Value": "b"`)
	aws("s3api", "put-bucket-versioning", "--bucket", "first", "--versioning-configuration", "Status=Enabled")
	require.Contains(t, aws("s3api", "put-object", "--bucket", "first", "--key", "sum", "--body", "small"), "VersionId")
	require.Contains(t, aws("s3api", "delete-object", "--bucket", "first", "--key", "sum"), `"DeleteMarker": true`)
	out := aws("s3api", "list-object-versions", "--bucket", "first", "--prefix", "sum")
	require.Contains(t, out, "DeleteMarkers")
	require.Contains(t, out, `"VersionId": "null"`)
	require.Contains(t, aws("s3", "cp", "--no-progress", "s3://first/big", "s3://first/big2"), "copy")
	require.Contains(t, sh.run("curl", "-s", strings.TrimSpace(aws("s3", "presign", "s3://first/tree/deep/er/file"))), "two")
	out, err := sh.try("aws", "--endpoint-url", s.URL, "s3api", "get-bucket-policy", "--bucket", "first")
	require.Error(t, err)
	require.Contains(t, out, "NoSuchBucketPolicy")
}

func TestRestic(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/restic", "restic")
	sh := newShell(t, newServer(t, nil))
	sh.tree()
	sh.run("restic", "init")
	sh.run("restic", "backup", "tree", "big")
	sh.write("tree/more", "three")
	sh.run("restic", "backup", "tree", "big")
	require.Contains(t, sh.run("restic", "check", "--read-data"), "no errors were found")
	sh.run("restic", "forget", "--keep-last", "1", "--prune")
	sh.run("restic", "restore", "latest", "--target", "back")
	sh.same("big", filepath.Join("back", "big"))
	sh.same("tree/more", "back/tree/more")
	require.Contains(t, sh.run("restic", "check"), "no errors were found")
}
