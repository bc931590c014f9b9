//go:build linux

package rbdvolume

import (
	"context"
	"net"

	"github.com/kintoun/kintoun/volume/driver"
)

// Node is the target as a block device of QEMU's, with a secret object "key".
func Node(r *driver.RBD, readOnly bool) map[string]any {
	var servers []map[string]any
	for _, m := range r.Monitors {
		host, port, _ := net.SplitHostPort(m)
		servers = append(servers, map[string]any{"host": host, "port": port})
	}
	return map[string]any{
		"driver": "rbd", "node-name": "image", "read-only": readOnly, "discard": "unmap", "server": servers,
		"pool": r.Pool, "namespace": r.Namespace, "image": r.Image,
		"user": r.User, "key-secret": "key", "auth-client-required": []string{"cephx"},
	}
}

// Reach opens what a connected host has: nothing but the target.
func Reach(ctx context.Context, target driver.Target) (driver.Device, error) {
	access := driver.ReadWrite
	if target.ReadOnly {
		access = driver.ReadOnly
	}
	return export(ctx, Node(target.RBD, target.ReadOnly), access, secret{id: "key", value: []byte(target.RBD.Key), format: "base64"})
}
