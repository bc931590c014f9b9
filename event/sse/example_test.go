package sse_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
	"github.com/kintoun/kintoun/event/sse"
)

func Example() {
	servers := &memfeed.Feed{Domain: "compute"} // a compute.Service, say
	authorize := func(*http.Request) (sse.Viewer, error) { return sse.Viewer{All: true}, nil }
	ctx, stop := context.WithCancel(context.Background())
	events := sse.New(ctx, event.Sources{"compute": servers}, authorize, nil)
	mux := http.NewServeMux()
	mux.Handle("/events", events)
	server := httptest.NewServer(mux)
	defer server.Close()
	defer stop()

	answer, err := http.Get(server.URL + "/events?type=server")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	servers.Add(event.Event{Type: "server", ID: "9f0c", Action: event.Updated, ProjectID: "5f7c", Status: "ACTIVE"})
	lines := bufio.NewScanner(answer.Body)
	for range 7 {
		lines.Scan()
		fmt.Println(lines.Text())
	}
	// Output:
	// retry: 2000
	// id: compute=0
	//
	// id: compute=1
	// event: updated
	// data: {"seq":1,"domain":"compute","type":"server","id":"9f0c","action":"updated","project_id":"5f7c","status":"ACTIVE","time":"2026-07-01T12:00:01Z"}
	//
}
