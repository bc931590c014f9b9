package filestore_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/image/webdownload"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

var kills = flag.Int("kills", 24, "how often TestKilledService kills a process")

// These name the directory of a service that is to be killed, and the web that it downloads from; in that process alone.
const (
	victimDir = "FILESTORE_TEST_VICTIM"
	victimWeb = "FILESTORE_TEST_WEB"
)

// everybody is who all images of this test belong to.
var everybody = image.Scope{ProjectID: "p", Admin: true}

// imageService is a service over two directories of files and a database.
type imageService struct {
	*image.Service
	stores map[string]*filestore.Store
	close  func() error
}

func openService(ctx context.Context, dir, web string) (*imageService, error) {
	s := &imageService{stores: map[string]*filestore.Store{}}
	for _, name := range []string{"a", "b"} {
		store, err := filestore.New(filepath.Join(dir, name), nil)
		if err != nil {
			return nil, err
		}
		s.stores[name] = store
	}
	from, err := url.Parse(web)
	if err != nil {
		return nil, err
	}
	port, _ := strconv.Atoi(from.Port())
	downloader, err := webdownload.New(&webdownload.Options{
		Hosts: []string{"127.0.0.1"}, Ports: []int{port}, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		return nil, err
	}
	db, err := sqlitedb.Open(ctx, filepath.Join(dir, "images.db"))
	if err != nil {
		return nil, err
	}
	s.close = db.Close
	s.Service, err = image.New(ctx, db, s.stores["a"], &image.Options{
		StoreName: "a", Stores: map[string]driver.Store{"b": s.stores["b"]}, Web: downloader, AllowUnknownContent: true,
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// contentOf is the content that an image of the name must have: "seed-bytes".
func contentOf(name string) []byte {
	var seed uint64
	var size int
	_, _ = fmt.Sscanf(name, "%d-%d", &seed, &size)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{0: 1, 1: byte(seed)}).Read(b)
	return b
}

func hashOf(content []byte) string {
	sum := sha512.Sum512(content)
	return hex.EncodeToString(sum[:])
}

// victim works in the directory until it is killed, and says what was acknowledged: "active ID STORES", "staged ID", "deleted ID",
// and before what may undo one of them, "importing ID" and "deleting ID".
func victim(dir, web string) error {
	ctx := context.Background()
	s, err := openService(ctx, dir, web)
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- s.Run(ctx) }()
	var mu sync.Mutex
	say := func(words ...string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.WriteString(strings.Join(words, " ") + "\n")
	}
	for range 4 {
		go func() {
			for {
				if err := s.live(ctx, web, say); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// live makes an image, in one of the ways there are, copies it perhaps, and deletes it perhaps. Some contents are equal.
func (s *imageService) live(ctx context.Context, web string, say func(...string)) error {
	name := fmt.Sprintf("%d-%d", rand.IntN(40), []int{0, 1000, 300_000, 2_500_000}[rand.IntN(4)])
	img, err := s.Create(ctx, everybody, image.Spec{Name: name, DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	if err != nil {
		return err
	}
	spec := image.ImportSpec{Method: image.GlanceDirect, Address: web + "/" + name, Stores: [][]string{nil, {"a"}, {"b"}, {"a", "b"}}[rand.IntN(4)]}
	switch rand.IntN(3) {
	case 0:
		img, err = s.UploadTo(ctx, everybody, img.ID, []string{"a", "b"}[rand.IntN(2)], bytes.NewReader(contentOf(name)), -1)
	case 1:
		if _, err = s.Stage(ctx, everybody, img.ID, bytes.NewReader(contentOf(name)), -1); err != nil {
			return err
		}
		say("staged", img.ID)
		if rand.IntN(4) == 0 {
			return nil // it is left to itself
		}
		say("importing", img.ID)
		img, err = s.imported(ctx, img.ID, spec)
	case 2:
		spec.Method = image.WebDownload
		img, err = s.imported(ctx, img.ID, spec)
	}
	if err != nil {
		return err
	}
	say("active", img.ID, strings.Join(img.Data.Stores(), ","))
	if len(img.Data.Stores()) == 1 && rand.IntN(2) == 0 {
		if img, err = s.imported(ctx, img.ID, image.ImportSpec{Method: image.CopyImage, AllStores: true}); err != nil {
			return err
		}
		say("active", img.ID, strings.Join(img.Data.Stores(), ","))
	}
	if rand.IntN(3) == 0 {
		return nil
	}
	say("deleting", img.ID)
	if err := s.Delete(ctx, everybody, img.ID); err != nil {
		return err
	}
	say("deleted", img.ID)
	return nil
}

// imported imports and waits for the end. Events say when to look.
func (s *imageService) imported(ctx context.Context, id string, spec image.ImportSpec) (*image.Image, error) {
	after, err := s.LastEvent(ctx)
	if err != nil {
		return nil, err
	}
	task, err := s.Import(ctx, everybody, id, spec)
	if err != nil {
		return nil, err
	}
	for _, err := range s.Watch(ctx, after) {
		if err != nil {
			return nil, err
		}
		switch task, err = s.Task(ctx, everybody, task.ID); {
		case err != nil:
			return nil, err
		case task.Status == image.TaskSuccess:
			return s.Get(ctx, everybody, id)
		case task.Status == image.TaskFailure:
			return nil, fmt.Errorf("%s of image %s: %s", spec.Method, id, task.Message)
		}
	}
	return nil, ctx.Err()
}

// TestKilledService kills a service that uploads, stages, imports, downloads, copies and deletes, at random moments. What was
// acknowledged is there and whole, everything else is there or not, and can be used; and no content is left over.
func TestKilledService(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(contentOf(path.Base(r.URL.Path)))
	}))
	t.Cleanup(web.Close)
	dir, told := t.TempDir(), map[string][]string{}
	cut, resumed := 0, 0
	for round := range *kills {
		killed(t, dir, web.URL, told)
		s, err := openService(t.Context(), dir, web.URL)
		require.NoError(t, err)
		kinds := inspect(t, s, told, round)
		cut, resumed = cut+kinds[image.Queued], resumed+kinds[image.Importing]
		if round%5 == 4 || round == *kills-1 {
			empty(t, s, dir)
			clear(told)
		}
		require.NoError(t, s.close())
	}
	t.Logf("after %d kills, %d images without content and %d imports to do were found", *kills, cut, resumed)
}

// killed runs a victim, kills it, and adds what it has told of each image.
func killed(t *testing.T, dir, web string, told map[string][]string) {
	t.Helper()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), victimDir+"="+dir, victimWeb+"="+web)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	die := rand.IntN(60)
	for n := 0; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		told[words[1]] = append([]string{words[0]}, words[2:]...)
		if n == die {
			// Not only at moments when it writes a line.
			time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { _ = child.Process.Signal(syscall.SIGKILL) })
		}
	}
	require.Error(t, child.Wait())
	require.False(t, child.ProcessState.Exited(), "it ended by itself")
}

// inspect holds what a service finds against what was told, before it goes on with imports and after, and has all images active
// then. It returns how many were in which state before.
func inspect(t *testing.T, s *imageService, told map[string][]string, round int) map[image.Status]int {
	t.Helper()
	kinds := map[image.Status]int{}
	before := all(t, s)
	tidy(t, s, before)
	for id, img := range before {
		kinds[img.Status]++
		require.Contains(t, []image.Status{image.Queued, image.Uploading, image.Importing, image.Active}, img.Status)
		switch last := append(told[id], ""); last[0] {
		case "active":
			require.Equal(t, image.Active, img.Status, "round %d", round)
			require.Subset(t, img.Data.Stores(), strings.Split(last[1], ","))
		case "staged":
			require.Equal(t, image.Uploading, img.Status, "round %d", round)
		case "deleted":
			require.Failf(t, "a deleted image is back", "round %d: %s", round, id)
		}
	}
	for id, last := range told {
		if last[0] != "deleting" && last[0] != "deleted" {
			require.Contains(t, before, id, "round %d", round)
		}
	}
	work(t, s)
	after := all(t, s)
	tidy(t, s, after)
	for id, img := range after {
		require.NotEqual(t, image.Importing, img.Status)
		require.True(t, before[id].Status != image.Importing || img.Status == image.Active, "%s: an import that waited is done", id)
	}
	reuse(t, s, after)
	clear(told)
	for id, img := range all(t, s) {
		told[id] = []string{"active", strings.Join(img.Data.Stores(), ",")}
	}
	return kinds
}

func all(t *testing.T, s *imageService) map[string]image.Image {
	t.Helper()
	list, err := s.List(t.Context(), everybody, image.Filter{})
	require.NoError(t, err)
	byID := map[string]image.Image{}
	for _, img := range list {
		byID[img.ID] = img
	}
	return byID
}

// tidy has the stores keep whole what images have, and nothing else.
func tidy(t *testing.T, s *imageService, images map[string]image.Image) {
	t.Helper()
	wanted := map[string]map[string]string{"a": {}, "b": {}}
	for _, img := range images {
		require.Nil(t, img.Upload, img.ID)
		for _, d := range []*image.Data{img.Data, img.Staged} {
			if d == nil {
				continue
			}
			require.Equal(t, hashOf(contentOf(img.Name)), d.HashValue, "the content of another")
			refs := maps.Clone(d.Copies)
			if refs == nil {
				refs = map[string]string{}
			}
			refs[d.Store] = d.Ref
			for store, ref := range refs {
				wanted[store][ref] = d.HashValue
			}
		}
	}
	for name, store := range s.stores {
		listed, err := store.List(t.Context())
		require.NoError(t, err)
		require.ElementsMatch(t, slices.Collect(maps.Keys(wanted[name])), listed, "store %s", name)
		for ref, hash := range wanted[name] {
			f, err := store.Open(t.Context(), ref)
			require.NoError(t, err)
			content, err := io.ReadAll(f)
			require.NoError(t, errors.Join(err, f.Close()))
			require.Equal(t, hash, hashOf(content))
		}
	}
}

// work has the service do its tasks until none is left.
func work(t *testing.T, s *imageService) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	after, err := s.LastEvent(ctx)
	require.NoError(t, err)
	waiting := func() bool {
		for _, img := range all(t, s) {
			if img.Import != nil && len(img.Import.Refs) > 0 {
				return true
			}
		}
		return false
	}
	if waiting() {
		for _, err := range s.Watch(ctx, after) {
			require.NoError(t, err)
			if !waiting() {
				break
			}
		}
	}
	cancel()
	require.NoError(t, <-ended)
}

// reuse gives those images a content that have none, and deletes those that wait for an import.
func reuse(t *testing.T, s *imageService, images map[string]image.Image) {
	t.Helper()
	for id, img := range images {
		switch img.Status {
		case image.Queued:
			_, err := s.Upload(t.Context(), everybody, id, bytes.NewReader(contentOf(img.Name)), -1)
			require.NoError(t, err)
		case image.Uploading:
			_, err := s.Import(t.Context(), everybody, id, image.ImportSpec{Method: image.GlanceDirect})
			require.NoError(t, err)
		}
	}
	work(t, s)
	for id, img := range all(t, s) {
		require.Equal(t, image.Active, img.Status, id)
	}
	tidy(t, s, all(t, s))
}

// empty deletes all images: nothing is left in the directories.
func empty(t *testing.T, s *imageService, dir string) {
	t.Helper()
	for id := range all(t, s) {
		require.NoError(t, s.Delete(t.Context(), everybody, id))
	}
	for name := range s.stores {
		for _, below := range []string{"tmp", "blobs", "refs"} {
			require.Empty(t, names(t, dir, name, below))
		}
	}
}
