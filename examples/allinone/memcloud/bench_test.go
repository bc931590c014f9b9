package memcloud_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/stretchr/testify/require"
)

// How large BenchmarkThousandHosts is: go test -bench Thousand ./examples/allinone/memcloud -servers 100000
var (
	benchHosts   = flag.Int("hosts", 1000, "hosts of BenchmarkThousandHosts")
	benchServers = flag.Int("servers", 3000, "servers of BenchmarkThousandHosts")
	benchFor     = flag.Duration("within", 15*time.Minute, "when BenchmarkThousandHosts stops making servers")
)

// BenchmarkStart is a cloud's start and end.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := memcloud.Start(b.Context(), nil)
		require.NoError(b, err)
		require.NoError(b, c.Stop())
	}
}

// BenchmarkMemoryPerCloud is what an idle cloud keeps of the machine's memory.
func BenchmarkMemoryPerCloud(b *testing.B) {
	const clouds = 100
	for b.Loop() {
		first := startAll(b, 1) // what all share is there
		before := resident(b)
		all := startAll(b, clouds)
		per := (resident(b) - before) / clouds
		stopAll(b, all)
		stopAll(b, first)
		b.ReportMetric(per, "MiB/cloud")
	}
}

// BenchmarkHundredClouds starts a hundred clouds side by side, logs in to each, and ends them.
func BenchmarkHundredClouds(b *testing.B) {
	for b.Loop() {
		var running sync.WaitGroup
		for range 100 {
			running.Go(func() {
				c, err := memcloud.Start(b.Context(), nil)
				if err == nil {
					_, err = login(b.Context(), c.Demo())
					err = errors.Join(err, c.Stop())
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		running.Wait()
	}
}

func startAll(b *testing.B, n int) []*memcloud.Cloud {
	b.Helper()
	all := make([]*memcloud.Cloud, n)
	for i := range all {
		var err error
		all[i], err = memcloud.Start(b.Context(), nil)
		require.NoError(b, err)
		require.NoError(b, all[i].Settle(b.Context()))
	}
	return all
}

func stopAll(b *testing.B, all []*memcloud.Cloud) {
	b.Helper()
	for _, c := range all {
		require.NoError(b, c.Stop())
	}
}

// resident is the process's resident memory in MiB, without what is garbage.
func resident(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("resident memory is read from /proc, as Linux has it")
	}
	var kib float64
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(b, err)
	return kib / 1024
}

// BenchmarkThousandHosts adds hosts to a cloud and makes servers through the Nova API with several clients at once.
func BenchmarkThousandHosts(b *testing.B) {
	for b.Loop() {
		large := newLarge(b)
		large.addHosts(*benchHosts)
		large.makeNetworks()
		large.makeServers()
		large.awaitActive()
		large.lists()
		b.ReportMetric(resident(b), "MiB-resident")
		b.ReportMetric(0, "ns/op")
		require.NoError(b, large.cloud.Stop())
	}
}

// large is a cloud of many hosts, for which servers are made in networks of a few hundred.
type large struct {
	b     *testing.B
	cloud *memcloud.Cloud
	admin *client
	nets  []string
}

const (
	perNetwork = 100
	clients    = 8
)

func newLarge(b *testing.B) *large {
	b.Helper()
	// Servers take a moment, so that requests are answered as they are in a real cloud: before all is done.
	c, err := memcloud.Start(b.Context(), &memcloud.Options{BuildTime: time.Microsecond})
	require.NoError(b, err)
	admin, err := login(b.Context(), c.Admin())
	require.NoError(b, err)
	l := &large{b: b, cloud: c, admin: admin}
	unlimited := -1
	l.must("PUT", c.URL(cloud.Compute)+"/v2.1/os-quota-sets/"+admin.project, map[string]any{"quota_set": map[string]any{
		"instances": unlimited, "cores": unlimited, "ram": unlimited, "server_group_members": unlimited}})
	l.must("PUT", c.URL(cloud.Network)+"/v2.0/quotas/"+admin.project, map[string]any{"quota": map[string]any{
		"network": unlimited, "subnet": unlimited, "port": unlimited, "security_group": unlimited}})
	return l
}

func (l *large) must(method, url string, body any) map[string]any {
	l.b.Helper()
	answer, err := l.admin.do(l.b.Context(), method, url, body)
	require.NoError(l.b, err)
	return answer
}

func (l *large) addHosts(n int) {
	l.b.Helper()
	began := time.Now()
	for i := range n - 1 {
		_, err := l.cloud.AddHost(fmt.Sprintf("node%d", i+1), &compute.Resources{VCPUs: 64, MemoryMiB: 256 << 10, DiskGiB: 10 << 10, Type: "QEMU"})
		require.NoError(l.b, err)
	}
	require.NoError(l.b, l.cloud.Settle(l.b.Context()))
	l.b.ReportMetric(float64(n)/time.Since(began).Seconds(), "hosts/s")
}

// makeNetworks makes enough of them, and a group whose rules name no other group: those make each new server a change
// for all others of its group.
func (l *large) makeNetworks() {
	base := l.cloud.URL(cloud.Network) + "/v2.0"
	began := time.Now()
	for i := range (*benchServers + perNetwork - 1) / perNetwork {
		made := l.must("POST", base+"/networks", map[string]any{"network": map[string]any{"name": fmt.Sprint("net", i)}})
		id := made["network"].(map[string]any)["id"].(string)
		l.must("POST", base+"/subnets", map[string]any{"subnet": map[string]any{
			"network_id": id, "ip_version": 4, "cidr": fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255), "enable_dhcp": false}})
		l.nets = append(l.nets, id)
	}
	l.b.ReportMetric(float64(len(l.nets))/time.Since(began).Seconds(), "networks/s")
	l.must("POST", base+"/security-groups", map[string]any{"security_group": map[string]any{"name": "plain"}})
}

func (l *large) makeServers() {
	l.b.Helper()
	images := l.must("GET", l.cloud.URL(cloud.Image)+"/v2/images", nil)
	image := images["images"].([]any)[0].(map[string]any)["id"]
	began := time.Now()
	var next, made atomic.Int64
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for l.b.Context().Err() == nil && !l.b.Failed() {
				n := int(next.Add(1)) - 1
				if n >= *benchServers || time.Since(began) > *benchFor {
					return
				}
				made.Add(1)
				_, err := l.admin.do(l.b.Context(), "POST", l.cloud.URL(cloud.Compute)+"/v2.1/servers", map[string]any{"server": map[string]any{
					"name": fmt.Sprint("vm", n), "flavorRef": "1", "imageRef": image, "networks": []any{map[string]any{"uuid": l.nets[n/perNetwork]}},
					"security_groups": []any{map[string]any{"name": "plain"}}}})
				if err != nil {
					l.b.Error(err)
				}
				if n%1000 == 999 {
					l.b.Logf("%d servers after %v", n+1, time.Since(began).Round(time.Millisecond))
				}
			}
		})
	}
	running.Wait()
	l.b.ReportMetric(float64(made.Load()), "servers")
	l.b.ReportMetric(float64(made.Load())/time.Since(began).Seconds(), "servers/s")
}

// awaitActive waits until the hosts have done what was asked for.
func (l *large) awaitActive() {
	l.b.Helper()
	began := time.Now()
	require.NoError(l.b, l.cloud.Settle(l.b.Context()))
	l.b.ReportMetric(time.Since(began).Seconds(), "s-until-active")
	found, err := l.cloud.Compute.Servers(l.b.Context(), compute.Scope{Admin: true}, compute.ServerFilter{AllProjects: true, Statuses: []string{"BUILD", "ERROR"}, Limit: 1})
	require.NoError(l.b, err)
	for i := range found {
		l.b.Fatalf("server %s is not active: %s %+v", found[i].ID, found[i].Status(), found[i].Fault)
	}
}

// lists measures pages of a thousand by marker, the first and the last.
func (l *large) lists() {
	l.b.Helper()
	for _, path := range []string{"/servers", "/servers/detail"} {
		var first, last time.Duration
		marker, count := "", 0
		for {
			url := l.cloud.URL(cloud.Compute) + "/v2.1" + path + "?limit=1000"
			if marker != "" {
				url += "&marker=" + marker
			}
			began := time.Now()
			page := l.must("GET", url, nil)["servers"].([]any)
			if last = time.Since(began); first == 0 {
				first = last
			}
			count += len(page)
			if len(page) < 1000 || count >= 3000 && path == "/servers/detail" {
				break
			}
			marker = page[len(page)-1].(map[string]any)["id"].(string)
		}
		name := strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")
		l.b.ReportMetric(float64(first.Microseconds())/1000, "ms-first-page-"+name)
		l.b.ReportMetric(float64(last.Microseconds())/1000, "ms-last-page-"+name)
	}
}

// client asks the APIs with a token.
type client struct{ token, project string }

func login(ctx context.Context, who cloud.Credentials) (*client, error) {
	c := &client{}
	domain := map[string]any{"id": "default"}
	body, _ := json.Marshal(map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{"name": who.User, "domain": domain, "password": who.Password}}},
		"scope":    map[string]any{"project": map[string]any{"name": who.Project, "domain": domain}}}})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, who.AuthURL+"/auth/tokens", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	var token struct {
		Token struct{ Project struct{ ID string } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		return nil, err
	}
	c.token, c.project = answer.Header.Get("X-Subject-Token"), token.Token.Project.ID
	return c, nil
}

func (c *client) do(ctx context.Context, method, url string, body any) (map[string]any, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Auth-Token", c.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= http.StatusMultipleChoices {
		return nil, errors.Join(err, fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, text))
	}
	var decoded map[string]any
	return decoded, json.Unmarshal(text, &decoded)
}
