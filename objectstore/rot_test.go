package objectstore_test

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

// rotten finds every content damaged.
type rotten struct {
	driver.Store
	rates []int64
}

func (r *rotten) Check(ctx context.Context, rate int64) iter.Seq2[string, error] {
	r.rates = append(r.rates, rate)
	return r.List(ctx)
}

func TestDamageIsTold(t *testing.T) {
	for _, rate := range []int64{0, -1, 5} {
		store := &rotten{Store: memobjects.New(nil)}
		synctest.Test(t, func(t *testing.T) {
			db, err := sqlitedb.Memory(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			var log bytes.Buffer
			service, err := objectstore.New(t.Context(), db, store, &objectstore.Options{CheckRate: rate, Log: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(t, err)
			owner, path := objectstore.Caller{Account: "a"}, objectstore.Path{Account: "a", Container: "box"}
			_, _, err = service.CreateContainer(t.Context(), owner, path, nil)
			require.NoError(t, err)
			path.Object = "precious"
			_, err = service.Put(t.Context(), owner, path, objectstore.PutSpec{Size: 1}, strings.NewReader("x"))
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- service.Run(ctx) }()
			time.Sleep(25 * time.Hour)
			stop()
			require.NoError(t, <-done)
			require.Equal(t, rate >= 0, strings.Contains(log.String(), "precious"), log.String())
		})
		require.Equal(t, map[int64][]int64{0: {8 << 20}, -1: nil, 5: {5}}[rate], store.rates)
	}
}
