package server

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

func TestObjectsAreSealedWithAKey(t *testing.T) {
	inner := memobjects.New(nil)
	plain, err := (&Options{}).seal(inner)
	require.NoError(t, err)
	require.Same(t, inner, plain)

	o := &Options{ObjectsKey: filepath.Join(t.TempDir(), "key")}
	_, err = o.seal(inner)
	require.ErrorContains(t, err, "openssl rand -hex 32")
	for _, wrong := range []string{"", "abcd", strings.Repeat("x", 64)} {
		require.NoError(t, os.WriteFile(o.ObjectsKey, []byte(wrong), 0o600))
		_, err = o.seal(inner)
		require.ErrorContains(t, err, "64 hexadecimal digits")
	}
	require.NoError(t, os.WriteFile(o.ObjectsKey, []byte(strings.Repeat("0f", 32)+"\n"), 0o600))
	sealed, err := o.seal(inner)
	require.NoError(t, err)
	_, err = sealed.Put(t.Context(), "ref", strings.NewReader("a secret"), -1)
	require.NoError(t, err)
	for store, readable := range map[driver.Store]bool{inner: false, sealed: true} {
		r, err := store.Open(t.Context(), "ref", 0, -1)
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, readable, strings.Contains(string(data), "a secret"))
	}
}
