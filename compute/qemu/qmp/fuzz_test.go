package qmp

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReadMessage feeds the decoder what a broken or hostile QEMU might send: no panic, no message without its
// bytes, and always an end.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}` + "\r\n"))
	f.Add([]byte(`{"return": {}, "id": "1"}` + "\n" + `{"error": {"class": "GenericError", "desc": "no"}, "id": 2}` + "\n"))
	f.Add([]byte(`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": true}}` + "\n\n{"))
	f.Add([]byte(`{"event": {}, "id": [], "data": 7}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		for range len(data) + 1 {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			require.NotEmpty(t, m.raw)
			_, _ = m.id(), m.event()
		}
		t.Fatal("more messages than bytes")
	})
}
