package event_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
)

// services stands for the Services of a cloud.
func services() event.Sources {
	compute, network := &memfeed.Feed{Domain: "compute"}, &memfeed.Feed{Domain: "network"}
	network.Add(event.Event{Type: "port", ID: "port-1", Action: event.Created, ProjectID: "red", Status: "DOWN"})
	network.Add(event.Event{Type: "port", ID: "port-1", Action: event.Updated, ProjectID: "red", Status: "ACTIVE"})
	return event.Sources{"compute": compute, "network": network}
}

func ExampleSources_Watch() {
	cloud := services() // event.Sources{"compute": servers, "network": networks}
	position := event.Position{"network": 0}
	for e, err := range cloud.Watch(context.Background(), position) {
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
