package identity

import (
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/stretchr/testify/require"
)

func TestWatchTellsOfProjectsToThemselvesAndOfTheRestToNobody(t *testing.T) {
	s, clock := open(t, Options{})
	start, err := s.LastEvent(t.Context())
	require.NoError(t, err)
	m := member(t, s, "red")
	d, err := s.CreateDocument(t.Context(), Document{Kind: "registered_limit", Attributes: map[string]any{}})
	require.NoError(t, err)
	require.NoError(t, s.DeleteProject(t.Context(), m.project.ID))
	seen := map[string]event.Event{}
	for e, err := range s.Watch(t.Context(), start) {
		require.NoError(t, err)
		require.Equal(t, "identity", e.Domain)
		require.True(t, clock.now().Equal(e.Time))
		seen[e.Type+" "+string(e.Action)] = e
		if e.Type == "project" {
			require.Equal(t, []string{m.project.ID, m.project.ID}, []string{e.ID, e.ProjectID})
		} else {
			require.Empty(t, e.ProjectID)
		}
		if e.Type == "project" && e.Action == event.Deleted {
			break
		}
	}
	require.Equal(t, m.user.ID, seen["user created"].ID)
	require.Equal(t, d.ID, seen["registered_limit created"].ID)
	require.Contains(t, seen, "role_assignment created")
	require.Contains(t, seen, "role_assignment deleted")
}
