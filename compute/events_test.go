package compute_test

import (
	"testing"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/event"
	"github.com/stretchr/testify/require"
)

func TestWatchTellsOfAServerUntilItIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCloud(t, nil)
		c.run(t, "h1", memcompute.NewHost(), nil, nil)
		start, err := c.LastEvent(t.Context())
		require.NoError(t, err)
		v := c.create(t, compute.ServerSpec{})
		c.await(t, v.ID, "ACTIVE")
		require.NoError(t, c.Delete(t.Context(), red, v.ID))
		c.gone(t, v.ID)
		var statuses []string
		for e, err := range c.Watch(t.Context(), start) {
			require.NoError(t, err)
			require.Equal(t, []string{"compute", "server", v.ID, "red"}, []string{e.Domain, e.Type, e.ID, e.ProjectID})
			if text := string(e.Action) + " " + e.Status; len(statuses) == 0 || statuses[len(statuses)-1] != text {
				statuses = append(statuses, text)
			}
			if e.Action == event.Deleted {
				break
			}
		}
		require.Equal(t, "created BUILD", statuses[0])
		require.Contains(t, statuses, "updated ACTIVE")
		require.Equal(t, "deleted DELETED", statuses[len(statuses)-1])
		end, err := c.LastEvent(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour) // of heartbeats
		later, err := c.LastEvent(t.Context())
		require.NoError(t, err)
		require.Equal(t, end, later)
	})
}

func TestWatchTellsOfWhatBelongsToNoProject(t *testing.T) {
	c := newCloud(t, nil)
	for e, err := range c.Watch(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, event.Event{Seq: 1, Domain: "compute", Type: "flavor", ID: "1", Action: event.Created, Time: e.Time}, e)
		break
	}
}
