package coverage_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/internal/coverage"
	"github.com/kintoun/kintoun/internal/wire"
)

var names = []string{"identity", "image", "compute", "network", "lbaasv1", "load-balancer", "block-storage", "object-store"}

func TestOperationsAreWhole(t *testing.T) {
	for _, name := range names {
		api, err := coverage.Load(name)
		require.NoError(t, err)
		require.NotEmpty(t, api.Service)
		require.NotEmpty(t, api.Name)
		require.Regexp(t, `[0-9a-f]{40}`, api.Source, name)
		require.Greater(t, len(api.Operations), 10)
		require.Len(t, coverage.Distinct(api.Operations), len(api.Operations), "%s has an operation twice", name)
		for _, o := range api.Operations {
			require.NotEmpty(t, o.Resource(), o)
			require.Regexp(t, `^(GET|HEAD|POST|PUT|PATCH|DELETE|COPY)$`, o.Method, o)
			require.Regexp(t, `^/[^ ?]*$`, o.Path, o)
			require.Equal(t, o.Method == "POST" && strings.HasSuffix(o.Path, "/action"), o.Action != "", o)
		}
	}
	_, err := coverage.Load("nothing")
	require.ErrorContains(t, err, `operations of "nothing"`)
}

// api is a small reference: of each state something.
func api() *coverage.API {
	return &coverage.API{Name: "Things API", Source: "a test", Operations: []coverage.Operation{
		{Method: "GET", Path: "/v1/things"},
		{Method: "GET", Path: "/v1/things/{thing_id}"},
		{Method: "GET", Path: "/v1/things/{thing}/"},
		{Method: "HEAD", Path: "/v1/things/{thing_id}"},
		{Method: "GET", Path: "/v1/things/detail"},
		{Method: "DELETE", Path: "/v1/things/{thing_id}"},
		{Method: "POST", Path: "/v1/things/{thing_id}/action", Action: "start"},
		{Method: "POST", Path: "/v1/things/{thing_id}/action", Action: "stop"},
		{Method: "POST", Path: "/v1/things/{thing_id}/action", Action: "eject"},
		{Method: "PUT", Path: "/v1/{kind}/{id}/tags"},
		{Method: "GET", Path: "/v1/{kind}/{id}/tags"},
	}}
}

func routes() []wire.Route {
	return []wire.Route{
		{Method: "GET", Path: "/v1/things"},
		{Method: "GET", Path: "/v1/things/{id}"},
		{Method: "DELETE", Path: "/v1/things/{id}", Unsupported: "Deleting is not implemented here."},
		{Method: "POST", Path: "/v1/things/{id}/action", Actions: []wire.Action{
			{Name: "dance"}, {Name: "start"}, {Name: "stop", Unsupported: "The action stop is not implemented here."},
		}},
		{Method: "PUT", Path: "/v1/things/{id}/tags"},
		{Method: "PUT", Path: "/v1/boxes/{id}/tags"},
		{Method: "GET", Path: "/v1/weather"},
	}
}

func TestCompare(t *testing.T) {
	r := coverage.Compare(api(), routes())
	states := map[string]coverage.State{}
	for _, f := range r.Findings {
		states[f.Key()] = f.State
	}
	require.Equal(t, map[string]coverage.State{
		"GET /v1/things ": coverage.Implemented, "GET /v1/things/{} ": coverage.Implemented, "HEAD /v1/things/{} ": coverage.Implemented,
		// A route for any name does not tell whether it knows this one.
		"GET /v1/things/detail ":          coverage.Missing,
		"DELETE /v1/things/{} ":           coverage.Unsupported,
		"POST /v1/things/{}/action start": coverage.Implemented, "POST /v1/things/{}/action stop": coverage.Unsupported,
		"POST /v1/things/{}/action eject": coverage.Missing,
		"PUT /v1/{}/{}/tags ":             coverage.Implemented, "GET /v1/{}/{}/tags ": coverage.Missing,
	}, states)
	require.Equal(t, []int{5, 2, 3}, []int{r.Count(coverage.Implemented), r.Count(coverage.Unsupported), r.Count(coverage.Missing)})
	require.Equal(t, 50, r.Percent())
	require.Equal(t, []coverage.Operation{
		{Method: "POST", Path: "/v1/things/{id}/action", Action: "dance"}, {Method: "GET", Path: "/v1/weather"},
	}, r.Beyond)
	require.Zero(t, coverage.Compare(&coverage.API{}, nil).Percent())
}

func TestShape(t *testing.T) {
	for path, shape := range map[string]string{
		"/": "/", "/v3/": "/v3", "/v2.1/servers/{id}/action": "/v2.1/servers/{}/action", "/{api_version}/": "/{}", "/{$}": "/{$}",
	} {
		require.Equal(t, shape, coverage.Shape(path))
	}
}

func TestDocument(t *testing.T) {
	text := coverage.Document([]*coverage.Report{coverage.Compare(api(), routes())})
	for _, line := range []string{
		"| Things API | 10 | 5 | 2 | 3 | 50 |",
		"## Things API",
		"### things",
		"| `GET /v1/things/{thing_id}` | implemented |",
		"| `POST /v1/things/{thing_id}/action` `stop` | unsupported: The action stop is not implemented here. |",
		"| `POST /v1/things/{thing_id}/action` `eject` | **missing** |",
		"- `POST /v1/things/{id}/action` `dance`",
	} {
		require.Contains(t, text, line+"\n")
	}
}

func TestInsert(t *testing.T) {
	before, after := "head\n"+coverage.Begin+"\n", coverage.End+"\ntail\n"
	once, err := coverage.Insert(before+"old\n"+after, "new\n")
	require.NoError(t, err)
	require.Equal(t, before+"new\n"+after, once)
	twice, err := coverage.Insert(once, "new\n")
	require.NoError(t, err)
	require.Equal(t, once, twice)
	_, err = coverage.Insert("head\n"+coverage.Begin+"\n", "new\n")
	require.ErrorContains(t, err, "there are no lines")
}
