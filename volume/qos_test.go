package volume

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimitsOfTypes(t *testing.T) {
	w := newWorkshop(t)
	_, err := w.service.CreateQoS(t.Context(), w.demo, "slow", "", nil)
	require.ErrorIs(t, err, ErrForbidden)
	_, err = w.service.CreateQoS(t.Context(), w.admin, "slow", "nobody", nil)
	require.ErrorIs(t, err, ErrInvalid)
	q, err := w.service.CreateQoS(t.Context(), w.admin, "slow", "front-end", map[string]string{"read_iops_sec": "100"})
	require.NoError(t, err)
	_, err = w.service.CreateQoS(t.Context(), w.admin, "slow", "front-end", nil)
	require.ErrorIs(t, err, ErrConflict)
	specs, err := w.service.SetQoSKeys(t.Context(), w.admin, q.ID, "", map[string]string{"write_iops_sec": "50"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"read_iops_sec": "100", "write_iops_sec": "50"}, specs)
	require.ErrorIs(t, w.service.UnsetQoSKeys(t.Context(), w.admin, q.ID, []string{"read_iops_sec", "other"}), ErrNotFound)
	require.NoError(t, w.service.UnsetQoSKeys(t.Context(), w.admin, q.ID, []string{"read_iops_sec"}))
	q, err = w.service.QoS(t.Context(), w.admin, q.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"write_iops_sec": "50"}, q.Specs)

	require.NoError(t, w.service.AssociateQoS(t.Context(), w.admin, q.ID, w.typeID))
	require.NoError(t, w.service.AssociateQoS(t.Context(), w.admin, q.ID, w.typeID))
	other, err := w.service.CreateQoS(t.Context(), w.admin, "other", "both", nil)
	require.NoError(t, err)
	require.ErrorContains(t, w.service.AssociateQoS(t.Context(), w.admin, other.ID, w.typeID), "is already associated with another qos specs")
	types, err := w.service.QoSAssociations(t.Context(), w.admin, q.ID)
	require.NoError(t, err)
	require.Len(t, types, 1)
	require.ErrorContains(t, w.service.DeleteQoS(t.Context(), w.admin, q.ID, false), "Qos specs still in use.")
	require.NoError(t, w.service.DisassociateQoS(t.Context(), w.admin, q.ID, w.typeID))
	require.NoError(t, w.service.AssociateQoS(t.Context(), w.admin, q.ID, w.typeID))
	require.NoError(t, w.service.DisassociateAllQoS(t.Context(), w.admin, q.ID))
	require.NoError(t, w.service.AssociateQoS(t.Context(), w.admin, q.ID, w.typeID))
	require.NoError(t, w.service.DeleteQoS(t.Context(), w.admin, q.ID, true))
	volumeType, err := w.service.types.Get(w.tx(), w.typeID)
	require.NoError(t, err)
	require.Empty(t, volumeType.QoSID)
	all, err := w.service.QoSSpecs(t.Context(), w.admin, ListOptions{})
	require.NoError(t, err)
	require.Len(t, all, 1)
}
