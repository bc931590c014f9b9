package drivertest

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// frameLimit is how long something that must happen may take. It is only waited for when a test fails.
const frameLimit = 10 * time.Second

// A Guest stands at a port's end and speaks frames.
type Guest interface {
	// Emit sends an Ethernet frame, whatever it says.
	Emit(t testing.TB, frame []byte)
	// Frames delivers the frames that arrive, from the guest's start on, in order. Frames of the guest's own
	// kernel, or of others', may be among them.
	Frames() <-chan []byte
}

// A TalkingGuest has addresses and a TCP/IP stack.
type TalkingGuest interface {
	Guest
	// Ping says why dst does not answer an echo request in an IP packet of size bytes that must not be fragmented.
	// It may try several times.
	Ping(dst netip.Addr, size int) error
	// Serve accepts TCP connections to the port until the test ends, and sends back what it is sent.
	Serve(t testing.TB, port uint16)
	// Dial opens a TCP connection.
	Dial(dst netip.AddrPort) (GuestConn, error)
}

// A GuestConn is a TCP connection to a server of [TalkingGuest].Serve.
type GuestConn interface {
	// Transfer sends that many bytes, and compares what comes back.
	Transfer(bytes int) error
	Close() error
}

// expect waits for the frame.
func expect(t testing.TB, s Guest, frame []byte) {
	t.Helper()
	expectOnly(t, s, frame)
}

// expectOnly waits for the frame; none of the others may arrive before.
func expectOnly(t testing.TB, s Guest, frame []byte, others ...[]byte) {
	t.Helper()
	deadline := time.NewTimer(frameLimit)
	defer deadline.Stop()
	for {
		select {
		case got, ok := <-s.Frames():
			require.True(t, ok, "the guest closed")
			if bytes.HasPrefix(got, frame) {
				return
			}
			for i, other := range others {
				require.False(t, bytes.HasPrefix(got, other), "frame %d had to be dropped and arrived: % x", i, got)
			}
		case <-deadline.C:
			require.Fail(t, "a frame did not arrive", "% x", frame)
		}
	}
}
