package machine

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVolumesFormat keeps the format of the volumes that are there, whatever is said later.
func TestVolumesFormat(t *testing.T) {
	for _, c := range []struct {
		name, there, said, format string
	}{
		{"at first", "", "", formatRaw},
		{"at first", "", "auto", formatRaw},
		{"as said", "", "raw", formatRaw},
		{"as said", "", "qcow2", formatQCOW2},
		{"as said", "", "rbd", formatRBD},
		{"as said", "", "lvm", formatLVM},
		{"raw ones are there", "volumes/volume-1", "auto", formatRaw},
		{"raw ones are there", "volumes/volume-1", "rbd", ""},
		{"raw ones are there", "volumes/volume-1", "lvm", ""},
		{"raw ones are there", "volumes/volume-1", "qcow2", ""},
		{"a pool of raw ones is there", "volumes.img", "qcow2", ""},
		{"qcow2 ones are there", "volumes.qcow2/layers/1.qcow2", "auto", formatQCOW2},
		{"qcow2 ones are there", "volumes.qcow2/layers/1.qcow2", "qcow2", formatQCOW2},
		{"qcow2 ones are there", "volumes.qcow2/layers/1.qcow2", "raw", ""},
		{"qcow2 ones are there", "volumes.qcow2/layers/1.qcow2", "rbd", ""},
		{"qcow2 ones are there", "volumes.qcow2/layers/1.qcow2", "lvm", ""},
	} {
		o := &Options{DataDir: t.TempDir(), VolumesFormat: c.said, VolumesLVM: LVM{Group: "group"}}
		for _, dir := range []string{"volumes/connections", "volumes.qcow2/layers"} {
			require.NoError(t, os.MkdirAll(o.Path(dir), 0o700))
		}
		if c.there != "" {
			require.NoError(t, os.WriteFile(filepath.Join(o.DataDir, c.there), nil, 0o600))
		}
		format, err := volumesFormat(o)
		if c.format == "" {
			require.ErrorContains(t, err, "already", "%s, and %q is said", c.name, c.said)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.format, format, "%s, and %q is said", c.name, c.said)
	}
}

// TestVolumesInLVMNeedAGroup says so before anything is made.
func TestVolumesInLVMNeedAGroup(t *testing.T) {
	o := &Options{DataDir: t.TempDir(), VolumesFormat: formatLVM}
	for _, err := range []error{Probe(t.Context(), *o), second(newVolumes(t.Context(), o))} {
		require.ErrorContains(t, err, "volumes-lvm-group is missing")
		require.ErrorContains(t, err, "vgcreate NAME /dev/DISK")
	}
	o.VolumesLVM.Group = "no/name"
	require.ErrorIs(t, second(newVolumes(t.Context(), o)), fs.ErrInvalid)
	require.NoDirExists(t, o.Path(lvmPool))
}

func second(_ volumes, err error) error { return err }
