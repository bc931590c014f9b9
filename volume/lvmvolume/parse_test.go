//go:build linux

package lvmvolume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// report is what lvs prints of a pool with a volume of 1 MiB in an extent of 4 MiB, an encrypted one, a snapshot that is being made,
// and somebody else's linear volume.
const report = `{
    "report": [
        {
            "lv": [
                {"lv_name":"pool", "lv_size":"1073741824", "lv_tags":"", "pool_lv":"", "lv_active":"active", "lv_suspended":"", "data_percent":"12.50", "lv_layout":"thin,pool", "lv_when_full":"error"},
                {"lv_name":"volume-a", "lv_size":"4194304", "lv_tags":"kintoun.bytes=1048576", "pool_lv":"pool", "lv_active":"active", "lv_suspended":"suspended", "data_percent":"25.00", "lv_layout":"thin,sparse", "lv_when_full":""},
                {"lv_name":"volume-b", "lv_size":"8388608", "lv_tags":"kintoun.luks=4194304,kintoun.bytes=4194304,theirs", "pool_lv":"pool", "lv_active":"active", "lv_suspended":"", "data_percent":"0.00", "lv_layout":"thin,sparse", "lv_when_full":""},
                {"lv_name":"_snapshot-c", "lv_size":"4194304", "lv_tags":"kintoun.bytes=512,kintoun.bytes=1024,kintoun.making,kintoun.of=a", "pool_lv":"pool", "lv_active":"", "lv_suspended":"", "data_percent":"", "lv_layout":"thin,sparse", "lv_when_full":""},
                {"lv_name":"root", "lv_size":"4194304", "lv_tags":"", "pool_lv":"", "lv_active":"active", "lv_suspended":"", "data_percent":"", "lv_layout":"linear", "lv_when_full":""}
            ]
        }
    ],
    "log": []
}`

func TestReport(t *testing.T) {
	rows, err := parse([]byte(report), "lv")
	require.NoError(t, err)
	var all []logical
	for _, row := range rows {
		v, err := logicalOf(row)
		require.NoError(t, err)
		all = append(all, *v)
	}
	require.Equal(t, []logical{
		{name: "pool", size: 1 << 30, bytes: 1 << 30, active: true, isPool: true, data: 12.5, fails: true},
		{name: "volume-a", size: 4 << 20, bytes: 1 << 20, pool: "pool", active: true, suspended: true, data: 25},
		{name: "volume-b", size: 8 << 20, bytes: 4 << 20, outside: 4 << 20, encrypted: true, pool: "pool", active: true},
		// Of two sizes, which it has while it grows, the larger one.
		{name: "_snapshot-c", size: 4 << 20, bytes: 1024, volumeID: "a", making: true, pool: "pool"},
		{name: "root", size: 4 << 20, bytes: 4 << 20, active: true},
	}, all)
}

func TestBadReports(t *testing.T) {
	for _, text := range []string{"", "  Volume group not found", `{"report":[{"lv":{}}]}`, `{"report":[{"lv":[{"lv_size":4194304}]}]}`} {
		_, err := parse([]byte(text), "lv")
		require.ErrorIs(t, err, errReport, text)
	}
	good := map[string]string{"lv_name": "volume-a", "lv_size": "4194304", "lv_tags": "kintoun.bytes=512", "data_percent": "1.00"}
	_, err := logicalOf(good)
	require.NoError(t, err)
	for field, values := range map[string][]string{
		"lv_name":      {""},
		"lv_size":      {"", "4.00m", "4194304B", "-1", "99999999999999999999"},
		"data_percent": {"x", "-1", "100.01", "NaN", "Inf"},
		"lv_tags": {
			"kintoun.bytes=", "kintoun.bytes=x", "kintoun.bytes=-512", "kintoun.bytes=4194816",
			"kintoun.luks=", "kintoun.luks=-1", "kintoun.luks=8388608", "kintoun.bytes=4194304,kintoun.luks=2097152", "kintoun.bytes=512,kintoun.luks=9223372036854775807",
		},
	} {
		for _, value := range values {
			row := map[string]string{}
			for k, v := range good {
				row[k] = v
			}
			row[field] = value
			_, err := logicalOf(row)
			require.ErrorIs(t, err, errReport, "%s %q", field, value)
		}
	}
}

// TestWhatLVMSays has the contract's kinds for errors that LVM has as text.
func TestWhatLVMSays(t *testing.T) {
	for text, kind := range map[string]error{
		"Volume group \"g\" has insufficient free space (3 extents): 5 required.":       driver.ErrFull,
		"Cannot create new thin volume, free space in thin pool g/p reached threshold.": driver.ErrFull,
		"Free space in pool g/p is above threshold, new volumes are not allowed.":       driver.ErrFull,
		"Logical volume g/volume-a in use.":                                             driver.ErrBusy,
		"Logical volume g/volume-a is used by another device.":                          driver.ErrBusy,
		"Failed to find logical volume \"g/volume-a\"":                                  fs.ErrNotExist,
		"Something else.": nil,
		"WARNING: Sum of all thin volume sizes exceeds the size of thin pools.\n  Something else": nil,
	} {
		err := error(&commandError{what: "lvm lvcreate", said: said(text), err: errors.New("exit status 5")})
		for _, k := range []error{driver.ErrFull, driver.ErrBusy, fs.ErrNotExist} {
			require.Equal(t, errors.Is(kind, k), errors.Is(err, k), "%s: %v", text, k)
		}
	}
	require.Equal(t, "Logical volume g/x in use.; Failed.", said("  WARNING: a\n  Logical volume g/x in use.\n\n  Failed.\n"))
}

func TestNames(t *testing.T) {
	const id = "0b3f6d0c-0000-4000-8000-000000000000"
	for name, want := range map[string]driver.Kind{
		"volume-" + id: driver.KindVolume, "_snapshot-" + id: driver.KindSnapshot,
		"_revert-" + id: "", "released-" + id: "", "volume-": "", "volume-x": "", "volume-" + id + "0": "", id: "", "pool": "",
	} {
		kind, found := named(name)
		require.Equal(t, want, kind, name)
		require.Equal(t, want != "", found == id, name)
	}
	for _, name := range []string{"", "-x", "a/b", ".", "..", "a b", "a\n"} {
		_, err := prepare(name, "dir", nil)
		require.ErrorIs(t, err, fs.ErrInvalid, "%q", name)
		if name != "" {
			_, err = prepare("group", "dir", &Options{ThinPool: name})
			require.ErrorIs(t, err, fs.ErrInvalid, "%q", name)
		}
	}
}

// TestAKernelWithoutThinPools plays dmsetup's answers.
func TestAKernelWithoutThinPools(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	d, err := prepare("group", t.TempDir(), nil)
	require.NoError(t, err)
	for said, ends := range map[string]int{"thin-pool  v1.23.0": 0, "thin-pool  Not found": 1} {
		script := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'target-version thin-pool' ] || exit 9\necho '%s' >&2\nexit %d\n", said, ends)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "dmsetup"), []byte(script), 0o700)) //nolint:gosec // it is run
		err := d.thinPools(t.Context())
		if ends == 0 {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorContains(t, err, "modprobe dm-thin-pool")
		require.ErrorContains(t, err, "Not found")
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(report))
	f.Add([]byte(`{"report":[{"lv":[{"lv_name":"a","lv_size":"512","lv_tags":"kintoun.luks=512,kintoun.bytes=0"}]},{}]}`))
	f.Add([]byte(`{"report":[{"vg":[{"vg_extent_size":"4194304"}]}]}`))
	f.Fuzz(func(t *testing.T, out []byte) {
		rows, err := parse(out, "lv")
		if err != nil {
			require.ErrorIs(t, err, errReport)
			return
		}
		for _, row := range rows {
			v, err := logicalOf(row)
			if err != nil {
				require.ErrorIs(t, err, errReport)
				continue
			}
			require.NotEmpty(t, v.name)
			require.GreaterOrEqual(t, v.bytes, int64(0))
			require.GreaterOrEqual(t, v.outside, int64(0))
			require.LessOrEqual(t, v.bytes, v.size-v.outside, "what is read lies inside the device")
			require.True(t, v.data >= 0 && v.data <= 100)
		}
	})
}
