//go:build linux

package qcow2volume_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
)

var operator = volume.Scope{ProjectID: "p", UserID: "u", Admin: true}

// keyring keeps the keys of volumes.
type keyring struct{ kept sync.Map }

func (k *keyring) CreateSecret(_ context.Context, _ string, value []byte) (string, error) {
	id := uuid.NewString()
	k.kept.Store(id, value)
	return id, nil
}

func (k *keyring) Secret(_ context.Context, id string) ([]byte, error) {
	value, ok := k.kept.Load(id)
	if !ok {
		return nil, fmt.Errorf("secret %s: %w", id, volume.ErrNotFound)
	}
	return value.([]byte), nil //nolint:forcetypeassert // there are no others
}

func (k *keyring) DeleteSecret(_ context.Context, id string) error {
	k.kept.Delete(id)
	return nil
}

// machine is what runs on one of several: a service over the common database, and the agent of a pool.
type machine struct {
	*volume.Service
	pool *qcow2volume.Driver
	name volume.Backend
}

func newMachine(t *testing.T, open func(context.Context) (*sql.DB, error), host string, keys volume.SecretSource) *machine {
	t.Helper()
	ctx, end := context.WithCancel(cleanup(t))
	db, err := open(ctx)
	require.NoError(t, err)
	service, err := volume.New(ctx, db, &volume.Options{Keys: keys})
	require.NoError(t, err)
	m := &machine{Service: service, name: volume.Backend{Host: host, Name: "qcow2"}}
	m.pool = driverOf(t, pool(t, filepath.Join(t.TempDir(), host), remote()), &qcow2volume.Options{Host: host, Listen: "127.0.0.1", User: "nobody"})
	agent, ended := volume.NewAgent(service, m.name, m.pool, &volume.AgentOptions{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}), make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	t.Cleanup(func() {
		end()
		require.NoError(t, errors.Join(<-ended, db.Close()))
	})
	require.NoError(t, agent.Settle(t.Context()))
	return m
}

func (m *machine) await(t *testing.T, id string, done func(v *volume.Volume) bool) *volume.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := m.Await(ctx, operator, id, done)
	require.NoError(t, err)
	return v
}

// open opens what a guest sees of a volume of the machine's.
func (m *machine) open(t *testing.T, v *volume.Volume, access driver.Access) driver.Device {
	t.Helper()
	name := v.ID
	if v.KeptAs != "" {
		name = v.KeptAs
	}
	passphrase, err := m.Passphrase(t.Context(), operator, v.ID)
	require.NoError(t, err)
	open := func() (driver.Device, error) { return m.pool.Open(t.Context(), name, access) }
	if len(passphrase) > 0 {
		open = func() (driver.Device, error) { return m.pool.Unlock(t.Context(), name, access, passphrase) }
	}
	d, err := open()
	require.NoError(t, err)
	return d
}

// A volume moves by NBD over TLS between machines whose agents share nothing but the database.
func TestAVolumeMovesToAnotherMachine(t *testing.T) {
	labtest.Require(t)
	need(t)
	database, keys := postgres.New(t), &keyring{}
	one := newMachine(t, database, "host1", keys)
	luks, place := "luks", "front-end"
	secret, err := one.CreateType(t.Context(), operator, volume.TypeCreate{Name: "secret"})
	require.NoError(t, err)
	_, err = one.SetTypeEncryption(t.Context(), operator, secret.ID, volume.EncryptionSpec{Provider: &luks, ControlLocation: &place})
	require.NoError(t, err)
	var volumes []*volume.Volume
	for _, typeName := range []string{volume.DefaultTypeName, "secret"} {
		v, err := one.CreateVolume(t.Context(), operator, volume.VolumeSpec{SizeGiB: 1, Type: typeName})
		require.NoError(t, err)
		v = one.await(t, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Creating })
		require.Equal(t, volume.Available, v.Status)
		volumes = append(volumes, v)
	}
	two := newMachine(t, database, "host2", keys)
	for _, v := range volumes {
		content := []byte("the boot sector of " + v.ID)
		d := one.open(t, v, driver.ReadWrite)
		_, err = d.WriteAt(content, 300<<20)
		require.NoError(t, errors.Join(err, d.Sync(), d.Close()))

		require.NoError(t, one.MigrateVolume(t.Context(), operator, v.ID, two.name.String(), "", false, false))
		v = one.await(t, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Maintenance })
		require.Equal(t, []string{string(volume.Available), "success", two.name.String()}, []string{string(v.Status), v.MigrationStatus, v.Host})
		d = two.open(t, v, driver.ReadOnly)
		got := make([]byte, len(content))
		_, err = d.ReadAt(got, 300<<20)
		require.NoError(t, errors.Join(err, d.Close()))
		require.Equal(t, string(content), string(got))
		require.Eventually(t, func() bool { return empty(t, one.pool, v.ID) }, time.Minute, 10*time.Millisecond, "the old one stays")
	}
	all, err := two.pool.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, len(volumes))
	for _, o := range all {
		require.Empty(t, o.Connections)
		require.Less(t, o.Used, int64(128<<20), "what was never written takes no room, encrypted or not")
	}
}

// empty says that a pool has a volume no more.
func empty(t *testing.T, volumes driver.Volumes, id string) bool {
	t.Helper()
	all, err := volumes.List(t.Context())
	require.NoError(t, err)
	for _, o := range all {
		if o.ID == id {
			return false
		}
	}
	return true
}
