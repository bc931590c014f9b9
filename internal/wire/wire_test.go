package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/stretchr/testify/require"
)

type dialect struct{}

func (dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, err error) {
	w.WriteHeader(status)
	_, _ = fmt.Fprint(w, err)
}

type auth struct{}

func (auth) Validate(_ context.Context, token string) (*identity.Caller, error) {
	if token != "good" {
		return nil, fault.ErrUnauthorized
	}
	return &identity.Caller{UserID: "u"}, nil
}

type body struct {
	Port wire.Int                   `json:"port"`
	Up   wire.Bool                  `json:"up"`
	Name wire.Optional[string]      `json:"name"`
	Gate wire.Optional[*struct{}]   `json:"gate"`
	Tags map[string]json.RawMessage `json:"tags"`
}

func handler(got *body) http.Handler {
	fail := func(err error) func(http.ResponseWriter, *http.Request) error {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	return wire.NewHandler([]wire.Route{
		{Method: "GET", Path: "/", Public: true, Serve: func(w http.ResponseWriter, _ *http.Request) error { return wire.JSON(w, 300, "root") }},
		{Method: "GET", Path: "/things/detail", Serve: func(w http.ResponseWriter, _ *http.Request) error { return wire.JSON(w, 200, "detail") }},
		{Method: "GET", Path: "/things/{id}", Serve: func(w http.ResponseWriter, r *http.Request) error {
			return wire.JSON(w, 200, r.PathValue("id")+identity.CallerFrom(r.Context()).UserID)
		}},
		{Method: "POST", Path: "/things", MaxBody: 200, Serve: func(_ http.ResponseWriter, r *http.Request) error { return wire.Decode(r, got) }},
		{Method: "GET", Path: "/secret", Serve: fail(errors.New("the password is swordfish"))},
		{Method: "GET", Path: "/panic", Serve: func(http.ResponseWriter, *http.Request) error { panic("swordfish") }},
		{Method: "GET", Path: "/teapot", Serve: fail(wire.WithStatus(418, errors.New("short and stout")))},
		{Method: "GET", Path: "/full", Serve: fail(fault.Wrap(fault.ErrQuota, "no more"))},
	}, dialect{}, wire.Options{Auth: auth{}, AuthURL: "http://identity/"})
}

func TestAnswers(t *testing.T) {
	var got body
	h := handler(&got)
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		text                      string
	}{
		{"GET", "/", "", "", 300, "root"},
		{"GET", "/things/detail", "good", "", 200, "detail"},
		{"GET", "/things/7/", "good", "", 200, "7u"},
		{"GET", "/things/7", "", "", 401, "requires authentication"},
		{"GET", "/things/7", "bad", "", 401, "unauthorized"},
		{"DELETE", "/things/7", "good", "", 405, "not allowed"},
		{"GET", "/nothing", "good", "", 404, "could not be found"},
		{"GET", "/secret", "good", "", 500, "an unexpected error"},
		{"GET", "/panic", "good", "", 500, "an unexpected error"},
		{"GET", "/teapot", "good", "", 418, "short and stout"},
		{"GET", "/full", "good", "", 403, "no more"},
		{"POST", "/things", "good", "", 400, "no body"},
		{"POST", "/things", "good", "{", 400, "malformed"},
		{"POST", "/things", "good", `{"port": "eighty"}`, 400, "not an integer"},
		{"POST", "/things", "good", `{"tags": 3}`, 400, "tags"},
		{"POST", "/things", "good", `{"name": "` + strings.Repeat("x", 300) + `"}`, 413, "too large"},
		{"POST", "/things", "good", `{"port": "80", "up": "True", "name": "n", "gate": null}`, 200, ""},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("X-Auth-Token", c.token)
		h.ServeHTTP(w, r)
		require.Equal(t, c.status, w.Code, "%s %s %s: %s", c.method, c.path, c.body, w.Body)
		require.Contains(t, w.Body.String(), c.text)
		require.NotContains(t, w.Body.String(), "swordfish")
		require.NotEmpty(t, w.Header().Get("X-Openstack-Request-Id"))
	}
	require.EqualValues(t, 80, got.Port)
	require.True(t, bool(got.Up))
	require.Equal(t, wire.Optional[string]{Set: true, Value: "n"}, got.Name)
	require.True(t, got.Gate.Null)
}

func TestTheRouteIsToldToWhoeverServesTheHandler(t *testing.T) {
	h := handler(&body{})
	for path, pattern := range map[string]string{
		"/things/7": "GET /things/{id}", "/things/7/": "GET /things/{id}", "/": "GET /{$}", "/nowhere": "", "/full/": "GET /full",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Pattern = "/" // of a mux in front
		r.Header.Set("X-Auth-Token", "good")
		h.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, pattern, r.Pattern, path)
	}
}
