package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAShopOpens(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, listener) }()
	url := "http://" + listener.Addr().String() + "/shops"
	books, music := url+"/books", url+"/music"
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	require.Contains(t, call(t, http.MethodGet, books, http.StatusNotFound)["error"], "shop books: not found")
	address := call(t, http.MethodPost, books, http.StatusOK)["address"]
	require.Contains(t, address, "10.0.0.")
	require.NotEqual(t, address, call(t, http.MethodPost, music, http.StatusOK)["address"])
	require.Contains(t, call(t, http.MethodPost, books, http.StatusConflict)["error"], "shop books: conflict")

	servers := map[string]any{}
	for range 2 {
		server := call(t, http.MethodPost, books+"/servers", http.StatusOK)
		require.Contains(t, server["device"], "tap")
		servers[server["address"].(string)] = "ACTIVE"
	}
	require.Len(t, servers, 2)
	want := map[string]any{"address": address, "status": "ACTIVE", "servers": servers}
	require.Eventually(t, func() bool {
		return reflect.DeepEqual(want, call(t, http.MethodGet, books, http.StatusOK))
	}, 10*time.Second, 10*time.Millisecond, "%v", want)
	require.Empty(t, call(t, http.MethodGet, music, http.StatusOK)["servers"])
	call(t, http.MethodPost, url+"/none/servers", http.StatusNotFound)

	stop()
	require.NoError(t, <-ended)
}

func call(t *testing.T, method, url string, status int) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var body map[string]any
	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
	require.Equal(t, status, response.StatusCode, "%v", body)
	return body
}
