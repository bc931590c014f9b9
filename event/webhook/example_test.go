package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
	"github.com/kintoun/kintoun/event/webhook"
)

func Example() {
	secret := webhook.NewSecret()
	ctx, stop := context.WithCancel(context.Background())
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil || webhook.Verify(secret, r.Header, body, time.Now()) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Println(string(body))
		stop()
	}))
	defer receiver.Close()

	compute := &memfeed.Feed{Domain: "compute"} // a compute.Service, say
	compute.Add(event.Event{Type: "server", ID: "9f0c", Action: event.Created, ProjectID: "5f7c", Status: "BUILD"})
	cursor := &webhook.MemoryCursor{}
	_ = cursor.Save(ctx, "billing", event.Position{"compute": 0}) // from the beginning; a new hook begins now
	sender, err := webhook.New(event.Sources{"compute": compute}, []webhook.Hook{{
		Name: "billing", URL: receiver.URL, Secret: secret, Filter: event.Filter{Types: []string{"server"}},
	}}, &webhook.Options{Cursor: cursor})
	if err != nil {
		fmt.Println(err)
		return
	}
	sender.Run(ctx)
	// Output:
	// {"type":"compute.server.created","timestamp":"2026-07-01T12:00:01Z","data":{"seq":1,"domain":"compute","type":"server","id":"9f0c","action":"created","project_id":"5f7c","status":"BUILD","time":"2026-07-01T12:00:01Z"}}
}
