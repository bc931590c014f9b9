package glance_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// benchSize is what the benchmarks move.
const benchSize = 256 << 20

// BenchmarkUpload measures an upload and a download beside what a shell would do: cp, sync and sha512sum. The download is synced
// and summed up too, as the client that holds it against the image's hash does.
func BenchmarkUpload(b *testing.B) {
	labtest.RequireProgram(b, "curl", "curl")
	s := newServer(b, nil)
	dir := b.TempDir()
	name := filepath.Join(dir, "disk")
	f, err := os.Create(name)
	require.NoError(b, err)
	_, err = io.CopyN(f, rand.Reader, benchSize)
	require.NoError(b, err)
	require.NoError(b, f.Close())
	var upload, download, shell time.Duration
	b.SetBytes(benchSize)
	n := 0
	for b.Loop() {
		_, text := call(b, s, "alice", "POST", "/v2/images", `{"disk_format": "raw", "container_format": "bare"}`)
		var v struct{ ID string }
		require.NoError(b, json.Unmarshal([]byte(text), &v))
		start := time.Now()
		put(b, s.URL+"/v2/images/"+v.ID+"/file", name)
		upload += time.Since(start)

		start = time.Now()
		out, err := exec.Command("/bin/sh", "-c", "curl -sf -o "+name+".copy -H 'X-Auth-Token: alice' "+s.URL+"/v2/images/"+v.ID+"/file && sync "+name+".copy && sha512sum "+name+".copy").CombinedOutput()
		require.NoError(b, err, "%s", out)
		download += time.Since(start)
		require.NoError(b, os.Remove(name+".copy"))

		start = time.Now()
		out, err = exec.Command("/bin/sh", "-c", "cp "+name+" "+name+".copy && sync "+name+".copy && sha512sum "+name+".copy").CombinedOutput()
		require.NoError(b, err, "%s", out)
		shell += time.Since(start)
		require.NoError(b, os.Remove(name+".copy"))
		resp, _ := call(b, s, "alice", "DELETE", "/v2/images/"+v.ID, "")
		require.Equal(b, 204, resp.StatusCode)
		n++
	}
	total := float64(n) * benchSize / 1e6
	b.ReportMetric(total/upload.Seconds(), "upload-MB/s")
	b.ReportMetric(total/download.Seconds(), "download-MB/s")
	b.ReportMetric(total/shell.Seconds(), "cp+sha512sum-MB/s")
	b.ReportMetric(upload.Seconds()/shell.Seconds(), "upload/cp+sha512sum")
	b.ReportMetric(download.Seconds()/shell.Seconds(), "download/cp+sha512sum")
}

func put(b *testing.B, url, name string) {
	b.Helper()
	f, err := os.Open(name)
	require.NoError(b, err)
	r, err := http.NewRequestWithContext(context.Background(), "PUT", url, f)
	require.NoError(b, err)
	r.ContentLength = benchSize
	r.Header.Set("X-Auth-Token", "alice")
	r.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(b, err)
	require.Equal(b, 204, resp.StatusCode)
	require.NoError(b, resp.Body.Close())
}
