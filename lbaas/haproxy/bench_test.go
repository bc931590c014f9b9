//go:build linux

package haproxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// BenchmarkBesideByHand sends requests in turn through a balancer of the driver and through HAProxy with a plain
// configuration written by hand, so that a noisy machine is equally noisy to both. A ratio of 1 is no difference.
func BenchmarkBesideByHand(b *testing.B) {
	for name, kept := range map[string]bool{"kept connections": true, "new connections": false} {
		b.Run(name, func(b *testing.B) {
			s := newStage(b, 2)
			s.apply(b)
			hand := netip.MustParsePrefix("172.24.17.5/24")
			s.byHand(b, hand)
			transport := &http.Transport{DialContext: s.network.dial, MaxIdleConnsPerHost: clients, DisableKeepAlives: !kept}
			b.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			var spent [2]time.Duration
			urls := [2]string{"http://" + vip.Addr().String(), "http://" + hand.Addr().String()}
			for i := range b.N {
				// Who goes first changes, too.
				for _, which := range [2]int{i % 2, 1 - i%2} {
					start := time.Now()
					requests(b, client, urls[which])
					spent[which] += time.Since(start)
				}
			}
			sent := float64(b.N * clients * perClient)
			b.ReportMetric(sent/spent[0].Seconds(), "driver-requests/s")
			b.ReportMetric(sent/spent[1].Seconds(), "byhand-requests/s")
			b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "ratio")
		})
	}
}

const (
	clients   = 4
	perClient = 50
)

// requests has all clients make their requests at the same time.
func requests(b *testing.B, client *http.Client, url string) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range perClient {
				response, err := client.Get(url)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
	wg.Wait()
}

// byHand does what an operator would: a namespace, an address, a file of a dozen lines, and haproxy.
func (s *stage) byHand(b *testing.B, at netip.Prefix) {
	namespace := "byhand-" + filepath.Base(s.host.dir)
	require.NoError(b, netns.Create(namespace))
	b.Cleanup(func() { _ = netns.Delete(namespace) })
	port := s.network.Frontend(b, at).PortID
	require.NoError(b, s.host.Plug(context.Background(), port, namespace, device(port)))
	b.Cleanup(func() { _ = s.host.Unplug(context.Background(), port) })
	nl, err := nl.Handle(namespace)
	require.NoError(b, err)
	defer nl.Close()
	link, err := nl.LinkByName(device(port))
	require.NoError(b, err)
	address, err := netlink.ParseAddr(at.String())
	require.NoError(b, err)
	require.NoError(b, nl.AddrAdd(link, address))
	require.NoError(b, nl.LinkSetMTU(link, 1450))
	require.NoError(b, nl.LinkSetUp(link))
	conf := "global\n maxconn 4000\n user nobody\n group nogroup\ndefaults\n mode http\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n" +
		"frontend f\n bind " + at.Addr().String() + ":80\n default_backend b\nbackend b\n balance roundrobin\n"
	for i, m := range s.want.Members {
		conf += fmt.Sprintf(" server s%d %s:%d\n", i, m.Address, m.Port)
	}
	path := filepath.Join(s.host.dir, "byhand.conf")
	require.NoError(b, os.WriteFile(path, []byte(conf), 0o600))
	command := exec.Command("haproxy", "-db", "-f", path)
	require.NoError(b, netns.Do(namespace, command.Start))
	b.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	require.Eventually(b, func() bool {
		_, err := s.network.Get(context.Background(), netip.AddrPortFrom(at.Addr(), 80))
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
}

// BenchmarkCreate is from nothing to the first answer through the balancer, and away again.
func BenchmarkCreate(b *testing.B) {
	s := newStage(b, 2)
	for b.Loop() {
		s.apply(b)
		_, err := s.network.Get(context.Background(), vip80)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.driver.Remove(context.Background(), s.want.ID))
		b.StartTimer()
	}
}

func BenchmarkApplyUnchanged(b *testing.B) {
	s := newStage(b, 2)
	s.apply(b)
	for b.Loop() {
		s.apply(b)
	}
}

// BenchmarkMemberInAndOut adds a member and takes it out.
func BenchmarkMemberInAndOut(b *testing.B) {
	s := newStage(b, 2)
	s.apply(b)
	two := s.want.Members
	three := append(two[:2:2], driver.Member{ID: uuid.NewString(), Address: netip.MustParseAddr("172.24.17.99"), Port: 80, Weight: 1})
	for b.Loop() {
		s.want.Members = three
		s.apply(b)
		s.want.Members = two
		s.apply(b)
	}
}

// BenchmarkReload changes what only a new process can be told.
func BenchmarkReload(b *testing.B) {
	s := newStage(b, 2)
	s.apply(b)
	for b.Loop() {
		s.want.Frontend.ConnectionLimit = 1000 + (s.want.Frontend.ConnectionLimit+1)%2
		s.apply(b)
	}
}

func BenchmarkStatus(b *testing.B) {
	s := newStage(b, 2)
	s.apply(b)
	for b.Loop() {
		_, err := s.driver.Status(context.Background(), s.want.ID)
		require.NoError(b, err)
	}
}
