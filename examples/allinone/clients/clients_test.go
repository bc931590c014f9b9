// Package clients_test uses a whole cloud's object storage with the tools that people have: each unmodified, from Debian,
// against both dialects on real files.
package clients_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/stretchr/testify/require"
)

// treeFiles is how many files the trees have that are synchronised.
var treeFiles = flag.Int("files", 600, "files of the trees that are synchronised")

// site is a cloud with a user, and a directory to work in.
type site struct {
	t              *testing.T
	dir            string
	demo           cloud.Credentials
	swift, s3      string
	account        string
	access, secret string
}

const patience = 4 * time.Minute

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	ctx := context.Background()
	data := t.TempDir()
	db, err := sqlitedb.Open(ctx, filepath.Join(data, "kintoun.db"))
	require.NoError(t, err)
	contents, err := sqlitedb.Open(ctx, filepath.Join(data, "contents.db"))
	require.NoError(t, err)
	objects, err := fileobjects.New(ctx, filepath.Join(data, "objects"), contents, nil)
	require.NoError(t, err)
	c, err := cloud.Start(ctx, cloud.Options{
		DB: db, Images: memstore.New(nil), Objects: objects, Ports: map[cloud.Service]int{}, BcryptCost: 4,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Stop())
		require.NoError(t, objects.Close())
		require.NoError(t, contents.Close())
		require.NoError(t, db.Close())
	})
	s.demo, s.swift, s.s3 = c.Admin(), c.URL(cloud.ObjectStore), c.URL(cloud.S3)
	s.people(ctx, c.Identity)
	return s
}

// people makes the user demo of the project demo, with an EC2 credential.
func (s *site) people(ctx context.Context, people *identity.Service) {
	project, err := people.CreateProject(ctx, identity.ProjectSpec{Name: "demo", DomainID: identity.DefaultDomainID})
	require.NoError(s.t, err)
	s.demo.User, s.demo.Project, s.demo.Password = "demo", "demo", rand.Text()
	user, err := people.CreateUser(ctx, identity.UserSpec{Name: "demo", Password: s.demo.Password, PasswordRandom: true, DefaultProjectID: project.ID})
	require.NoError(s.t, err)
	roles, err := people.Roles(ctx, identity.RoleFilter{Name: identity.RoleMember})
	require.NoError(s.t, err)
	require.NoError(s.t, people.Assign(ctx, identity.Assignment{UserID: user.ID, RoleID: roles[0].ID, ProjectID: project.ID}))
	s.account, s.access, s.secret = "AUTH_"+project.ID, rand.Text(), rand.Text()
	blob, err := json.Marshal(map[string]string{"access": s.access, "secret": s.secret})
	require.NoError(s.t, err)
	_, err = people.CreateCredential(ctx, identity.Credential{Type: "ec2", Blob: string(blob), UserID: user.ID, ProjectID: project.ID})
	require.NoError(s.t, err)
}

// try runs a program in the site's directory, and returns what it printed.
func (s *site) try(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/"+program, args...)
	cmd.Dir = s.dir
	cmd.Env = append(s.demo.Environ(), "PATH=/usr/bin:/bin", "HOME="+s.dir, "PYTHONWARNINGS=ignore", "LC_ALL=C.UTF-8",
		"AWS_ACCESS_KEY_ID="+s.access, "AWS_SECRET_ACCESS_KEY="+s.secret, "AWS_DEFAULT_REGION=RegionOne", "AWS_EC2_METADATA_DISABLED=true")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (s *site) run(program string, args ...string) string {
	s.t.Helper()
	out, err := s.try(program, args...)
	require.NoError(s.t, err, "%s %s\n%s", program, strings.Join(args, " "), out)
	return strings.TrimSpace(out)
}

// fails runs what has to fail, and returns what it printed.
func (s *site) fails(program string, args ...string) string {
	s.t.Helper()
	out, err := s.try(program, args...)
	require.Error(s.t, err, "%s %s\n%s", program, strings.Join(args, " "), out)
	return out
}

func (s *site) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// write makes a file of random bytes.
func (s *site) write(name string, size int) []byte {
	s.t.Helper()
	data := make([]byte, size)
	_, _ = rand.Read(data)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
	require.NoError(s.t, os.WriteFile(s.path(name), data, 0o600))
	return data
}

func (s *site) read(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return data
}

// tree makes files in directories, some of them with names that are hard to write.
func (s *site) tree(name string, files int) {
	s.t.Helper()
	odd := []string{"plain", "two words", "ünï-çødé 筋斗雲", "a+b=c&d", "100%25", "quote'\"s", "semi;colon", "#hash?", "..dots.."}
	for i := range files {
		s.write(filepath.Join(name, fmt.Sprintf("d%02d", i%17), fmt.Sprintf("%s-%05d", odd[i%len(odd)], i)), 1+i*7%4000)
	}
}

// same says that two trees hold the same files.
func (s *site) same(a, b string) {
	s.t.Helper()
	out, err := s.try("diff", "-r", s.path(a), s.path(b))
	require.NoError(s.t, err, out)
}

// remotes are rclone's of the cloud, one for each dialect.
func (s *site) remotes() []string {
	config := fmt.Sprintf(`[swift]
type = swift
env_auth = true

[s3]
type = s3
provider = Other
access_key_id = %s
secret_access_key = %s
endpoint = %s
region = RegionOne
list_url_encode = true
`, s.access, s.secret, s.s3)
	require.NoError(s.t, os.MkdirAll(s.path(".config", "rclone"), 0o755))
	require.NoError(s.t, os.WriteFile(s.path(".config", "rclone", "rclone.conf"), []byte(config), 0o600))
	return []string{"swift", "s3"}
}

func TestSwift(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/swift", "python3-swiftclient")
	s := newSite(t)
	big := s.write("big", 9<<20)
	s.write("dir/one", 10)
	s.write("dir/deeper/two", 20)
	s.write("dir/empty", 0)
	require.NoError(t, os.Mkdir(s.path("dir", "hollow"), 0o755))

	s.run("swift", "post", "box", "-H", "X-Container-Meta-Colour: red")
	require.Contains(t, s.run("swift", "stat", "box"), "Meta Colour: red")
	s.run("swift", "upload", "box", "dir")
	require.Equal(t, "dir/deeper/two\ndir/empty\ndir/hollow\ndir/one", s.run("swift", "list", "box"))
	s.run("swift", "upload", "--skip-identical", "box", "dir")
	s.run("swift", "upload", "--segment-size", "2097152", "--use-slo", "box", "big")
	s.run("swift", "upload", "--segment-size", "3145728", "--object-name", "dynamic", "box", "big")
	for _, name := range []string{"big", "dynamic"} {
		s.run("swift", "download", "box", name, "-o", "back")
		require.Equal(t, big, s.read("back"))
		require.Contains(t, s.run("swift", "stat", "box", name), "9437184")
	}
	s.run("swift", "post", "box", "dir/one", "-H", "X-Object-Meta-Mood: good", "-H", "X-Delete-After: 1000000")
	require.Contains(t, s.run("swift", "stat", "box", "dir/one"), "Meta Mood: good")
	s.run("swift", "copy", "-d", "/other/copied", "box", "dir/one")
	require.Contains(t, s.run("swift", "stat"), "Containers: 3") // box, other, and that of segments
	s.run("swift", "download", "-a", "-D", "all")
	require.Equal(t, s.read("dir/deeper/two"), s.read("all/box/dir/deeper/two"))

	// Versions, the older way: deleting brings the last one back.
	s.run("swift", "post", "archive")
	s.run("swift", "post", "box", "-H", "X-Versions-Location: archive")
	before := s.read("dir/one")
	s.write("dir/one", 33)
	s.run("swift", "upload", "box", "dir/one")
	s.run("swift", "delete", "box", "dir/one")
	s.run("swift", "download", "box", "dir/one", "-o", "back")
	require.Equal(t, before, s.read("back"))

	// A temporary URL, and an account that everybody may read.
	s.run("swift", "post", "-m", "Temp-URL-Key: secret")
	path := s.run("swift", "tempurl", "GET", "600", "/v1/"+s.account+"/box/big", "secret")
	s.run("curl", "-sSf", "-o", "back", s.swift+path)
	require.Equal(t, big, s.read("back"))
	s.fails("curl", "-sSf", "-o", "back", s.swift+strings.Replace(path, "temp_url_sig=", "temp_url_sig=0", 1))
	s.fails("curl", "-sSf", s.swift+"/v1/"+s.account+"/box/dir/one")
	s.run("swift", "post", "-r", ".r:*,.rlistings", "box")
	s.run("curl", "-sSf", "-o", "back", s.swift+"/v1/"+s.account+"/box/dir/one")
	require.Equal(t, before, s.read("back"))
	require.Contains(t, s.run("swift", "capabilities"), "slo")

	s.run("swift", "delete", "--all")
	require.Empty(t, s.run("swift", "list"))
	require.Contains(t, s.run("swift", "stat"), "Bytes: 0")
}

func TestOpenStack(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/openstack", "python3-openstackclient")
	s := newSite(t)
	data := s.write("a file", 5000)
	s.run("openstack", "container", "create", "box", "crate")
	require.Equal(t, "box\ncrate", s.run("openstack", "container", "list", "-f", "value"))
	s.run("openstack", "object", "create", "box", "a file", "--name", "deep/a file")
	s.run("openstack", "object", "set", "--property", "mood=good", "box", "deep/a file")
	require.Contains(t, s.run("openstack", "object", "show", "box", "deep/a file"), "Mood='good'")
	require.Equal(t, "deep/a file", s.run("openstack", "object", "list", "box", "-f", "value"))
	s.run("openstack", "object", "save", "--file", "back", "box", "deep/a file")
	require.Equal(t, data, s.read("back"))
	require.Contains(t, s.run("openstack", "container", "show", "box", "-f", "json"), `"bytes_used": "5000"`)
	s.run("openstack", "object", "store", "account", "set", "--property", "owner=me")
	require.Contains(t, s.run("openstack", "object", "store", "account", "show"), "Owner='me'")
	require.Contains(t, s.fails("openstack", "container", "delete", "box"), "409")
	s.run("openstack", "container", "delete", "--recursive", "box")
	s.fails("openstack", "container", "show", "box")
}

func TestRclone(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/rclone", "rclone")
	s := newSite(t)
	s.tree("tree", *treeFiles)
	s.write("tree/tab\tstop", 5)
	for _, remote := range s.remotes() {
		there := remote + ":" + remote + "-box/deep"
		s.run("rclone", "mkdir", remote+":"+remote+"-box")
		s.run("rclone", "sync", "--transfers", "8", "--checkers", "8", "tree", there)
		s.run("rclone", "check", "--checkers", "8", "tree", there)
		s.run("rclone", "sync", "--transfers", "8", there, "back-"+remote)
		s.same("tree", "back-"+remote)
		require.Contains(t, s.run("rclone", "size", there), fmt.Sprintf("%d", *treeFiles+1))
		s.run("rclone", "delete", there+"/d03")
		s.fails("rclone", "check", "tree", there)
		s.run("rclone", "sync", "tree", there)
		s.run("rclone", "check", "--download", "tree/d03", there+"/d03")
		s.run("rclone", "copyto", there+"/d03", there+"/copied")
		s.run("rclone", "check", "tree/d03", there+"/copied")
		s.run("rclone", "test", "info", "--all", "--write-json", "info-"+remote+".json", remote+":"+remote+"-box/info")
		s.write("large", 12<<20)
		s.run("rclone", "copy", "--s3-chunk-size", "5M", "--s3-upload-cutoff", "5M", "--swift-chunk-size", "5M", "large", there)
		s.run("rclone", "check", "--download", "large", there)
	}
	// What one dialect wrote, the other reads.
	s.run("rclone", "check", "--download", "tree", "swift:s3-box/deep", "--one-way")
	s.run("rclone", "check", "--download", "tree", "s3:swift-box/deep", "--one-way")
	for _, remote := range s.remotes() {
		s.run("rclone", "purge", remote+":"+remote+"-box")
	}
	require.NotContains(t, s.run("rclone", "lsd", "swift:"), "-box\n")
}

func TestS3cmd(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/s3cmd", "s3cmd")
	s := newSite(t)
	at, err := url.Parse(s.s3)
	require.NoError(t, err)
	config := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %[3]s\nuse_https = False\nbucket_location = RegionOne\n", s.access, s.secret, at.Host)
	require.NoError(t, os.WriteFile(s.path(".s3cfg"), []byte(config), 0o600))
	s.tree("tree", 60)
	big := s.write("big", 17<<20)
	s.run("s3cmd", "mb", "s3://cmd-box")
	s.run("s3cmd", "put", "--multipart-chunk-size-mb=5", "big", "s3://cmd-box/big")
	s.run("s3cmd", "get", "s3://cmd-box/big", "back")
	require.Equal(t, big, s.read("back"))
	s.run("s3cmd", "sync", "tree/", "s3://cmd-box/tree/")
	s.run("s3cmd", "sync", "s3://cmd-box/tree/", "tree-back/")
	s.same("tree", "tree-back")
	require.Contains(t, s.run("s3cmd", "info", "s3://cmd-box/big"), "17825792")
	s.run("s3cmd", "cp", "s3://cmd-box/big", "s3://cmd-box/second")
	s.run("s3cmd", "mv", "s3://cmd-box/second", "s3://cmd-box/third")
	s.run("s3cmd", "setacl", "--acl-public", "s3://cmd-box")
	s.run("s3cmd", "signurl", "s3://cmd-box/third", "+600")
	require.Contains(t, s.run("s3cmd", "du", "s3://cmd-box"), "s3://cmd-box")
	s.run("s3cmd", "rb", "--recursive", "--force", "s3://cmd-box")
	require.Empty(t, s.run("s3cmd", "ls"))
}

func TestAWS(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/aws", "awscli")
	s := newSite(t)
	aws := func(args ...string) string {
		t.Helper()
		return s.run("aws", append([]string{"--endpoint-url", s.s3, "--output", "json"}, args...)...)
	}
	big := s.write("big", 20<<20)
	s.tree("tree", 60)
	aws("s3", "mb", "s3://aws-box")
	aws("s3", "cp", "big", "s3://aws-box/big")
	aws("s3", "cp", "s3://aws-box/big", "back")
	require.Equal(t, big, s.read("back"))
	aws("s3", "sync", "tree", "s3://aws-box/tree")
	aws("s3", "sync", "s3://aws-box/tree", "tree-back")
	s.same("tree", "tree-back")
	require.Empty(t, aws("s3", "sync", "tree", "s3://aws-box/tree", "--size-only"))

	// Versions.
	aws("s3api", "put-bucket-versioning", "--bucket", "aws-box", "--versioning-configuration", "Status=Enabled")
	s.write("note", 10)
	first := aws("s3api", "put-object", "--bucket", "aws-box", "--key", "note", "--body", "note", "--metadata", "mood=good", "--tagging", "a=b")
	aws("s3api", "delete-object", "--bucket", "aws-box", "--key", "note")
	s.fails("aws", "--endpoint-url", s.s3, "s3api", "head-object", "--bucket", "aws-box", "--key", "note")
	var made struct {
		Version string `json:"VersionId"`
	}
	require.NoError(t, json.Unmarshal([]byte(first), &made))
	require.Contains(t, aws("s3api", "get-object", "--bucket", "aws-box", "--key", "note", "--version-id", made.Version, "back"), `"mood": "good"`)
	require.Equal(t, s.read("note"), s.read("back"))
	require.Contains(t, aws("s3api", "get-object-tagging", "--bucket", "aws-box", "--key", "note", "--version-id", made.Version), `"Value": "b"`)
	require.Contains(t, aws("s3api", "list-object-versions", "--bucket", "aws-box", "--prefix", "note"), "DeleteMarkers")

	// A presigned URL, what is not configured, and what is.
	s.run("curl", "-sSf", "-o", "back", aws("s3", "presign", "s3://aws-box/big"))
	require.Equal(t, big, s.read("back"))
	require.Contains(t, s.fails("aws", "--endpoint-url", s.s3, "s3api", "get-bucket-policy", "--bucket", "aws-box"), "NoSuchBucketPolicy")
	aws("s3api", "put-bucket-lifecycle-configuration", "--bucket", "aws-box", "--lifecycle-configuration",
		`{"Rules":[{"ID":"old","Status":"Enabled","Filter":{"Prefix":"tmp/"},"Expiration":{"Days":3}}]}`)
	require.Contains(t, aws("s3api", "get-bucket-lifecycle-configuration", "--bucket", "aws-box"), `"Days": 3`)
	aws("s3api", "put-object", "--bucket", "aws-box", "--key", "sum", "--body", "note", "--checksum-algorithm", "SHA256")
	require.Contains(t, aws("s3api", "get-object-attributes", "--bucket", "aws-box", "--key", "sum", "--object-attributes", "Checksum", "ObjectSize"), "ChecksumSHA256")
	aws("s3", "rm", "--recursive", "s3://aws-box/tree")
}

func TestRestic(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/restic", "restic")
	s := newSite(t)
	s.tree("tree", 200)
	s.write("tree/large", 20<<20)
	require.NoError(t, os.WriteFile(s.path("password"), []byte("secret"), 0o600))
	for _, repository := range []string{"s3:" + s.s3 + "/restic-box", "swift:restic:/deep"} {
		restic := func(args ...string) string {
			t.Helper()
			return s.run("restic", append([]string{"-q", "-r", repository, "--password-file", "password"}, args...)...)
		}
		restic("init")
		restic("backup", "tree")
		s.write("tree/large", 21<<20)
		restic("backup", "tree")
		restic("check", "--read-data")
		restic("forget", "--keep-last", "1", "--prune")
		restic("check", "--read-data")
		back := "restored-" + repository[:2]
		restic("restore", "latest", "--target", back)
		s.same("tree", back+"/tree")
	}
}

func TestS3fs(t *testing.T) {
	labtest.RequireProgram(t, "/usr/bin/s3fs", "s3fs")
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		labtest.Skip(t, "s3fs needs root and /dev/fuse")
	}
	s := newSite(t)
	require.NoError(t, os.WriteFile(s.path("passwd"), []byte(s.access+":"+s.secret), 0o600))
	require.NoError(t, os.Mkdir(s.path("mnt"), 0o755))
	s.run("aws", "--endpoint-url", s.s3, "s3", "mb", "s3://fs-box")
	s.run("s3fs", "fs-box", s.path("mnt"), "-o", "passwd_file="+s.path("passwd"), "-o", "url="+s.s3, "-o", "use_path_request_style", "-o", "endpoint=RegionOne")
	defer s.run("umount", s.path("mnt"))
	s.tree("tree", 40)
	s.run("cp", "-r", "tree", "mnt/tree")
	s.same("tree", "mnt/tree")
	large := s.write("large", 25<<20)
	s.run("cp", "large", "mnt/large")
	require.Equal(t, large, s.read("mnt/large"))
	s.run("mv", "mnt/large", "mnt/tree/larger")
	require.NoFileExists(t, s.path("mnt", "large"))
	require.Equal(t, large, s.read("mnt/tree/larger"))
	s.run("rm", "-r", "mnt/tree")
	left, err := os.ReadDir(s.path("mnt"))
	require.NoError(t, err)
	require.Empty(t, left)
}
