package memnet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 14))
	f.Add(append(append(make([]byte, 12), 0x08, 0x00, 0x4f), make([]byte, 40)...))
	f.Add(append(append(make([]byte, 12), 0x08, 0x06), make([]byte, 28)...))
	f.Add(append(append(make([]byte, 12), 0x86, 0xdd), make([]byte, 80)...))
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := parse(frame)
		if len(frame) < 14 {
			require.Zero(t, p)
		}
	})
}
