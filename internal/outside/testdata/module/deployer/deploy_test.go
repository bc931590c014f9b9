package deployer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/inject"
)

func login(t *testing.T, c *cloudtest.Cloud) *Deployer {
	t.Helper()
	d, err := NewDeployer(t.Context(), c.AuthOptions(), c.EndpointOpts())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Deployer) deploy(ctx context.Context, c *cloudtest.Cloud, name string) (*servers.Server, error) {
	return d.Deploy(ctx, name, c.Seed.FlavorID, c.Seed.ImageID, c.Seed.NetworkID)
}

func noIdle(t *testing.T, c *cloudtest.Cloud) {
	t.Helper()
	if idle := c.Faults.Idle(); len(idle) != 0 {
		t.Errorf("faults never met: %+v", idle)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	c.Faults.Add(inject.Fault{Step: "POST /v2.1/servers", Times: 1, Status: 503, Header: map[string]string{"Retry-After": "1"}})
	begin := time.Now()
	s, err := d.deploy(t.Context(), c, "web")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < time.Second || took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if n := len(c.Faults.Strikes()); n != 1 {
		t.Errorf("%d strikes", n)
	}
	if s.Name != "web" {
		t.Errorf("%+v", s)
	}
	noIdle(t, c)
}

func TestDropped(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	c.Faults.Add(inject.Fault{Step: "GET /v2.1/servers/*", Times: 2, Drop: true})
	if _, err := d.deploy(t.Context(), c, "web"); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Faults.Strikes()); n != 2 {
		t.Errorf("%d strikes: %+v", n, c.Faults.Strikes())
	}
	c.Faults.Add(inject.Fault{Step: "POST /v2.1/servers", Times: 1, Drop: true})
	if _, err := d.deploy(t.Context(), c, "web2"); err == nil {
		t.Error("a dropped POST was no error")
	}
	noIdle(t, c)
}

func TestHangingBuild(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	remove := c.Faults.Add(inject.Fault{Step: "server apply", Resource: "db", Hang: true})
	if _, err := d.deploy(t.Context(), c, "web"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := d.deploy(ctx, c, "db"); !errors.Is(err, ErrSlow) {
		t.Fatal(err)
	}
	remove()
	pages, err := servers.List(d.Compute, servers.ListOpts{Name: "db"}).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := servers.ExtractServers(pages)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if _, err := d.Wait(t.Context(), all[0].ID); err != nil {
		t.Fatal(err)
	}
}

func TestFailedBuild(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	c.Faults.Add(inject.Fault{Step: "server apply", Host: "host1", Err: errors.New("the disk is full")})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := d.deploy(ctx, c, "db")
	if err == nil || s == nil || s.Status != "ERROR" {
		t.Fatal(s, err)
	}
}

func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	before := d.Provider.Token()
	if err := c.Advance(48 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := d.deploy(t.Context(), c, "web"); err != nil {
		t.Fatal(err)
	}
	if d.Provider.Token() == before {
		t.Error("the token is still the same")
	}
}

func TestHostLoss(t *testing.T) {
	t.Parallel()
	c := cloudtest.NewWith(t, &memcloud.Options{Hosts: 2})
	d := login(t, c)
	var ids []string
	for i := range 4 {
		s, err := d.deploy(t.Context(), c, fmt.Sprint("web", i))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	if err := c.Host("host1").Kill(); err != nil {
		t.Fatal(err)
	}
	// The cloud goes on with the other host.
	if _, err := d.deploy(t.Context(), c, "later"); err != nil {
		t.Fatal(err)
	}
	if err := c.Host("host1").Join(); err != nil {
		t.Fatal(err)
	}
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What ran on the lost host is stopped, and can be started.
	lost := 0
	for _, id := range ids {
		if s, err := d.Wait(t.Context(), id); errors.Is(err, ErrStopped) {
			lost++
			if err := servers.Start(t.Context(), d.Compute, id).ExtractErr(); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Wait(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(s, err)
		}
	}
	if lost != 2 {
		t.Errorf("%d servers were lost", lost)
	}
}

// answers says which of thirty requests are answered where four in ten are to fail.
func answers(t *testing.T, seed uint64) (all string) {
	t.Helper()
	c := cloudtest.NewWith(t, &memcloud.Options{
		Faults: inject.New(seed, inject.Fault{Step: "GET /v2.1/flavors/*", Probability: 0.4, Status: 500}),
	})
	d := login(t, c)
	d.Provider.RetryFunc = nil
	for range 30 {
		if _, err := flavors.Get(t.Context(), d.Compute, c.Seed.FlavorID).Extract(); err == nil {
			all += "+"
		} else {
			all += "-"
		}
	}
	return all
}

func TestARunCanBeRepeated(t *testing.T) {
	t.Parallel()
	a, b, other := answers(t, 7), answers(t, 7), answers(t, 8)
	if a != b || a == other {
		t.Errorf("%s\n%s\n%s", a, b, other)
	}
	if n := strings.Count(a, "-"); n < 5 || n > 20 {
		t.Errorf("%d of 30 failed", n)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	d := login(t, c)
	sources := event.Sources{"compute": c.Compute, "network": c.Network}
	position, err := sources.Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.deploy(t.Context(), c, "web")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ports := 0
	for e, err := range sources.Watch(ctx, position) {
		if err != nil {
			t.Fatal(err)
		}
		position.Advance(e)
		if e.Type == "port" && e.Action == event.Created {
			ports++
		}
		if e.ID == s.ID && e.Status == "ACTIVE" {
			break
		}
	}
	if ctx.Err() != nil || position["compute"] == 0 {
		t.Error(position, ctx.Err())
	}
	t.Log(position, ports)
}
