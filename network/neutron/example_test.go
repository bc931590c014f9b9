package neutron_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/neutron"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	service, err := network.New(ctx, db, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", neutron.Handler(service, auth{}, &neutron.Options{AuthURL: "http://127.0.0.1:5000/v3"}))

	body := strings.NewReader(`{"network": {"name": "private"}}`)
	request, answer := httptest.NewRequest(http.MethodPost, "/v2.0/networks?fields=name&fields=mtu", body), httptest.NewRecorder()
	request.Header.Set("X-Auth-Token", "demo")
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Body)
	// Output: 201 {"network":{"mtu":1450,"name":"private"}}
}
