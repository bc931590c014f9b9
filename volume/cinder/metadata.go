package cinder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// keeper is what has metadata: volumes and snapshots.
type keeper struct {
	collection string
	// what it is called in messages, which keys it takes, and the microversion since when changes can be made
	// conditional on an entity tag; zero is none.
	what   string
	schema func() *schema
	tagged int
	get    func(ctx context.Context, scope volume.Scope, id string) (map[string]string, error)
	set    func(ctx context.Context, scope volume.Scope, id string, metadata map[string]string, replace bool) (map[string]string, error)
	unset  func(ctx context.Context, scope volume.Scope, id, key string) error
}

func (a *api) metadataOperations() []operation {
	var all []operation
	for _, k := range []*keeper{
		{
			collection: "/volumes", what: "Volume", schema: typeMetadata, tagged: 15,
			get: func(ctx context.Context, scope volume.Scope, id string) (map[string]string, error) {
				v, err := a.volumes.Volume(ctx, scope, id)
				if err != nil {
					return nil, err
				}
				return v.Metadata, nil
			},
			set: a.volumes.SetVolumeMetadata, unset: a.volumes.DeleteVolumeMetadata,
		},
		{
			collection: "/snapshots", what: "Snapshot", schema: func() *schema { return typePairs(oldMetaKey, "string") },
			get: func(ctx context.Context, scope volume.Scope, id string) (map[string]string, error) {
				s, err := a.volumes.Snapshot(ctx, scope, id)
				if err != nil {
					return nil, err
				}
				return s.Metadata, nil
			},
			set: a.volumes.SetSnapshotMetadata, unset: a.volumes.DeleteSnapshotMetadata,
		},
	} {
		path := k.collection + "/{id}/metadata"
		all = append(all, []operation{
			{method: "GET", path: path, serve: k.list},
			{method: "POST", path: path, serve: k.write(false)},
			{method: "PUT", path: path, serve: k.write(true)},
			{method: "GET", path: path + "/{key}", serve: k.show},
			{method: "PUT", path: path + "/{key}", serve: k.setOne},
			{method: "DELETE", path: path + "/{key}", serve: k.delete},
		}...)
	}
	return all
}

func (k *keeper) list(c *call) error {
	metadata, err := k.get(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	if k.tagged > 0 && c.at(k.tagged) {
		c.ResponseWriter.Header().Set("Etag", tag(metadata))
	}
	return c.json(http.StatusOK, object{"metadata": pairs(metadata)})
}

// tag names one state of metadata.
func tag(metadata map[string]string) string {
	data, _ := json.Marshal(pairs(metadata)) // of texts
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// unchanged refuses a request whose If-Match names another state.
func (k *keeper) unchanged(c *call) error {
	wanted := c.Request.Header.Get("If-Match")
	if wanted == "" || wanted == "*" || k.tagged == 0 || !c.at(k.tagged) {
		return nil
	}
	metadata, err := k.get(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	for _, one := range strings.Split(wanted, ",") {
		if strings.Trim(strings.TrimSpace(one), `"`) == tag(metadata) {
			return nil
		}
	}
	return wire.WithStatus(http.StatusPreconditionFailed, errors.New("the metadata has been changed meanwhile"))
}

func (k *keeper) write(replace bool) func(c *call) error {
	return func(c *call) error {
		var body struct{ Metadata map[string]string }
		s := wrap("metadata", k.schema())
		if k.tagged == 0 {
			s.Others = anything() // snapshots' bodies may say more
		}
		if err := c.body(s, &body); err != nil {
			return err
		}
		if replace {
			if err := k.unchanged(c); err != nil {
				return err
			}
		}
		all, err := k.set(c.Context(), c.scope(), c.id(), body.Metadata, replace)
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, object{"metadata": pairs(all)})
	}
}

func (k *keeper) show(c *call) error {
	metadata, err := k.get(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	key := c.PathValue("key")
	value, ok := metadata[key]
	if !ok {
		return fault.Wrap(volume.ErrNotFound, "%s %s has no metadata with key %s.", k.what, c.id(), key)
	}
	return c.json(http.StatusOK, object{"meta": object{key: value}})
}

func (k *keeper) setOne(c *call) error {
	var body struct{ Meta map[string]string }
	s := wrap("meta", onePair(k.schema()))
	if k.tagged == 0 {
		s.Others = anything()
	}
	if err := c.body(s, &body); err != nil {
		return err
	}
	if err := k.unchanged(c); err != nil {
		return err
	}
	if _, ok := body.Meta[c.PathValue("key")]; !ok {
		return fault.Wrap(volume.ErrInvalid, "Request body and URI mismatch")
	}
	if _, err := k.set(c.Context(), c.scope(), c.id(), body.Meta, false); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"meta": body.Meta})
}

func (k *keeper) delete(c *call) error {
	if err := k.unset(c.Context(), c.scope(), c.id(), c.PathValue("key")); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}
