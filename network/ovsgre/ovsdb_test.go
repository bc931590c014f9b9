//go:build linux

package ovsgre

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnOperationThatFailedIsFound(t *testing.T) {
	_, err := parseResults([]byte(`[{},null,{"error":"constraint violation","details":"no such table"}]`))
	require.ErrorContains(t, err, "no such table")
	results, err := parseResults([]byte(`[{"uuid":["uuid","1"]},{"rows":[{"name":"br-int","external_ids":["map",[["a","b"]]]}]}]`))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, stringMap(results[1][0]["external_ids"]))
}

func FuzzParseResults(f *testing.F) {
	f.Add([]byte(`[{"rows":[{"external_ids":["map",[["a","b"],["c"],7]]}]}]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		results, err := parseResults(data)
		if err != nil {
			return
		}
		for _, r := range results {
			for _, row := range r {
				stringMap(row["external_ids"])
			}
		}
	})
}
