package network_test

import (
	"testing"

	"github.com/kintoun/kintoun/network"
	"github.com/stretchr/testify/require"
)

// events are the next n events after a number, as short texts.
func events(t testing.TB, s *network.Service, after int64, n int) (list []string) {
	t.Helper()
	for e, err := range s.Watch(t.Context(), after) {
		require.NoError(t, err)
		require.Equal(t, "network", e.Domain)
		require.NotEmpty(t, e.ID)
		list = append(list, e.Type+" "+string(e.Action)+" "+e.ProjectID+" "+e.Status)
		if len(list) == n {
			break
		}
	}
	return list
}

func TestWatchTellsOfResourcesAndTheirOwners(t *testing.T) {
	s := open(t, nil)
	red := network.Scope{ProjectID: "red"}
	name := "n"
	n, err := s.CreateNetwork(t.Context(), red, network.NetworkSpec{Name: &name})
	require.NoError(t, err)
	p, err := s.CreatePort(t.Context(), red, network.PortSpec{NetworkID: n.ID})
	require.NoError(t, err)
	require.NoError(t, s.DeletePort(t.Context(), red, p.ID))
	require.NoError(t, s.DeleteNetwork(t.Context(), red, n.ID))
	seen := events(t, s, 0, 9)
	require.Equal(t, "security_group created red ", seen[0])
	require.Equal(t, []string{"network created red ACTIVE", "port created red DOWN", "port deleted red DOWN", "network deleted red ACTIVE"}, seen[5:])
}

func TestSignsOfLifeAreNoEvents(t *testing.T) {
	s := open(t, nil)
	a, err := s.Register(t.Context(), network.AgentInfo{Type: network.AgentL3, Host: "h1"})
	require.NoError(t, err)
	require.Equal(t, []string{"agent created  "}, events(t, s, 0, 1))
	before, err := s.LastEvent(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Heartbeat(t.Context(), a.HeartbeatAt, a.ID))
	after, err := s.LastEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}
