package main

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/metadata"
)

func TestMetadata(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	end, err := start(t.Context(), at, book{netip.MustParseAddr("127.0.0.1"): metadata.Instance{ID: "1", Hostname: "me.example.org", UserData: []byte("#!/bin/sh\n")}})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for path, want := range map[string]string{
		"/latest/meta-data/hostname":  "me.example.org",
		"/latest/user-data":           "#!/bin/sh\n",
		"/openstack/latest/user_data": "#!/bin/sh\n",
	} {
		r, err := http.Get("http://" + at.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(got) != want {
			t.Errorf("%s: %s %q", path, r.Status, got)
		}
	}
}
