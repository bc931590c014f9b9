package injecthttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/inject/injecthttp"
	"github.com/stretchr/testify/require"
)

// Every second attempt to make a server is told to come back in a second.
func Example() {
	faults := inject.New(1, inject.Fault{Step: "POST /v2.1/servers", Every: 2, Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "1"}})
	before := injecthttp.Before(faults) // for nova.Options and the like
	for range 2 {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v2.1/servers", nil)
		fmt.Println(before(w, r), w.Header())
	}
	// Output:
	// <nil> map[]
	// injected fault: Service Unavailable map[Retry-After:[1]]
}

func TestRequests(t *testing.T) {
	full := errors.New("full")
	s := inject.New(1,
		inject.Fault{Step: "POST /v2.1/servers", Status: 503, Err: full, Header: map[string]string{"Retry-After": "1"}},
		inject.Fault{Step: "GET /v2.1/servers/*", Resource: "4711", Status: 404},
		inject.Fault{Step: "DELETE *", Drop: true},
	)
	ask := func(method, path string) (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		return w, injecthttp.Before(s)(w, httptest.NewRequest(method, path, nil))
	}
	var status interface{ HTTPStatus() int }
	w, err := ask("POST", "/v2.1/servers/?x=y")
	require.ErrorIs(t, err, full)
	require.ErrorAs(t, err, &status)
	require.Equal(t, 503, status.HTTPStatus())
	require.Equal(t, "1", w.Header().Get("Retry-After"))
	_, err = ask("GET", "/v2.1/servers/4711")
	require.ErrorIs(t, err, inject.ErrInjected)
	_, err = ask("GET", "/v2.1/servers/4712")
	require.NoError(t, err)
	s.Add(inject.Fault{Step: "DELETE /v2.1/servers/*", Drop: true})
	require.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = ask("DELETE", "/v2.1/servers/4711") })
}
