package memcompute

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
)

// Capture yields an empty disk of the size that the server's root has, or of 1 MiB where that is its image's; a raw one is
// never larger. A server without a disk of its own has none to capture.
func (d *Driver) Capture(ctx context.Context, id string, root driver.Disk, format string) (*driver.Capture, error) {
	if err := d.begin(ctx, "capture", id, d.host.nameOf(id)); err != nil {
		return nil, err
	}
	if format != "qcow2" && format != "raw" {
		return nil, fault.Wrap(ErrInvalid, "memcompute: server %s: format %q of a copy", id, format)
	}
	if err := d.wait(ctx); err != nil {
		return nil, fmt.Errorf("memcompute: server %s: %w", id, err)
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	s := d.host.servers[id]
	switch {
	case s == nil:
		return nil, fault.Wrap(ErrNotFound, "memcompute: server %s does not exist here", id)
	case s.want.Root == driver.Disk{}:
		return nil, fault.Wrap(ErrInvalid, "memcompute: server %s has no disk of its own", id)
	}
	const mebibyte = 1 << 20
	content := make([]byte, mebibyte)
	if format == "qcow2" {
		content = emptyQCOW2(max(int64(root.SizeGiB)<<30, mebibyte))
	}
	return &driver.Capture{ReadCloser: io.NopCloser(bytes.NewReader(content)), Bytes: int64(len(content))}, nil
}

// Discard has nothing to remove.
func (d *Driver) Discard(ctx context.Context, id string) error {
	return d.begin(ctx, "discard", id, d.host.nameOf(id))
}

// emptyQCOW2 is a qcow2 image (QEMU's docs/interop/qcow2.txt, version 2) of a disk without content: a header, one block of
// reference counts with their table, and a table of the first level.
func emptyQCOW2(size int64) []byte {
	const clusterBits, cluster = 16, 1 << 16
	// A cluster of the second level maps 8192 clusters.
	entries := (size + cluster<<13 - 1) / (cluster << 13)
	tables := (entries*8 + cluster - 1) / cluster
	used := 3 + tables
	image := make([]byte, used*cluster)
	header := struct {
		Magic                       [4]byte
		Version                     uint32
		BackingOffset               uint64
		BackingSize, ClusterBits    uint32
		Size                        uint64
		Crypt, L1Size               uint32
		L1Offset, RefcountOffset    uint64
		RefcountClusters, Snapshots uint32
		SnapshotsOffset             uint64
	}{
		Magic: [4]byte{'Q', 'F', 'I', 0xfb}, Version: 2, ClusterBits: clusterBits, Size: uint64(size),
		L1Size: uint32(entries), L1Offset: 3 * cluster, RefcountOffset: cluster, RefcountClusters: 1,
	}
	_, _ = binary.Encode(image, binary.BigEndian, header) // it has room
	binary.BigEndian.PutUint64(image[cluster:], 2*cluster)
	for i := range used {
		binary.BigEndian.PutUint16(image[2*cluster+2*i:], 1)
	}
	return image
}
