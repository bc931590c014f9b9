package image_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// web has contents by address.
type web map[string]string

func (w web) Check(address string) error {
	if _, ok := w[address]; !ok {
		return image.ErrInvalid
	}
	return nil
}

func (w web) Open(_ context.Context, address string) (io.ReadCloser, int64, error) {
	if w[address] == "" {
		return nil, 0, errors.New("the server answered 404")
	}
	return io.NopCloser(strings.NewReader(w[address])), -1, nil
}

// house is a service with two stores, fast and slow, that does its tasks.
type house struct {
	*image.Service
	t          *testing.T
	db         *sql.DB
	fast, slow *memstore.Store
	faults     *inject.Set
	stop       func()
}

func newHouse(t *testing.T, options image.Options) *house {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	h := &house{t: t, db: db, faults: inject.New(1), fast: memstore.New(nil)}
	h.slow = memstore.New(&memstore.Options{Faults: h.faults})
	h.open(options)
	return h
}

// open makes the service, which does nothing in the background yet.
func (h *house) open(options image.Options) {
	h.t.Helper()
	options.StoreName, options.Stores = "fast", map[string]driver.Store{"slow": h.slow}
	if options.Web == nil {
		options.Web = web{"http://a/disk": "a disk", "http://a/missing": "", "http://a/qcow2": "QFI\xfb and so on"}
	}
	var err error
	h.Service, err = image.New(context.Background(), h.db, h.fast, &options)
	require.NoError(h.t, err)
}

// run has the service do its tasks until the test ends or stop is called.
func (h *house) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(h.t, <-ended)
		}
	}
	h.t.Cleanup(h.stop)
}

func (h *house) image() string {
	h.t.Helper()
	img, err := h.Create(h.t.Context(), alice, raw("disk"), nil)
	require.NoError(h.t, err)
	return img.ID
}

func (h *house) get(id string) *image.Image {
	h.t.Helper()
	img, err := h.Get(h.t.Context(), alice, id)
	require.NoError(h.t, err)
	return img
}

func (h *house) content(id string) string {
	h.t.Helper()
	_, f, err := h.Service.Open(h.t.Context(), alice, id)
	require.NoError(h.t, err)
	text, err := io.ReadAll(f)
	require.NoError(h.t, err)
	require.NoError(h.t, f.Close())
	return string(text)
}

// imported waits for the end of an import.
func (h *house) imported(id string, spec image.ImportSpec) *image.Task {
	h.t.Helper()
	t, err := h.Import(h.t.Context(), alice, id, spec)
	require.NoError(h.t, err)
	return h.ended(t.ID)
}

// ended waits for the end of a task: its events are those of its image.
func (h *house) ended(task string) *image.Task {
	h.t.Helper()
	for range h.Watch(h.t.Context(), 0) {
		t, err := h.Task(h.t.Context(), admin, task)
		require.NoError(h.t, err)
		if t.Status == image.TaskSuccess || t.Status == image.TaskFailure {
			return t
		}
	}
	h.t.Fatal("the events ended")
	return nil
}

func (h *house) kept() (fast, slow int) {
	h.t.Helper()
	a, err := h.fast.List(h.t.Context())
	require.NoError(h.t, err)
	b, err := h.slow.List(h.t.Context())
	require.NoError(h.t, err)
	return len(a), len(b)
}

func TestStagedContentIsImported(t *testing.T) {
	for _, c := range []struct {
		name       string
		spec       image.ImportSpec
		stores     []string
		fast, slow int
	}{
		{"to the default store", image.ImportSpec{}, []string{"fast"}, 1, 0},
		{"to another store", image.ImportSpec{Stores: []string{"slow"}}, []string{"slow"}, 0, 1},
		{"to all stores", image.ImportSpec{AllStores: true}, []string{"fast", "slow"}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, image.Options{})
			h.run()
			id := h.image()
			img, err := h.Stage(t.Context(), alice, id, strings.NewReader("a disk"), -1)
			require.NoError(t, err)
			require.Equal(t, image.Uploading, img.Status)
			_, _, err = h.Service.Open(t.Context(), alice, id)
			require.ErrorIs(t, err, image.ErrNoData)
			c.spec.Method = image.GlanceDirect
			require.Equal(t, image.TaskSuccess, h.imported(id, c.spec).Status)
			img = h.get(id)
			require.Equal(t, image.Active, img.Status)
			require.Equal(t, c.stores, img.Data.Stores())
			require.Nil(t, img.Staged)
			require.Empty(t, img.Import.Stores)
			require.Empty(t, img.Import.Failed)
			require.Equal(t, "a disk", h.content(id))
			h.stop()
			fast, slow := h.kept()
			require.Equal(t, []int{c.fast, c.slow}, []int{fast, slow})
			require.NoError(t, h.Delete(t.Context(), alice, id))
			fast, slow = h.kept()
			require.Equal(t, []int{0, 0}, []int{fast, slow})
		})
	}
}

func TestDownloads(t *testing.T) {
	h := newHouse(t, image.Options{})
	h.run()
	id := h.image()
	require.Equal(t, image.TaskSuccess, h.imported(id, image.ImportSpec{Method: image.WebDownload, Address: "http://a/disk", AllStores: true}).Status)
	require.Equal(t, "a disk", h.content(id))
	require.Equal(t, []string{"fast", "slow"}, h.get(id).Data.Stores())
	for address, why := range map[string]string{"http://a/missing": "404", "http://a/qcow2": "does not match"} {
		id := h.image()
		task := h.imported(id, image.ImportSpec{Method: image.WebDownload, Address: address})
		require.Equal(t, image.TaskFailure, task.Status)
		require.Contains(t, task.Message, why)
		img := h.get(id)
		require.Equal(t, image.Queued, img.Status)
		require.Equal(t, []string{"fast"}, img.Import.Failed)
		_, err := h.Upload(t.Context(), alice, id, strings.NewReader("at last"), -1)
		require.NoError(t, err)
	}
	_, err := h.Import(t.Context(), alice, h.image(), image.ImportSpec{Method: image.WebDownload, Address: "http://b/disk"})
	require.ErrorIs(t, err, image.ErrInvalid)
}

func TestCopies(t *testing.T) {
	h := newHouse(t, image.Options{})
	h.run()
	id := h.image()
	_, err := h.Upload(t.Context(), alice, id, strings.NewReader("a disk"), -1)
	require.NoError(t, err)
	require.ErrorIs(t, h.DeleteFrom(t.Context(), alice, id, "fast"), image.ErrForbidden)
	h.faults.Add(inject.Fault{Step: "image put", Times: 1, Err: errors.New("no room")})
	task := h.imported(id, image.ImportSpec{Method: image.CopyImage, AllStores: true})
	require.Equal(t, image.TaskFailure, task.Status)
	require.Contains(t, task.Message, "no room")
	require.Equal(t, []string{"slow"}, h.get(id).Import.Failed)
	require.Equal(t, image.Active, h.get(id).Status)
	require.Equal(t, image.TaskSuccess, h.imported(id, image.ImportSpec{Method: image.CopyImage, Stores: []string{"slow"}}).Status)
	require.Equal(t, []string{"fast", "slow"}, h.get(id).Data.Stores())
	_, err = h.Import(t.Context(), alice, id, image.ImportSpec{Method: image.CopyImage, AllStores: true})
	require.ErrorIs(t, err, image.ErrConflict)
	_, err = h.Import(t.Context(), bob, id, image.ImportSpec{Method: image.CopyImage, AllStores: true})
	require.ErrorIs(t, err, image.ErrNotFound)
	require.NoError(t, h.DeleteFrom(t.Context(), alice, id, "fast"))
	require.Equal(t, []string{"slow"}, h.get(id).Data.Stores())
	require.Equal(t, "a disk", h.content(id))
	fast, slow := h.kept()
	require.Equal(t, []int{0, 1}, []int{fast, slow})
}

func TestImportsThatMakeNoSense(t *testing.T) {
	h := newHouse(t, image.Options{})
	id := h.image()
	for _, c := range []struct {
		spec image.ImportSpec
		want error
	}{
		{image.ImportSpec{Method: "glance-download"}, image.ErrInvalid},
		{image.ImportSpec{Method: image.GlanceDirect}, image.ErrConflict},
		{image.ImportSpec{Method: image.CopyImage}, image.ErrConflict},
		{image.ImportSpec{Method: image.WebDownload, Address: "http://a/disk", Stores: []string{"none"}}, image.ErrConflict},
		{image.ImportSpec{Method: image.WebDownload, Address: "http://a/disk", Stores: []string{"fast"}, AllStores: true}, image.ErrInvalid},
	} {
		_, err := h.Import(t.Context(), alice, id, c.spec)
		require.ErrorIs(t, err, c.want, "%+v", c.spec)
	}
	_, err := h.Import(t.Context(), alice, id, image.ImportSpec{Method: image.WebDownload, Address: "http://a/disk"})
	require.NoError(t, err)
	_, err = h.Import(t.Context(), alice, id, image.ImportSpec{Method: image.WebDownload, Address: "http://a/disk"})
	require.ErrorIs(t, err, image.ErrConflict)
	_, err = h.Tasks(t.Context(), alice, "", 0)
	require.ErrorIs(t, err, image.ErrForbidden)
}

// TestRestart has an import that had not begun done by the next service.
func TestAnImportOutlivesARestart(t *testing.T) {
	h := newHouse(t, image.Options{})
	id := h.image()
	_, err := h.Stage(t.Context(), alice, id, strings.NewReader("a disk"), -1)
	require.NoError(t, err)
	task, err := h.Import(t.Context(), alice, id, image.ImportSpec{Method: image.GlanceDirect, AllStores: true})
	require.NoError(t, err)
	h.open(image.Options{})
	h.run()
	require.Equal(t, image.TaskSuccess, h.ended(task.ID).Status)
	require.Equal(t, "a disk", h.content(id))
}

func TestEqualContentsAreKeptOnce(t *testing.T) {
	h := newHouse(t, image.Options{})
	var ids []string
	for range 3 {
		id := h.image()
		_, err := h.Upload(t.Context(), alice, id, strings.NewReader("a disk"), -1)
		require.NoError(t, err)
		ids = append(ids, id)
	}
	fast, _ := h.kept()
	require.Equal(t, 1, fast)
	require.NoError(t, h.Delete(t.Context(), alice, ids[0]))
	require.NoError(t, h.Delete(t.Context(), alice, ids[1]))
	h.open(image.Options{})
	require.Equal(t, "a disk", h.content(ids[2]))
	require.NoError(t, h.Delete(t.Context(), alice, ids[2]))
	fast, _ = h.kept()
	require.Zero(t, fast)
}

func TestQuota(t *testing.T) {
	h := newHouse(t, image.Options{Quota: image.Quota{Images: 3, Bytes: 10, StagedBytes: 5, Uploads: 1}})
	one, two, three := h.image(), h.image(), h.image()
	_, err := h.Create(t.Context(), alice, raw("fourth"), nil)
	require.ErrorIs(t, err, image.ErrQuota)
	require.ErrorIs(t, err, image.ErrTooLarge)
	_, err = h.Upload(t.Context(), alice, one, strings.NewReader("01234567890"), -1)
	require.ErrorIs(t, err, image.ErrQuota)
	_, err = h.Upload(t.Context(), alice, one, strings.NewReader("01234567"), -1)
	require.NoError(t, err)
	_, err = h.Upload(t.Context(), alice, two, strings.NewReader("0123"), 4)
	require.ErrorIs(t, err, image.ErrQuota)
	_, err = h.Stage(t.Context(), alice, two, strings.NewReader("01"), -1)
	require.NoError(t, err)
	_, err = h.Upload(t.Context(), alice, three, strings.NewReader("0"), -1)
	require.ErrorIs(t, err, image.ErrQuota, "one is being uploaded")
	used, limits, err := h.Usage(t.Context(), alice)
	require.NoError(t, err)
	require.Equal(t, image.Quota{Images: 3, Bytes: 8, StagedBytes: 2, Uploads: 1}, used)
	require.EqualValues(t, 10, limits.Bytes)
	used, _, err = h.Usage(t.Context(), bob)
	require.NoError(t, err)
	require.Zero(t, used)
}

func TestWhatIsInUseStays(t *testing.T) {
	needed := map[string]bool{}
	h := newHouse(t, image.Options{InUse: func(_ context.Context, id string) (bool, error) { return needed[id], nil }})
	id := h.image()
	needed[id] = true
	require.ErrorIs(t, h.Delete(t.Context(), alice, id), image.ErrInUse)
	require.ErrorIs(t, h.Delete(t.Context(), bob, id), image.ErrNotFound)
	delete(needed, id)
	require.NoError(t, h.Delete(t.Context(), alice, id))
}
