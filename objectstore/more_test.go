package objectstore_test

import (
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func TestSecondContainer(t *testing.T) {
	h := newHouse(t, nil)
	h.container("a", nil)
	h.container("b", nil)
	list, err := h.Containers(t.Context(), owner, "acc", objectstore.Listing{})
	require.NoError(t, err)
	require.Len(t, list.Entries, 2)
}
