package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
)

func TestHello(t *testing.T) {
	h, err := handler(t.Context(), "http://127.0.0.1", "secret")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	get := func(token string) (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/hello", nil)
		r.Header.Set("X-Auth-Token", token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, _ := io.ReadAll(a.Body)
		return a.StatusCode, string(b)
	}
	login := func(o gophercloud.AuthOptions) string {
		o.IdentityEndpoint, o.DomainID = server.URL+"/v3", "default"
		p, err := openstack.AuthenticatedClient(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return p.Token()
	}
	admin := login(gophercloud.AuthOptions{Username: "admin", Password: "secret", Scope: &gophercloud.AuthScope{ProjectName: "admin", DomainID: "default"}})
	if code, text := get(admin); code != 200 || text != "hello admin" {
		t.Error(code, text)
	}
	if code, text := get("none"); code != 401 {
		t.Error(code, text)
	}
	if code, text := get(login(gophercloud.AuthOptions{Username: "nobody", Password: "nothing"})); code != 403 {
		t.Error(code, text)
	}
}
