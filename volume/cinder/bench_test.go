package cinder_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/cinder"
	"github.com/kintoun/kintoun/volume/memvolume"
)

func BenchmarkVolumes(b *testing.B) {
	db, err := sqlitedb.Memory(b.Context())
	require.NoError(b, err)
	defer func() { require.NoError(b, db.Close()) }()
	service, err := volume.New(b.Context(), db, &volume.Options{Quota: volume.Quota{"volumes": -1}})
	require.NoError(b, err)
	agent := volume.NewAgent(service, volume.Backend{Host: "host1", Name: "mem"}, memvolume.New(memvolume.NewPool(1<<40), nil), nil)
	ctx := b.Context()
	go func() { _ = agent.Run(ctx) }()
	require.NoError(b, agent.Started(ctx))
	handler := cinder.Handler(service, tokens{}, nil)
	call := func(b *testing.B, method, path, body string, code int) {
		b.Helper()
		r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		r.Header.Set("X-Auth-Token", "red")
		r.Header.Set("OpenStack-API-Version", "volume 3.70")
		handler.ServeHTTP(w, r)
		require.Equal(b, code, w.Code, w.Body)
	}
	for i := range 100 {
		call(b, "POST", "/v3/volumes", `{"volume": {"size": 1, "name": "v`+strconv.Itoa(i)+`"}}`, http.StatusAccepted)
	}
	require.NoError(b, agent.Settle(ctx))
	for name, path := range map[string]string{"list100": "/v3/volumes", "detail100": "/v3/volumes/detail", "page10": "/v3/volumes/detail?limit=10"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				call(b, "GET", path, "", http.StatusOK)
			}
		})
	}
}
