package lbaasv1_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/internal/fakeports"
	"github.com/kintoun/kintoun/lbaas/lbaasv1"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	ports := fakeports.New()
	service, err := lbaas.New(ctx, db, ports, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The network API's listener, with this handler's paths on it.
	mux := http.NewServeMux()
	handler := lbaasv1.Handler(service, tokens{}, nil)
	for _, pattern := range lbaasv1.Patterns() {
		mux.Handle(pattern, handler)
	}

	body := `{"pool": {"name": "mypool", "subnet_id": "` + ports.AddSubnet(red) + `", "lb_method": "ROUND_ROBIN", "protocol": "HTTP"}}`
	request := httptest.NewRequest(http.MethodPost, "/v2.0/lb/pools?fields=name&fields=status", strings.NewReader(body))
	request.Header.Set("X-Auth-Token", red)
	response := httptest.NewRecorder()
	mux.ServeHTTP(response, request)
	fmt.Println(response.Code, response.Body)
	// Output: 201 {"pool":{"name":"mypool","status":"PENDING_CREATE"}}
}
