package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSize tells how large each program is, as it would be shipped: static, without symbols.
func BenchmarkSize(b *testing.B) {
	mains, err := filepath.Glob("*/main.go")
	require.NoError(b, err)
	require.NotEmpty(b, mains)
	for _, main := range mains {
		name := filepath.Dir(main)
		b.Run(name, func(b *testing.B) {
			program := filepath.Join(b.TempDir(), name)
			for b.Loop() {
				build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./"+name)
				build.Env = append(os.Environ(), "CGO_ENABLED=0")
				said, err := build.CombinedOutput()
				require.NoError(b, err, "%s", said)
			}
			info, err := os.Stat(program)
			require.NoError(b, err)
			b.ReportMetric(float64(info.Size())/1e6, "MB")
			b.ReportMetric(0, "ns/op") // how long the build took says nothing
		})
	}
}
