package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// kills is how often the server is killed.
var kills = flag.Int("kills", 40, "how often the object server is killed")

// victimDir names the directory of a server that is to be killed; it is set in that process alone.
const victimDir = "KINTOUN_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// everybody's token is good for one project.
type everybody struct{}

func (everybody) Validate(context.Context, string) (*identity.Caller, error) {
	return &identity.Caller{UserID: "u", ProjectID: "p", Roles: []identity.Role{{ID: "m", Name: identity.RoleMember}}}, nil
}

// openObjects opens what an object server keeps in a directory.
func openObjects(ctx context.Context, dir string) (service *objectstore.Service, store *fileobjects.Store, closeAll func() error, err error) {
	names, err := sqlitedb.Open(ctx, filepath.Join(dir, "objects.db"))
	if err != nil {
		return nil, nil, nil, err
	}
	contents, err := sqlitedb.Open(ctx, filepath.Join(dir, "contents.db"))
	if err != nil {
		return nil, nil, nil, errors.Join(err, names.Close())
	}
	closeAll = func() error { return errors.Join(names.Close(), contents.Close()) }
	if store, err = fileobjects.New(ctx, filepath.Join(dir, "contents"), contents, nil); err != nil {
		return nil, nil, nil, errors.Join(err, closeAll())
	}
	closeAll = func() error { return errors.Join(store.Close(), names.Close(), contents.Close()) }
	if service, err = objectstore.New(ctx, names, store, nil); err != nil {
		return nil, nil, nil, errors.Join(err, closeAll())
	}
	return service, store, closeAll, nil
}

// What signs requests of benchmarks.
const (
	benchAccess = "kintoun-access"
	benchSecret = "kintoun-secret"
)

// victim serves objects until it is killed, and says where.
func victim(dir string) error {
	ctx := context.Background()
	service, _, _, err := openObjects(ctx, dir)
	if err != nil {
		return err
	}
	var running errgroup.Group
	running.Go(func() error { return service.Run(ctx) })
	var urls []string
	keys := s3.StaticKeys{benchAccess: {Secret: benchSecret, Caller: objectstore.Caller{Account: "p", ProjectID: "p"}}}
	for _, handler := range []http.Handler{swift.Handler(service, everybody{}, nil), s3.Handler(service, keys, nil)} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		urls = append(urls, "http://"+listener.Addr().String())
		running.Go(func() error { return http.Serve(listener, handler) }) //nolint:gosec // it does not live long
	}
	fmt.Println(urls[0]+"/v1/AUTH_p/box", urls[1])
	return running.Wait()
}

// running is a victim.
type running struct {
	swift, s3 string
	pid       int
	kill      func()
}

// startVictim starts a server on the directory, in a process of its own.
func startVictim(t testing.TB, dir string) *running {
	t.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	v := &running{pid: cmd.Process.Pid, kill: sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })}
	t.Cleanup(v.kill)
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "the server does not start")
	_, err = fmt.Sscan(lines.Text(), &v.swift, &v.s3)
	require.NoError(t, err)
	return v
}

// witness remembers of an object what was acknowledged, and what was asked for and never answered. One goroutine at a time
// works on an object.
type witness struct {
	name    string
	known   []byte // nil is no object
	perhaps [][]byte
	asked   bool // the last wish may have come true
}

// content is large enough now and then for a file of its own.
func content(r *rand.Rand) []byte {
	size := r.IntN(3000)
	if r.IntN(8) == 0 {
		size = r.IntN(400_000)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// change writes or deletes the object, and knows what may have become of it.
func (w *witness) change(client *http.Client, url string, r *rand.Rand) error {
	method, data := http.MethodPut, content(r)
	if r.IntN(5) == 0 {
		method, data = http.MethodDelete, nil
	}
	w.asked, w.perhaps = true, [][]byte{data}
	request, err := http.NewRequest(method, url+"/"+w.name, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("X-Auth-Token", "t")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode >= 500 {
		return fmt.Errorf("%s %s: %s", method, w.name, answer.Status)
	}
	w.known, w.asked, w.perhaps = data, false, nil
	return nil
}

func get(client *http.Client, url string) (int, []byte, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Auth-Token", "t")
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, data, err
}

// settle finds what became of the object, which must be what was known or what was asked for.
func (w *witness) settle(t *testing.T, client *http.Client, url string) {
	t.Helper()
	status, data, err := get(client, url+"/"+w.name)
	require.NoError(t, err)
	if status == http.StatusNotFound {
		data = nil
	} else {
		require.Equal(t, http.StatusOK, status)
		if data == nil {
			data = []byte{}
		}
	}
	same := func(a []byte) bool { return (a == nil) == (data == nil) && sha256.Sum256(a) == sha256.Sum256(data) }
	fits := same(w.known)
	for _, p := range w.perhaps {
		fits = fits || w.asked && same(p)
	}
	require.True(t, fits, "%s is neither what was acknowledged (%d bytes) nor what was asked for: %d bytes", w.name, len(w.known), len(data))
	w.known, w.asked, w.perhaps = data, false, nil
}

// TestKilled kills the server under concurrent writers: every acknowledged object is whole and listed, no partial one is
// seen, and when all are deleted nothing is left.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	const workers, objects = 8, 6
	var all [workers][objects]*witness
	for i := range workers {
		for j := range objects {
			all[i][j] = &witness{name: fmt.Sprintf("object-%d-%d", i, j)}
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	changes := 0
	for round := range *kills {
		changes += lifetime(t, dir, r, round, func(client *http.Client, url string) {
			listed := map[string]int{}
			_, body, err := get(client, url+"?format=json")
			require.NoError(t, err)
			var entries []struct {
				Name  string
				Bytes int
			}
			require.NoError(t, json.Unmarshal(body, &entries))
			for _, e := range entries {
				listed[e.Name] = e.Bytes
			}
			there := map[string]int{}
			for i := range workers {
				for _, w := range all[i] {
					w.settle(t, client, url)
					if w.known != nil {
						there[w.name] = len(w.known)
					}
				}
			}
			require.Equal(t, there, listed)
		}, func(client *http.Client, url string, worker int, r *rand.Rand) error {
			return all[worker][r.IntN(objects)].change(client, url, r)
		}, workers)
	}
	t.Logf("%d kills, %d changes", *kills, changes)
	nothingLeaks(t, dir)
}

// lifetime starts a server, looks at what is there, and kills it while workers change things; it returns how many changes
// were acknowledged.
func lifetime(t *testing.T, dir string, r *rand.Rand, round int, look func(*http.Client, string), change func(*http.Client, string, int, *rand.Rand) error, workers int) int {
	t.Helper()
	server := startVictim(t, dir)
	defer server.kill()
	url := server.swift
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	if round == 0 {
		request, err := http.NewRequest(http.MethodPut, url, nil)
		require.NoError(t, err)
		request.Header.Set("X-Auth-Token", "t")
		answer, err := client.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusCreated, answer.StatusCode)
	}
	look(client, url)
	var mu sync.Mutex
	changes := 0
	var changing errgroup.Group
	for worker := range workers {
		r := rand.New(rand.NewPCG(r.Uint64(), 2))
		changing.Go(func() error {
			for {
				if err := change(client, url, worker, r); err != nil {
					return nil //nolint:nilerr // it was killed
				}
				mu.Lock()
				changes++
				mu.Unlock()
			}
		})
	}
	time.Sleep(time.Duration(10+r.IntN(150)) * time.Millisecond)
	server.kill()
	require.NoError(t, changing.Wait())
	return changes
}

// nothingLeaks deletes everything, and finds nothing left in the store nor in the statistics.
func nothingLeaks(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	service, store, closeAll, err := openObjects(ctx, dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, closeAll()) }()
	operator := objectstore.Caller{Admin: true}
	box := objectstore.Path{Account: "p", Container: "box"}
	list, err := service.Objects(ctx, operator, box, objectstore.Listing{})
	require.NoError(t, err)
	c, err := service.Container(ctx, operator, box)
	require.NoError(t, err)
	var bytes int64
	for _, e := range list.Entries {
		bytes += e.Object.Size
		path := box
		path.Object = e.Object.Name
		_, err := service.Delete(ctx, operator, path, objectstore.DeleteSpec{})
		require.NoError(t, err)
	}
	require.Equal(t, []int64{int64(len(list.Entries)), bytes}, []int64{c.Objects, c.Bytes}, "the container's statistics")
	require.NoError(t, service.Sweep(ctx))
	for ref, err := range store.List(ctx) {
		require.NoError(t, err)
		require.Fail(t, "a content is left that no object has", ref)
	}
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "contents"), func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		require.True(t, d.IsDir() || d.Name() == "lock", "%s is left", path)
		return nil
	}))
}
