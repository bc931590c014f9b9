package cinder

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
)

func TestConnections(t *testing.T) {
	user := &call{caller: &identity.Caller{}}
	service := &call{caller: &identity.Caller{Roles: []identity.Role{{Name: "service"}}}}
	common := func(more object) object {
		o := object{"volume_id": "v", "access_mode": "rw", "encrypted": false, "qos_specs": nil, "cacheable": false, "format": "raw"}
		for key, value := range more {
			o[key] = value
		}
		return o
	}
	for _, one := range []struct {
		target driver.Target
		kind   string
		shown  object
		secret object
	}{
		{driver.Target{Path: "/dev/loop7", Format: "raw"}, "local", object{"device_path": "/dev/loop7"}, nil},
		{driver.Target{Path: "/v", Format: "luks", ReadOnly: true}, "local", object{"device_path": "/v", "format": "luks", "encrypted": true, "access_mode": "ro"}, nil},
		{driver.Target{Format: "raw", NBD: &driver.NBD{Socket: "/s", Export: "e"}}, "nbd", object{"socket": "/s", "export": "e", "address": nil, "tls": false}, nil},
		{
			driver.Target{Format: "raw", NBD: &driver.NBD{Address: "192.0.2.1:10809", Export: "e", TLS: &driver.TLS{CA: []byte("ca"), Certificate: []byte("c"), Key: []byte("k")}}},
			"nbd", object{"socket": nil, "export": "e", "address": "192.0.2.1:10809", "tls": true}, object{"tls_ca": "ca", "tls_certificate": "c", "tls_key": "k"},
		},
		{
			driver.Target{Format: "raw", RBD: &driver.RBD{Monitors: []string{"192.0.2.1:6789", "[2001:db8::1]:3300"}, Pool: "p", Namespace: "n", Image: "i", User: "u", Key: "key"}},
			"rbd", object{
				"name": "p/n/i", "hosts": []string{"192.0.2.1", "2001:db8::1"}, "ports": []string{"6789", "3300"}, "cluster_name": "ceph",
				"auth_enabled": true, "auth_username": "u", "secret_type": "ceph",
			}, object{"keyring": "key"},
		},
	} {
		at := &volume.Attachment{VolumeID: "v", Mode: "rw", Target: &one.target}
		kind, data := user.connection(at)
		require.Equal(t, one.kind, kind)
		require.Equal(t, common(one.shown), data)
		_, data = service.connection(at)
		all := common(one.shown)
		for key, value := range one.secret {
			all[key] = value
		}
		require.Equal(t, all, data)
	}
}
