package volume_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

// shelf keeps the objects of backups, and keys, in memory.
type shelf struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (s *shelf) Put(_ context.Context, project, container, object string, r io.Reader) error {
	data, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[project+"/"+container+"/"+object] = data
	return err
}

func (s *shelf) Open(_ context.Context, project, container, object string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.kept[project+"/"+container+"/"+object]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (s *shelf) Delete(_ context.Context, project, container, object string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, project+"/"+container+"/"+object)
	return nil
}

func (s *shelf) CreateSecret(_ context.Context, _ string, value []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := uuid.NewString()
	s.kept[id] = value
	return id, nil
}

func (s *shelf) Secret(_ context.Context, id string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id], nil
}

func (s *shelf) DeleteSecret(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, id)
	return nil
}

// content reads the beginning of what a guest sees of a volume.
func (c *cloud) content(t *testing.T, volumes *memvolume.Driver, id string, n int) string {
	t.Helper()
	passphrase, err := c.Passphrase(t.Context(), admin, id)
	require.NoError(t, err)
	if len(passphrase) == 0 {
		return read(t, volumes, id, n)
	}
	device, err := volumes.Unlock(t.Context(), id, driver.ReadOnly, passphrase)
	require.NoError(t, err)
	data := make([]byte, n)
	_, err = device.ReadAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, device.Close())
	return string(data)
}

func TestAgentsMakeVolumesOfBackups(t *testing.T) {
	kept := &shelf{kept: map[string][]byte{}}
	c := newCloud(t, func(o *volume.Options) { o.Backups, o.Keys = kept, kept })
	pool := memvolume.New(memvolume.NewPool(100*gib), nil)
	c.run(t, backend, pool, nil)
	secret, err := c.CreateType(t.Context(), admin, volume.TypeCreate{Name: "secret"})
	require.NoError(t, err)
	luks, place := "luks", "front-end"
	_, err = c.SetTypeEncryption(t.Context(), admin, secret.ID, volume.EncryptionSpec{Provider: &luks, ControlLocation: &place})
	require.NoError(t, err)
	for _, typeName := range []string{volume.DefaultTypeName, "secret"} {
		v := c.create(t, red, volume.VolumeSpec{Name: "v", Type: typeName, Metadata: map[string]string{"a": "b"}})
		passphrase, err := c.Passphrase(t.Context(), admin, v.ID)
		require.NoError(t, err)
		require.Equal(t, typeName == "secret", len(passphrase) > 0)
		if len(passphrase) > 0 {
			device, err := pool.Unlock(t.Context(), v.ID, driver.ReadWrite, passphrase)
			require.NoError(t, err)
			_, err = device.WriteAt([]byte("hello"), 0)
			require.NoError(t, err)
			require.NoError(t, device.Close())
		} else {
			write(t, pool, v.ID, "hello")
		}
		b, err := c.CreateBackup(t.Context(), red, volume.BackupSpec{VolumeID: v.ID})
		require.NoError(t, err)
		require.NoError(t, c.Settle(t.Context()))
		r, err := c.RestoreBackup(t.Context(), red, b.ID, volume.RestoreSpec{})
		require.NoError(t, err)
		require.Equal(t, "v", r.VolumeName)
		require.NoError(t, c.Settle(t.Context()))
		restored := c.await(t, r.VolumeID, volume.Available)
		require.Equal(t, "b", restored.Metadata["a"])
		require.Equal(t, v.Encrypted, restored.Encrypted)
		require.Equal(t, "hello", c.content(t, pool, r.VolumeID, 5))
		for _, id := range []string{v.ID, r.VolumeID} {
			require.NoError(t, c.DeleteVolume(t.Context(), red, id, volume.DeleteOptions{}))
		}
		require.NoError(t, c.DeleteBackup(t.Context(), red, b.ID, false))
		require.NoError(t, c.Settle(t.Context()))
	}
	require.Empty(t, kept.kept, "neither objects nor keys are left")
	left, err := pool.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestVolumesAreMadeInGroups(t *testing.T) {
	c, pool := withPool(t)
	groupType, err := c.CreateGroupType(t.Context(), admin, volume.TypeCreate{Name: "g"})
	require.NoError(t, err)
	g, err := c.CreateGroup(t.Context(), red, volume.GroupSpec{TypeID: groupType.ID, VolumeTypes: []string{volume.DefaultTypeName}})
	require.NoError(t, err)
	v := c.create(t, red, volume.VolumeSpec{GroupID: g.ID})
	write(t, pool, v.ID, "hello")
	gs, err := c.CreateGroupSnapshot(t.Context(), red, volume.GroupSnapshotSpec{GroupID: g.ID})
	require.NoError(t, err)
	require.NoError(t, c.Settle(t.Context()))
	copied, err := c.CreateGroupFromSource(t.Context(), red, volume.GroupSource{GroupSnapshotID: gs.ID})
	require.NoError(t, err)
	require.NoError(t, c.Settle(t.Context()))
	copied, err = c.Group(t.Context(), red, copied.ID)
	require.NoError(t, err)
	require.Equal(t, volume.Available, copied.Status)
	require.Equal(t, "hello", read(t, pool, copied.VolumeIDs[0], 5))
	require.NoError(t, c.DeleteGroupSnapshot(t.Context(), red, gs.ID))
	require.NoError(t, c.Settle(t.Context()))
	for _, id := range []string{g.ID, copied.ID} {
		require.NoError(t, c.DeleteGroup(t.Context(), red, id, true))
	}
	require.NoError(t, c.Settle(t.Context()))
	left, err := pool.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, left)
}
