package image_test

import (
	"regexp"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/stretchr/testify/require"
)

func protections() []image.Protection {
	every := []string{image.AnyRole}
	return []image.Protection{
		{Names: regexp.MustCompile("^billing_"), Create: []string{"Accountant"}, Read: []string{"accountant", "member"}, Update: []string{"accountant"}},
		{Names: regexp.MustCompile("^secret_"), Create: []string{"accountant"}, Read: []string{"accountant"}, Update: []string{"accountant"}, Delete: []string{"accountant"}},
		{Names: regexp.MustCompile("^x_"), Create: every, Read: every, Update: every, Delete: every},
	}
}

func TestProtectedProperties(t *testing.T) {
	w := newWorld(t, &image.Options{Protections: protections()})
	member := image.Scope{ProjectID: "alice", Roles: []string{"member"}}
	accountant := image.Scope{ProjectID: "alice", Roles: []string{"accountant"}}
	spec := raw("disk")
	set := func(scope image.Scope, id string, change func(map[string]string)) (map[string]string, error) {
		img, err := w.Update(t.Context(), scope, id, func(img *image.Image) error { change(img.Properties); return nil })
		if err != nil {
			require.ErrorIs(t, err, image.ErrForbidden)
			return nil, err
		}
		return img.Properties, nil
	}

	for _, name := range []string{"billing_code", "secret_code", "nobodys"} {
		spec.Properties = map[string]string{name: "1"}
		_, err := w.Create(t.Context(), member, spec, nil)
		require.ErrorIs(t, err, image.ErrForbidden, name)
	}
	spec.Properties = map[string]string{"x_mine": "1"}
	img, err := w.Create(t.Context(), member, spec, nil)
	require.NoError(t, err)
	all, err := set(accountant, img.ID, func(p map[string]string) { p["billing_code"], p["secret_code"] = "7", "8" })
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x_mine": "1", "billing_code": "7", "secret_code": "8"}, all)

	// What is not read is not shown, not found, not guessed and not lost.
	got, err := w.Get(t.Context(), member, img.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x_mine": "1", "billing_code": "7"}, got.Properties)
	for scope, found := range map[string]int{"member": 0, "accountant": 1} {
		list, err := w.List(t.Context(), image.Scope{ProjectID: "alice", Roles: []string{scope}}, image.Filter{Properties: map[string]string{"secret_code": "8"}})
		require.NoError(t, err)
		require.Len(t, list, found)
	}
	_, err = set(member, img.ID, func(p map[string]string) { p["secret_code"] = "8" })
	require.Error(t, err)
	after, err := set(member, img.ID, func(p map[string]string) { delete(p, "x_mine"); p["x_new"] = "2" })
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x_new": "2", "billing_code": "7"}, after)
	got, err = w.Get(t.Context(), admin, img.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x_new": "2", "billing_code": "7", "secret_code": "8"}, got.Properties, "a program that acts as itself reads all")

	for name, change := range map[string]func(map[string]string){
		"update": func(p map[string]string) { p["billing_code"] = "9" },
		"delete": func(p map[string]string) { delete(p, "billing_code") },
	} {
		_, err = set(member, img.ID, change)
		require.Error(t, err, name)
	}
	_, err = set(accountant, img.ID, func(p map[string]string) { delete(p, "billing_code") })
	require.Error(t, err, "nobody may")
	_, err = set(image.Scope{ProjectID: "ops", Admin: true, Roles: []string{"admin"}}, img.ID, func(p map[string]string) { p["nobodys"] = "1" })
	require.Error(t, err, "an administrator is held to it too")
}
