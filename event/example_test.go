package event_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
)

func Example() {
	// In place of the Services of a cloud.
	servers, networks := &memfeed.Feed{Domain: "compute"}, &memfeed.Feed{Domain: "network"}
	networks.Add(event.Event{Type: "port", ID: "port-1", Action: event.Created, ProjectID: "red", Status: "DOWN"})
	networks.Add(event.Event{Type: "port", ID: "port-1", Action: event.Updated, ProjectID: "red", Status: "ACTIVE"})

	ctx := context.Background()
	cloud := event.Sources{"compute": servers, "network": networks}
	position := event.Position{"network": 0} // from the beginning; cloud.Last says where the end is
	for e, err := range cloud.Watch(ctx, position) {
		if err != nil {
			fmt.Println(err)
			return
		}
		position.Advance(e)
		fmt.Println(e.Type, e.ID, e.Action, e.Status)
		if e.Status == "ACTIVE" {
			break
		}
	}
	fmt.Println("read up to", position)
	// Output:
	// port port-1 created DOWN
	// port port-1 updated ACTIVE
	// read up to network=2
}
