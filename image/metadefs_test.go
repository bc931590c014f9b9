package image_test

import (
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/stretchr/testify/require"
)

func TestNamespaces(t *testing.T) {
	w := newWorld(t, nil)
	made, err := w.CreateNamespace(t.Context(), admin, image.Namespace{
		Name: "OS::Compute", Visibility: image.Public, Protected: true, ResourceTypes: []image.ResourceType{{Name: "OS::My::Thing"}},
		Tags: []image.DefinedTag{{Name: "fast"}},
	})
	require.NoError(t, err)
	require.Equal(t, "ops", made.ProjectID)
	require.False(t, made.Tags[0].CreatedAt.IsZero())
	_, err = w.CreateNamespace(t.Context(), admin, image.Namespace{Name: "OS::Compute"})
	require.ErrorIs(t, err, image.ErrConflict)
	_, err = w.CreateNamespace(t.Context(), alice, image.Namespace{Name: "mine"})
	require.ErrorIs(t, err, image.ErrForbidden)
	_, err = w.CreateNamespace(t.Context(), admin, image.Namespace{Name: "hers", ProjectID: "alice"})
	require.NoError(t, err)

	list, err := w.Namespaces(t.Context(), alice)
	require.NoError(t, err)
	require.Len(t, list, 2)
	list, err = w.Namespaces(t.Context(), bob)
	require.NoError(t, err)
	require.Len(t, list, 1)
	_, err = w.Namespace(t.Context(), bob, "hers")
	require.ErrorIs(t, err, image.ErrNotFound)
	types, err := w.ResourceTypes(t.Context(), bob)
	require.NoError(t, err)
	require.Contains(t, types, "OS::My::Thing")

	rename := func(name string) func(*image.Namespace) error {
		return func(n *image.Namespace) error { n.Name = name; return nil }
	}
	_, err = w.UpdateNamespace(t.Context(), admin, "hers", rename("OS::Compute"))
	require.ErrorIs(t, err, image.ErrConflict)
	_, err = w.UpdateNamespace(t.Context(), alice, "hers", rename("other"))
	require.ErrorIs(t, err, image.ErrForbidden)
	_, err = w.UpdateNamespace(t.Context(), admin, "hers", rename(strings.Repeat("x", 81)))
	require.ErrorIs(t, err, image.ErrInvalid)
	_, err = w.UpdateNamespace(t.Context(), admin, "hers", func(n *image.Namespace) error {
		n.Tags = []image.DefinedTag{{Name: "a"}, {Name: "a"}}
		return nil
	})
	require.ErrorIs(t, err, image.ErrConflict)

	require.ErrorIs(t, w.DeleteNamespace(t.Context(), admin, "OS::Compute"), image.ErrForbidden)
	require.ErrorIs(t, w.DeleteNamespace(t.Context(), alice, "hers"), image.ErrForbidden)
	require.NoError(t, w.DeleteNamespace(t.Context(), admin, "hers"))
	_, err = w.Namespace(t.Context(), admin, "hers")
	require.ErrorIs(t, err, image.ErrNotFound)
}
