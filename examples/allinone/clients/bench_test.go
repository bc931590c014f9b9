package clients_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// rivals is where scripts/rivals puts the programs that object storage is measured beside.
var rivals = flag.String("rivals", "../../../build/rivals", "directory with nginx and versitygw")

// target is a server of objects.
type target struct {
	name string
	pid  int
	put  func(key string, size int64) error
	get  func(key string, size int64) error
	del  func(key string) error
}

const mib = 1 << 20

// zeros is a body of zeros that costs its reader little.
func zeros(size int64) io.Reader { return io.LimitReader(zero{}, size) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { return len(p), nil }

// startTarget starts a program that listens on loopback, and waits until it answers.
func startTarget(b *testing.B, address string, cmd *exec.Cmd) int {
	b.Helper()
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // nginx ends its workers then
		_ = cmd.Wait()
	})
	require.Eventually(b, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, "%s does not listen: %s", cmd.Path, &complaints)
	return cmd.Process.Pid
}

// freeAddress is one of loopback that nobody listens on.
func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer func() { require.NoError(b, l.Close()) }()
	return l.Addr().String()
}

// reach is a target by HTTP: objects are below a URL. The same client measures all of them; sign makes its requests acceptable.
func reach(name, url string, pid int, sign func(r *http.Request) *http.Request) *target {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, WriteBufferSize: 128 << 10, ReadBufferSize: 128 << 10}}
	do := func(method, key string, size int64) error {
		var body io.Reader
		if method == http.MethodPut && size > 0 {
			body = zeros(size)
		}
		r, err := http.NewRequest(method, url+"/"+key, body)
		if err != nil {
			return err
		}
		if method == http.MethodPut {
			r.ContentLength = size
		}
		answer, err := client.Do(sign(r))
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		n, err := io.Copy(io.Discard, answer.Body)
		if err == nil && (answer.StatusCode > 299 || method == http.MethodGet && n != size) {
			err = fmt.Errorf("%s %s: %s, %d bytes", method, key, answer.Status, n)
		}
		return err
	}
	return &target{
		name: name, pid: pid,
		put: func(key string, size int64) error { return do(http.MethodPut, key, size) },
		get: func(key string, size int64) error { return do(http.MethodGet, key, size) },
		del: func(key string) error { return do(http.MethodDelete, key, 0) },
	}
}

// anybody needs no signature; Swift's dialect takes any token here.
func anybody(r *http.Request) *http.Request {
	r.Header.Set("X-Auth-Token", "t")
	return r
}

// signed signs for S3 (Signature Version 4), all but the content, as clients do over TLS.
func signed(r *http.Request) *http.Request {
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	return signer.SignV4(*r, benchAccess, benchSecret, "", "us-east-1")
}

// bucket is a target behind S3.
func bucket(b *testing.B, name, address string, pid int) *target {
	b.Helper()
	t := reach(name, "http://"+address+"/bench", pid, signed)
	require.NoError(b, t.put("", 0)) // makes it
	return t
}

// kintoun is this house's server, by both dialects.
func kintoun(b *testing.B) []*target {
	b.Helper()
	v := startVictim(b, b.TempDir())
	t := reach("kintoun-swift", v.swift, v.pid, anybody)
	require.NoError(b, t.put("", 0)) // makes the container
	return []*target{t, bucket(b, "kintoun-s3", strings.TrimPrefix(v.s3, "http://"), v.pid)}
}

func nginx(b *testing.B) *target {
	b.Helper()
	program := filepath.Join(*rivals, "nginx")
	if _, err := os.Stat(program); err != nil {
		b.Skipf("%v: run scripts/rivals", err)
	}
	dir, address := b.TempDir(), freeAddress(b)
	require.NoError(b, os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // its workers have no rights
	config := fmt.Sprintf(`daemon off; pid %[1]s/pid; user root; worker_processes 2; error_log %[1]s/error.log;
events { worker_connections 512; }
http {
  access_log off; sendfile on; tcp_nopush on; client_max_body_size 0; client_body_temp_path %[1]s/tmp; keepalive_requests 1000000;
  proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s; root %[1]s/root; location / { dav_methods PUT DELETE; create_full_put_path on; } }
}`, dir, address)
	require.NoError(b, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600))
	require.NoError(b, os.Mkdir(filepath.Join(dir, "root"), 0o755))
	path, err := filepath.Abs(program)
	require.NoError(b, err)
	pid := startTarget(b, address, exec.Command(path, "-p", dir, "-e", dir+"/error.log", "-c", dir+"/nginx.conf")) //nolint:gosec // a program of ours
	return reach("nginx", "http://"+address, pid, anybody)
}

func versitygw(b *testing.B) *target {
	b.Helper()
	program := filepath.Join(*rivals, "versitygw")
	if _, err := os.Stat(program); err != nil {
		b.Skipf("%v: run scripts/rivals", err)
	}
	path, err := filepath.Abs(program)
	require.NoError(b, err)
	address := freeAddress(b)
	cmd := exec.Command(path, "--port", address, "--quiet", "posix", b.TempDir()) //nolint:gosec // a program of ours
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+benchAccess, "ROOT_SECRET_KEY="+benchSecret)
	return bucket(b, "versitygw", address, startTarget(b, address, cmd))
}

// atOnce runs an operation in so many goroutines. Of large contents all connections have one, and then the next: a benchmark that
// counts them would end with the first.
func atOnce(b *testing.B, connections int, size int64, op func(n int64) error) {
	b.SetBytes(size)
	if connections > 1 && size >= largeContent {
		b.SetBytes(size * int64(connections))
		for b.Loop() {
			var all errgroup.Group
			for n := range connections {
				all.Go(func() error { return op(int64(n)) })
			}
			require.NoError(b, all.Wait())
		}
		return
	}
	b.SetParallelism((connections + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	if connections == 1 {
		for n := int64(0); b.Loop(); n++ {
			require.NoError(b, op(n))
		}
		return
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := op(next.Add(1)); err != nil {
				failed.Store(&err)
			}
		}
	})
	b.StopTimer()
	if err := failed.Load(); err != nil {
		require.NoError(b, *err)
	}
}

// deleteAll deletes as many objects as the benchmark wants, which it puts there first.
func (t *target) deleteAll(b *testing.B, connections int) {
	each := func(op func(key string) error) {
		var all errgroup.Group
		for first := range connections {
			all.Go(func() error {
				for n := first; n < b.N; n += connections {
					if err := op(fmt.Sprintf("d%d", n)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(b, all.Wait())
	}
	each(func(key string) error { return t.put(key, 1<<10) })
	b.ResetTimer()
	each(t.del)
}

// largeContent is the size from which contents fill the disk, and are deleted when they were measured.
const largeContent = 64 * mib

// distinct is how many objects of a size are written before one is written again.
func distinct(size int64, connections int) int64 { return max(4, int64(connections), 256*mib/size) }

// BenchmarkObjects puts, gets and deletes objects, by this house's dialects and by servers that others use, in turns.
func BenchmarkObjects(b *testing.B) {
	targets := append(kintoun(b), nginx(b), versitygw(b))
	for _, connections := range []int{1, 16} {
		for _, t := range targets {
			b.Run(fmt.Sprintf("delete/1KiB/%d/%s", connections, t.name), func(b *testing.B) { t.deleteAll(b, connections) })
		}
	}
	for _, size := range []int64{1 << 10, 64 << 10, 64 * mib, 1024 * mib} {
		for _, connections := range []int{1, 16} {
			for _, t := range targets {
				b.Run(fmt.Sprintf("put/%dKiB/%d/%s", size>>10, connections, t.name), func(b *testing.B) {
					keys := distinct(size, connections)
					key := func(n int64) string { return fmt.Sprintf("o%d-%d", size, n%keys) }
					atOnce(b, connections, size, func(n int64) error { return t.put(key(n), size) })
					t.tell(b)
					for n := range keys {
						if size >= largeContent {
							_ = t.del(key(n)) // not all of them were written
						}
					}
				})
			}
			for _, t := range targets {
				b.Run(fmt.Sprintf("get/%dKiB/%d/%s", size>>10, connections, t.name), func(b *testing.B) {
					key := fmt.Sprintf("g%d", size)
					require.NoError(b, t.put(key, size))
					atOnce(b, connections, size, func(int64) error { return t.get(key, size) })
					t.tell(b)
					require.NoError(b, t.del(key))
				})
			}
		}
	}
}

// tell adds the server's resident memory to a line.
func (t *target) tell(b *testing.B) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.pid))
	require.NoError(b, err)
	var kib float64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(b, err)
	b.ReportMetric(kib/1024, "MiB-peak")
}
