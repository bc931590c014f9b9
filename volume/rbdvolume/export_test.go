//go:build linux

package rbdvolume

import (
	"context"
	"net"

	"github.com/kintoun/kintoun/volume/driver"
)

// Reach opens what a connected host has: nothing but the target.
func Reach(ctx context.Context, target driver.Target) (driver.Device, error) {
	var servers []map[string]any
	for _, m := range target.RBD.Monitors {
		host, port, err := net.SplitHostPort(m)
		if err != nil {
			return nil, err
		}
		servers = append(servers, map[string]any{"host": host, "port": port})
	}
	access := driver.ReadWrite
	if target.ReadOnly {
		access = driver.ReadOnly
	}
	return export(ctx, map[string]any{
		"driver": "rbd", "node-name": "image", "read-only": target.ReadOnly, "discard": "unmap", "server": servers,
		"pool": target.RBD.Pool, "namespace": target.RBD.Namespace, "image": target.RBD.Image,
		"user": target.RBD.User, "key-secret": "key",
	}, access, secret{id: "key", value: []byte(target.RBD.Key), format: "base64"})
}
