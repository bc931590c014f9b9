//go:build linux

package rbdvolume

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/volume/driver"
)

// indexObject is an object of the pool beside the images. Its omap has a key for each thing that images do not tell:
//
//	snapshot/ID/VOLUME/IMAGE      where a snapshot is, so that nobody has to look into each image
//	connection/VOLUME/ID/MODE/HOST
//	luks/IMAGE/OFFSET             an encrypted image, and where its content begins, in bytes
//	revert/VOLUME                 the volume's image is being replaced by the one that is being made
//	together/ID/VOLUME/ID/VOLUME…  snapshots that exist from now on: what is being made for each gets its name
//
// IMAGE is the image's own identifier, which renaming does not change. Values are empty.
const indexObject = "kintoun.index"

// Modes of connections.
const (
	modeWrite  = "rw"
	modeRead   = "ro"
	modeShared = "shared"
)

// place is where a snapshot is.
type place struct{ volume, image string }

// index is what the object says.
type index struct {
	snapshots   map[string]place
	connections map[string][]driver.Connection
	luks        map[string]int64
	reverting   []string
	together    [][]driver.Snapshot
}

func snapshotKey(id string, p place) string {
	return strings.Join([]string{"snapshot", id, p.volume, p.image}, "/")
}

func connectionKey(c driver.Connection) string {
	mode := modeWrite
	switch {
	case c.Shared && c.ReadOnly:
		mode = modeShared + modeRead
	case c.Shared:
		mode = modeShared
	case c.ReadOnly:
		mode = modeRead
	}
	return strings.Join([]string{"connection", c.VolumeID, c.ID, mode, url.PathEscape(c.Host)}, "/")
}

func luksKey(imageID string, offset int64) string {
	return "luks/" + imageID + "/" + strconv.FormatInt(offset, 10)
}

func revertKey(volumeID string) string { return "revert/" + volumeID }

func togetherKey(list []driver.Snapshot) string {
	key := "together"
	for _, s := range list {
		key += "/" + s.ID + "/" + s.VolumeID
	}
	return key
}

// index reads the object.
func (d *Driver) index(ctx context.Context) (*index, error) {
	out, err := d.rados(ctx, "listomapkeys", indexObject)
	if err != nil && !is(err, syscall.ENOENT) {
		return nil, err
	}
	if err != nil {
		out = nil
	}
	return parseIndex(string(out)), nil
}

// parseIndex reads keys, one a line. What it does not know is somebody else's.
func parseIndex(keys string) *index {
	x := &index{snapshots: map[string]place{}, connections: map[string][]driver.Connection{}, luks: map[string]int64{}}
	for key := range strings.Lines(keys) {
		switch p := strings.Split(strings.TrimSuffix(key, "\n"), "/"); {
		case p[0] == "snapshot" && len(p) == 4:
			x.snapshots[p[1]] = place{volume: p[2], image: p[3]}
		case p[0] == "connection" && len(p) == 5:
			if host, err := url.PathUnescape(p[4]); err == nil {
				x.connections[p[1]] = append(x.connections[p[1]], driver.Connection{
					ID: p[2], VolumeID: p[1], Host: host,
					Shared: strings.HasPrefix(p[3], modeShared), ReadOnly: strings.HasSuffix(p[3], modeRead),
				})
			}
		case p[0] == "luks" && len(p) == 3:
			if offset, err := strconv.ParseInt(p[2], 10, 64); err == nil && offset > 0 {
				x.luks[p[1]] = offset
			}
		case p[0] == "revert" && len(p) == 2:
			x.reverting = append(x.reverting, p[1])
		case p[0] == "together" && len(p)%2 == 1:
			var list []driver.Snapshot
			for n := 1; n < len(p); n += 2 {
				list = append(list, driver.Snapshot{ID: p[n], VolumeID: p[n+1]})
			}
			x.together = append(x.together, list)
		}
	}
	return x
}

func (d *Driver) setKey(ctx context.Context, key string) error {
	_, err := d.rados(ctx, "setomapval", indexObject, key, "")
	return err
}

func (d *Driver) removeKey(ctx context.Context, key string) error {
	_, err := d.rados(ctx, "rmomapkey", indexObject, key)
	if is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// forgetImage removes what the index says of a deleted image.
func (d *Driver) forgetImage(ctx context.Context, imageID string, x *index) error {
	if offset, ok := x.luks[imageID]; ok {
		return d.removeKey(ctx, luksKey(imageID, offset))
	}
	return nil
}
