package volume

import (
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/stretchr/testify/require"
)

func (w *workshop) snapshotOf(v *Volume) *Snapshot {
	w.t.Helper()
	p := &Snapshot{ID: uuid.NewString(), VolumeID: v.ID, ProjectID: v.ProjectID, SizeGiB: v.SizeGiB, Status: Available, Host: v.Host, EncryptionKeyID: v.EncryptionKeyID, CreatedAt: w.service.now()}
	require.NoError(w.t, w.service.store.Update(w.t.Context(), func(tx *record.Tx) error { return w.service.snapshots.Insert(tx, p) }))
	return p
}

func TestAVolumeIsTransferredWithItsSnapshots(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(nil)
	p := w.snapshotOf(v)
	eve := Scope{ProjectID: "eve", UserID: "eve"}
	offer, err := w.service.CreateTransfer(t.Context(), w.demo, v.ID, "gift", true)
	require.NoError(t, err)
	require.Len(t, offer.AuthKey, 16)
	require.Equal(t, AwaitingTransf, w.get(v.ID).Status)
	_, err = w.service.CreateTransfer(t.Context(), w.demo, v.ID, "", true)
	require.ErrorContains(t, err, "status must be available")

	kept, err := w.service.Transfer(t.Context(), w.demo, offer.ID)
	require.NoError(t, err)
	require.Empty(t, kept.AuthKey, "the key is shown once")
	require.NotContains(t, string(kept.Hash), offer.AuthKey)
	_, err = w.service.Transfer(t.Context(), eve, offer.ID)
	require.ErrorIs(t, err, ErrNotFound)

	_, err = w.service.AcceptTransfer(t.Context(), eve, offer.ID, "0123456789abcdef")
	require.ErrorContains(t, err, "Invalid auth key: Attempt to transfer "+offer.ID+" with invalid auth key.")
	_, err = w.service.SetQuota(t.Context(), "eve", map[string]int{"gigabytes": 1})
	require.NoError(t, err)
	_, err = w.service.AcceptTransfer(t.Context(), eve, offer.ID, offer.AuthKey)
	require.ErrorIs(t, err, ErrQuota, "the snapshots count too")
	require.Equal(t, "demo", w.get(v.ID).ProjectID)
	_, err = w.service.SetQuota(t.Context(), "eve", map[string]int{"gigabytes": 2})
	require.NoError(t, err)
	_, err = w.service.AcceptTransfer(t.Context(), eve, offer.ID, offer.AuthKey)
	require.NoError(t, err)
	got := w.get(v.ID)
	require.Equal(t, []string{"eve", "eve", string(Available)}, []string{got.ProjectID, got.UserID, string(got.Status)})
	snapshot, err := w.service.snapshots.Get(w.tx(), p.ID)
	require.NoError(t, err)
	require.Equal(t, "eve", snapshot.ProjectID)
	_, err = w.service.AcceptTransfer(t.Context(), eve, offer.ID, offer.AuthKey)
	require.ErrorIs(t, err, ErrNotFound, "an offer is taken once")
}

func TestAnOfferIsTakenBack(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(nil)
	p := w.snapshotOf(v)
	offer, err := w.service.CreateTransfer(t.Context(), w.demo, v.ID, "", false)
	require.NoError(t, err)
	all, err := w.service.Transfers(t.Context(), w.demo, ListOptions{})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, w.service.DeleteTransfer(t.Context(), w.demo, offer.ID))
	require.Equal(t, Available, w.get(v.ID).Status)
	offer, err = w.service.CreateTransfer(t.Context(), w.demo, v.ID, "", false)
	require.NoError(t, err)
	_, err = w.service.AcceptTransfer(t.Context(), w.admin, offer.ID, offer.AuthKey)
	require.NoError(t, err)
	snapshot, err := w.service.snapshots.Get(w.tx(), p.ID)
	require.NoError(t, err)
	require.Equal(t, "demo", snapshot.ProjectID, "it was offered without its snapshots")
}

func TestAnEncryptedVolumeIsTransferredWithAKeyOfItsOwn(t *testing.T) {
	w := newWorkshop(t)
	key, err := w.secrets.CreateSecret(t.Context(), "demo", []byte("secret"))
	require.NoError(t, err)
	v := w.volume(func(v *Volume) { v.Encrypted, v.EncryptionKeyID = true, key })
	p := w.snapshotOf(v)
	_, err = w.service.CreateTransfer(t.Context(), w.demo, v.ID, "", false)
	require.ErrorContains(t, err, "transferring an encrypted volume without its snapshots is not supported")
	offer, err := w.service.CreateTransfer(t.Context(), w.demo, v.ID, "", true)
	require.NoError(t, err)
	_, err = w.service.AcceptTransfer(t.Context(), w.admin, offer.ID, "wrong")
	require.ErrorIs(t, err, ErrInvalid)
	require.Len(t, w.secrets.values, 1)
	_, err = w.service.AcceptTransfer(t.Context(), w.admin, offer.ID, offer.AuthKey)
	require.NoError(t, err)
	require.Len(t, w.secrets.values, 1)
	require.NotEqual(t, key, w.get(v.ID).EncryptionKeyID)
	passphrase, err := w.service.Passphrase(t.Context(), w.admin, v.ID)
	require.NoError(t, err)
	require.Equal(t, "secret", string(passphrase))
	snapshot, err := w.service.snapshots.Get(w.tx(), p.ID)
	require.NoError(t, err)
	require.Equal(t, w.get(v.ID).EncryptionKeyID, snapshot.EncryptionKeyID)
}
