package objectstore_test

import (
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func TestAccessListsAreCleaned(t *testing.T) {
	for list, want := range map[string]string{
		"": "", " , ,": "", "a, b:c ,, *:*": "a,b:c,*:*", ".ref: *.example.com ,.r:-bad,.rlistings": ".r:.example.com,.r:-bad,.rlistings",
		".referrer : *": ".r:*", ".r:- *x": ".r:-x",
	} {
		got, err := objectstore.ParseACL(list, false)
		require.NoError(t, err, list)
		require.Equal(t, want, got)
	}
	for _, list := range []string{".r:", ".r:-", ".r:.", ".x:y", ".r:*."} {
		_, err := objectstore.ParseACL(list, false)
		require.ErrorIs(t, err, objectstore.ErrInvalid, list)
	}
	_, err := objectstore.ParseACL(".r:*", true)
	require.ErrorIs(t, err, objectstore.ErrInvalid)
	_, err = objectstore.ParseACL("p:u", true)
	require.NoError(t, err)
}

func FuzzParseACL(f *testing.F) {
	f.Add(".r:*,.rlistings,a:b,c", false)
	f.Add(".ref : - *.x", true)
	f.Fuzz(func(t *testing.T, list string, write bool) {
		clean, err := objectstore.ParseACL(list, write)
		if err != nil {
			require.ErrorIs(t, err, objectstore.ErrInvalid)
			return
		}
		again, err := objectstore.ParseACL(clean, write)
		require.NoError(t, err)
		require.Equal(t, clean, again)
		require.False(t, write && strings.Contains(","+clean, ",.r:"))
	})
}

func TestWhoMayDoWhat(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.put(in("c", "o"), "x")
	user := objectstore.Caller{UserID: "u1", UserName: "joe", ProjectID: "p1", ProjectName: "proj", Account: "p1", Roles: []string{"member"}}
	same := objectstore.Caller{UserID: "u2", UserName: "ann", ProjectID: "acc", Roles: []string{"reader"}}
	group := objectstore.Caller{UserID: "test:tester", Roles: []string{"test", "test:tester"}}
	nobody := objectstore.Caller{}
	from := objectstore.Caller{Referrer: "http://www.example.com/x"}
	grant := func(g objectstore.Grant) objectstore.Caller { g.Account = "acc"; return objectstore.Caller{Grant: &g} }
	for _, c := range []struct {
		who            objectstore.Caller
		read, write    string
		get, list, put bool
	}{
		{who: owner, get: true, list: true, put: true},
		{who: admin, get: true, list: true, put: true},
		{who: user},
		{who: nobody},
		{who: user, read: "p1:u1", get: true, list: true},
		{who: user, read: "proj:joe", get: true, list: true},
		{who: user, read: "*:u1", get: true, list: true},
		{who: user, read: "p1:*", get: true, list: true},
		{who: user, read: "*:*", get: true, list: true},
		{who: user, read: "p2:u1,member,p1"},
		{who: user, write: "p1:u1", put: true},
		{who: nobody, read: "*:*", write: "*:*"},
		{who: same, read: "reader", get: true, list: true},
		{who: same, write: "READER", put: true},
		{who: group, read: "test:tester", get: true, list: true},
		{who: group, write: "test", put: true},
		{who: nobody, read: ".r:*", get: true},
		{who: user, read: ".r:*,.rlistings", get: true, list: true},
		{who: nobody, read: ".rlistings"},
		{who: nobody, read: ".r:.example.com"},
		{who: from, read: ".r:.example.com", get: true},
		{who: from, read: ".r:www.example.com,.rlistings", get: true, list: true},
		{who: from, read: ".r:*,.r:-.example.com"},
		{who: from, read: ".r:-.example.com,.r:*", get: true},
		{who: grant(objectstore.Grant{Container: "c", Prefix: "o", Exact: true, Read: true}), get: true},
		{who: grant(objectstore.Grant{Container: "c", Prefix: "p", Read: true, Write: true})},
		{who: grant(objectstore.Grant{Container: "d", Read: true, Write: true})},
		{who: grant(objectstore.Grant{Container: "c", Write: true}), put: true},
		{who: grant(objectstore.Grant{Read: true}), get: true, list: true},
	} {
		_, err := h.UpdateContainer(t.Context(), owner, in("c", ""), func(s *objectstore.Settings) error { s.Read, s.Write = c.read, c.write; return nil })
		require.NoError(t, err)
		denied := objectstore.ErrForbidden
		if c.who.UserID == "" {
			denied = objectstore.ErrUnauthorized
		}
		allowed := func(may bool, err error) {
			if may {
				require.NoError(t, err, "%+v", c)
			} else {
				require.ErrorIs(t, err, denied, "%+v", c)
			}
		}
		_, err = h.read(c.who, in("c", "o"), objectstore.OpenSpec{})
		allowed(c.get, err)
		_, err = h.Objects(t.Context(), c.who, in("c", ""), objectstore.Listing{})
		allowed(c.list, err)
		_, err = h.Put(t.Context(), c.who, in("c", "o"), objectstore.PutSpec{}, nil)
		allowed(c.put, err)
		owns := c.who.Account == "acc" || c.who.Admin
		_, err = h.UpdateContainer(t.Context(), c.who, in("c", ""), nil)
		allowed(owns, err)
		_, err = h.Account(t.Context(), c.who, "acc")
		allowed(owns, err)
		_, err = h.Objects(t.Context(), c.who, in("missing", ""), objectstore.Listing{})
		if owns || c.who.Grant != nil && c.list {
			require.ErrorIs(t, err, objectstore.ErrNoContainer)
		} else {
			require.ErrorIs(t, err, denied, "what is not there looks the same")
		}
	}
}

func TestAccountsAreShared(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", func(s *objectstore.Settings) {
		s.Metadata = map[string]string{"temp-url-key": "k", "x": "y"}
		s.Read = "a:b"
	})
	h.put(in("c", "o"), "x")
	_, err := h.UpdateAccount(t.Context(), owner, "acc", func(a *objectstore.Account) error {
		a.Access, a.Keys[0] = `{"admin":["g:admin"],"read-write":["g:writer"],"read-only":["readers"]}`, "key"
		a.Bytes = 100 // not the owner's to say
		return nil
	})
	require.NoError(t, err)
	admins := objectstore.Caller{UserID: "1", Roles: []string{"g:admin"}}
	writer := objectstore.Caller{UserID: "2", Roles: []string{"g:writer"}}
	reader := objectstore.Caller{UserID: "3", Roles: []string{"readers"}}
	a, err := h.Account(t.Context(), admins, "acc")
	require.NoError(t, err)
	require.Equal(t, "key", a.Keys[0])
	require.EqualValues(t, 1, a.Bytes)
	for _, who := range []objectstore.Caller{writer, reader} {
		a, err = h.Account(t.Context(), who, "acc")
		require.NoError(t, err)
		require.Empty(t, a.Keys[0])
		_, err = h.UpdateAccount(t.Context(), who, "acc", func(*objectstore.Account) error { return nil })
		require.ErrorIs(t, err, objectstore.ErrForbidden)
	}
	c, err := h.Container(t.Context(), writer, in("c", ""))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"temp-url-key": "k", "x": "y"}, c.Metadata)
	c, err = h.Container(t.Context(), reader, in("c", ""))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x": "y"}, c.Metadata)
	require.Empty(t, c.Read)
	_, _, err = h.CreateContainer(t.Context(), reader, in("d", ""), nil)
	require.ErrorIs(t, err, objectstore.ErrForbidden)
	_, created, err := h.CreateContainer(t.Context(), writer, in("d", ""), nil)
	require.NoError(t, err)
	require.True(t, created)
	quota := int64(5)
	_, err = h.UpdateAccount(t.Context(), owner, "acc", func(a *objectstore.Account) error { a.QuotaBytes = &quota; return nil })
	require.ErrorIs(t, err, objectstore.ErrForbidden)
	_, err = h.UpdateAccount(t.Context(), owner, "acc", func(a *objectstore.Account) error { a.Access = "{"; return nil })
	require.ErrorIs(t, err, objectstore.ErrInvalid)
	require.ErrorIs(t, h.DeleteAccount(t.Context(), owner, "acc"), objectstore.ErrForbidden)
	require.NoError(t, h.DeleteAccount(t.Context(), admin, "acc"))
	require.ErrorIs(t, h.DeleteAccount(t.Context(), admin, "acc"), objectstore.ErrNoAccount)
	a, err = h.Account(t.Context(), owner, "acc")
	require.NoError(t, err)
	require.Zero(t, a.Containers)
}
