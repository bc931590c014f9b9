package volume

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// together lets the agents of the workshop find each other, as those of one process do.
func (w *workshop) together() {
	for name, r := range w.runners {
		w.service.agents[w.host(name)] = r.agent
	}
}

func TestAVolumeMovesToAnotherPool(t *testing.T) {
	w := newWorkshop(t)
	v, twin := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 30)
	w.scribble(twin.ID, 1, 30)
	w.together()
	require.ErrorIs(t, w.service.MigrateVolume(t.Context(), w.demo, v.ID, w.host("two"), "", false, false), ErrForbidden)
	require.ErrorContains(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, "nowhere@x#y", "", false, false), "No available service named 'nowhere@x#y'")
	require.ErrorContains(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("one"), "", false, false), "destination host/cluster must be different")
	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
	require.Equal(t, Maintenance, w.get(v.ID).Status)
	kills := 0
	for w.get(v.ID).Status == Maintenance {
		w.work(mortalAfter(t.Context(), 40))
		w.restart("one")
		w.restart("two")
		w.together()
		kills++
	}
	w.work(t.Context())
	require.Greater(t, kills, 2)
	got := w.get(v.ID)
	require.Equal(t, []string{string(Available), "success", w.host("two")}, []string{string(got.Status), got.MigrationStatus, got.Host})
	w.same(twin.ID, v.ID)
	w.nothingLeft()
	// And back again.
	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("one"), "", false, false))
	w.work(t.Context())
	require.Equal(t, w.host("one"), w.get(v.ID).Host)
	w.same(twin.ID, v.ID)
	w.nothingLeft()
}

func TestAMigrationThatFailsLeavesTheVolumeWhereItWas(t *testing.T) {
	w := newWorkshop(t)
	v, twin := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 10)
	w.scribble(twin.ID, 1, 10)
	w.together()
	for _, step := range []string{"volume apply", "volume open"} {
		heal := w.faults.Add(inject.Fault{Step: step, Host: "two", Err: errors.New("no")})
		require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
		w.work(t.Context())
		heal()
		got := w.get(v.ID)
		require.Equal(t, []string{string(Available), "error", w.host("one")}, []string{string(got.Status), got.MigrationStatus, got.Host})
		w.same(twin.ID, v.ID)
		w.nothingLeft()
	}
	// The old copy that cannot be removed is not forgotten.
	heal := w.faults.Add(inject.Fault{Step: "volume remove", Host: "one", Times: 8})
	require.NoError(t, w.service.MigrateVolume(t.Context(), w.admin, v.ID, w.host("two"), "", false, false))
	w.work(t.Context())
	heal()
	require.Equal(t, w.host("two"), w.get(v.ID).Host)
	w.nothingLeft()
}

func (w *workshop) newType(name string, specs map[string]string, encrypted bool) *Type {
	w.t.Helper()
	t := &Type{ID: uuid.NewString(), Name: name, Public: true, Specs: specs}
	if encrypted {
		t.Encryption = &TypeEncryption{ID: uuid.NewString(), Provider: "luks", ControlLocation: "front-end"}
	}
	require.NoError(w.t, w.service.store.Update(w.t.Context(), func(tx *record.Tx) error { return w.service.types.Insert(tx, t) }))
	return t
}

func TestAVolumeIsRetyped(t *testing.T) {
	w := newWorkshop(t)
	w.together()
	same, two, _ := w.newType("same", nil, false), w.newType("two", map[string]string{"volume_backend_name": "two"}, false), w.newType("secret", nil, true)
	v, twin := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 10)
	w.scribble(twin.ID, 1, 10)
	require.ErrorContains(t, w.service.Retype(t.Context(), w.demo, v.ID, DefaultTypeName, "never"), "requested type has to be different")
	require.NoError(t, w.service.Retype(t.Context(), w.demo, v.ID, "same", "never"))
	require.Equal(t, same.ID, w.get(v.ID).TypeID)
	require.Empty(t, w.get(v.ID).MigrationStatus)

	require.NoError(t, w.service.Retype(t.Context(), w.demo, v.ID, "two", "never"))
	require.Equal(t, same.ID, w.get(v.ID).TypeID, "it would have to move")
	messages, err := w.service.Messages(t.Context(), w.demo, ListOptions{})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	require.NoError(t, w.service.Retype(t.Context(), w.demo, v.ID, "two", "on-demand"))
	require.Equal(t, Retyping, w.get(v.ID).Status)
	w.work(t.Context())
	got := w.get(v.ID)
	require.Equal(t, []string{two.ID, string(Available), "success", w.host("two")}, []string{got.TypeID, string(got.Status), got.MigrationStatus, got.Host})
	w.same(twin.ID, v.ID)

	require.NoError(t, w.service.Retype(t.Context(), w.demo, v.ID, "secret", "on-demand"))
	w.work(t.Context())
	got = w.get(v.ID)
	require.True(t, got.Encrypted)
	require.Len(t, w.secrets.values, 1)
	w.same(twin.ID, v.ID)
	w.nothingLeft()
	require.NoError(t, w.service.Retype(t.Context(), w.demo, v.ID, "same", "on-demand"))
	w.work(t.Context())
	got = w.get(v.ID)
	require.False(t, got.Encrypted)
	require.Empty(t, w.secrets.values)
	w.same(twin.ID, v.ID)
	w.nothingLeft()
}

func TestAPoolsOwnThingsAreManagedAndReleased(t *testing.T) {
	w := newWorkshop(t)
	w.together()
	w.pools["one"].Place("theirs", 3<<29)
	there, err := w.service.ManageableVolumes(t.Context(), w.admin, w.host("one"), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, []Manageable{{Name: "theirs", SizeGiB: 2, Safe: true}}, there)
	_, err = w.service.ManageVolume(t.Context(), w.demo, ManageSpec{Host: w.host("one"), Name: "theirs"})
	require.ErrorIs(t, err, ErrForbidden)
	w.faults.Add(inject.Fault{Step: "volume apply", Times: 2})
	v, err := w.service.ManageVolume(t.Context(), w.admin, ManageSpec{Host: w.host("one"), Name: "theirs", VolumeName: "ours"})
	require.NoError(t, err)
	w.work(t.Context())
	got := w.get(v.ID)
	require.Equal(t, []any{Available, 2, "ours"}, []any{got.Status, got.SizeGiB, got.Name})
	w.nothingLeft()

	none, err := w.service.ManageVolume(t.Context(), w.admin, ManageSpec{Host: w.host("one"), Name: "nothing"})
	require.NoError(t, err)
	w.work(t.Context())
	require.Equal(t, ErrorManaging, w.get(none.ID).Status)
	require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error { return w.service.volumes.Delete(tx, none.ID) }))

	require.NoError(t, w.service.UnmanageVolume(t.Context(), w.admin, v.ID))
	w.work(t.Context())
	_, err = w.service.Volume(t.Context(), w.admin, v.ID)
	require.ErrorIs(t, err, ErrNotFound)
	w.nothingLeft()
	there, err = w.service.ManageableVolumes(t.Context(), w.admin, w.host("one"), ListOptions{})
	require.NoError(t, err)
	require.Len(t, there, 1)
	v, err = w.service.ManageVolume(t.Context(), w.admin, ManageSpec{Host: w.host("one"), Name: there[0].Name})
	require.NoError(t, err)
	w.work(t.Context())
	require.Equal(t, Available, w.get(v.ID).Status)
}

func TestAPoolsOwnSnapshotsAreManagedAndReleased(t *testing.T) {
	w := newWorkshop(t)
	w.together()
	v, other := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 30)
	p, err := w.service.CreateSnapshot(t.Context(), w.demo, SnapshotSpec{VolumeID: v.ID})
	require.NoError(t, err)
	require.NoError(t, w.runners["one"].agent.reconcileSnapshot(t.Context(), p.ID))
	require.ErrorIs(t, w.service.UnmanageSnapshot(t.Context(), w.demo, p.ID), ErrForbidden)
	require.NoError(t, w.service.UnmanageSnapshot(t.Context(), w.admin, p.ID))
	require.ErrorIs(t, w.service.UnmanageSnapshot(t.Context(), w.admin, p.ID), ErrInvalid, "it is unmanaging")
	w.work(t.Context())
	_, err = w.service.Snapshot(t.Context(), w.admin, p.ID)
	require.ErrorIs(t, err, ErrNotFound)
	w.nothingLeft()
	there, err := w.service.ManageableSnapshots(t.Context(), w.admin, w.host("one"), ListOptions{})
	require.NoError(t, err)
	require.Equal(t, []Manageable{{Name: "released-snapshot-" + p.ID, SizeGiB: v.SizeGiB, Safe: true, SourceName: v.ID}}, there)

	manage := func(volumeID string) Status {
		t.Helper()
		p, err = w.service.ManageSnapshot(t.Context(), w.admin, ManageSnapshotSpec{VolumeID: volumeID, Name: there[0].Name, SnapshotName: "ours"})
		require.NoError(t, err)
		w.work(t.Context())
		p, err = w.service.Snapshot(t.Context(), w.admin, p.ID)
		require.NoError(t, err)
		return p.Status
	}
	_, err = w.service.ManageSnapshot(t.Context(), w.demo, ManageSnapshotSpec{VolumeID: v.ID, Name: there[0].Name})
	require.ErrorIs(t, err, ErrForbidden)
	require.Equal(t, Errored, manage(other.ID), "it is not of that volume")
	require.NoError(t, w.service.DeleteSnapshot(t.Context(), w.admin, p.ID, false))
	require.NoError(t, w.runners["one"].agent.reconcileSnapshot(t.Context(), p.ID))
	require.Equal(t, Available, manage(v.ID))
	require.Equal(t, []any{"ours", v.SizeGiB, 100}, []any{p.Name, p.SizeGiB, p.Progress})
	w.nothingLeft()
	require.NoError(t, w.service.DeleteSnapshot(t.Context(), w.admin, p.ID, false))
	require.NoError(t, w.runners["one"].agent.reconcileSnapshot(t.Context(), p.ID))
	w.nothingLeft()
}

// gallery is an image service that can be made.
type gallery struct {
	mu       sync.Mutex
	images   map[string]*picture
	failures int
}

type picture struct {
	spec   ImageSpec
	status string
	data   []byte
}

func (g *gallery) Image(_ context.Context, _ Scope, id string) (Image, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.images[id]
	if p == nil {
		return Image{}, ErrNotFound
	}
	return Image{ID: id, Status: p.status}, nil
}

func (g *gallery) OpenImage(context.Context, string) (ImageData, error) { return nil, ErrUnsupported }

func (g *gallery) CreateImage(_ context.Context, _ Scope, spec ImageSpec) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if spec.Name == "refused" {
		return "", ErrForbidden
	}
	id := uuid.NewString()
	g.images[id] = &picture{spec: spec, status: "queued"}
	return id, nil
}

func (g *gallery) UploadImage(_ context.Context, id string, r io.Reader, size int64) error {
	head := make([]byte, 1<<20)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures > 0 {
		g.failures--
		return errors.New("no room left")
	}
	if n+int64(len(head)) != size {
		return io.ErrUnexpectedEOF
	}
	g.images[id].status, g.images[id].data = "active", head
	return nil
}

func TestAVolumeBecomesAnImage(t *testing.T) {
	w := newWorkshop(t)
	images := &gallery{images: map[string]*picture{}, failures: 2}
	w.service.options.Images = images
	v := w.volume(func(v *Volume) {
		v.Status = InUse
		v.ImageMetadata = map[string]string{"hw_disk_bus": "scsi", "image_id": "x", "min_disk": "1", "checksum": "y"}
	})
	d := w.open(v.ID, driver.ReadWrite)
	_, err := d.WriteAt([]byte("the boot sector"), 0)
	require.NoError(t, errors.Join(err, d.Close()))
	_, err = w.service.UploadToImage(t.Context(), w.demo, v.ID, UploadSpec{ImageName: "i"})
	require.ErrorContains(t, err, "status must be available")
	_, err = w.service.UploadToImage(t.Context(), w.demo, v.ID, UploadSpec{ImageName: "refused", Force: true})
	require.ErrorIs(t, err, ErrForbidden)
	require.Equal(t, Available, w.get(v.ID).Status, "nothing is attached any more")
	up, err := w.service.UploadToImage(t.Context(), w.demo, v.ID, UploadSpec{ImageName: "i", Force: true})
	require.NoError(t, err)
	require.Equal(t, Uploading, w.get(v.ID).Status)
	w.work(t.Context())
	require.Equal(t, Available, w.get(v.ID).Status)
	made := images.images[up.ImageID]
	require.Equal(t, "active", made.status)
	require.Equal(t, "the boot sector", string(made.data[:15]))
	require.Equal(t, map[string]string{"hw_disk_bus": "scsi"}, made.spec.Properties)
	require.Equal(t, 1, made.spec.MinDiskGiB)
	w.nothingLeft()

	images.failures = 10
	_, err = w.service.UploadToImage(t.Context(), w.demo, v.ID, UploadSpec{ImageName: "j", Force: true})
	require.NoError(t, err)
	w.work(t.Context())
	require.Equal(t, Available, w.get(v.ID).Status)
	messages, err := w.service.Messages(t.Context(), w.demo, ListOptions{})
	require.NoError(t, err)
	require.Equal(t, "copy volume to image:Failed to upload volume to image at backend.", messages[0].Text)
	w.nothingLeft()
}
