package cloud

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATakenPortIsNamedWithTheWayOut(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	listeners := Listeners{}
	err = listeners.OpenMissing("127.0.0.1", map[Service]int{Identity: 0, Compute: 0, Network: taken.Addr().(*net.TCPAddr).Port, Image: 0})
	require.ErrorContains(t, err, "is taken")
	require.ErrorContains(t, err, "-network-port")
	_, err = listeners[Identity][0].Accept()
	require.ErrorIs(t, err, net.ErrClosed, "what was opened is closed again")
}

func TestCredentialsSurviveTheShell(t *testing.T) {
	c := Credentials{AuthURL: "http://127.0.0.1:5000/v3", Region: "R", User: "u", Password: "it's $HOME", Project: "p"}
	require.Contains(t, c.OpenRC(), `export OS_PASSWORD='it'\''s $HOME'`)
	yaml := CloudsYAML(map[string]Credentials{"kintoun": c})
	require.Contains(t, yaml, `password: "it's $HOME"`)
	require.NotContains(t, yaml, "kintoun-admin")
}
