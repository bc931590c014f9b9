package shop

import (
	"context"
	"database/sql"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/network"
	_ "modernc.org/sqlite"
)

func TestShop(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "cloud.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	run, stop := context.WithCancel(ctx)
	s, err := Start(run, db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Wait()
	defer stop()

	pools := map[string]string{}
	for _, customer := range []string{"ann", "bob"} { // with the same addresses
		if pools[customer], err = s.Order(ctx, customer); err != nil {
			t.Fatal(err)
		}
	}
	for customer, id := range pools {
		pool, err := s.LBaaS.Pool(ctx, lbaas.Scope{ProjectID: customer}, id)
		if err != nil {
			t.Fatal(err)
		}
		if pool.Status != lbaas.Active || len(pool.MemberIDs) != 2 {
			t.Errorf("%+v", pool)
		}
		seen := map[string]bool{}
		for range 4 {
			m, err := s.Balance.Choose(id, netip.MustParseAddr("10.1.0.77"))
			if err != nil {
				t.Fatal(err)
			}
			seen[m.ID] = true
		}
		if len(seen) != 2 {
			t.Error(seen)
		}
		ports, err := s.Networks.Ports(ctx, network.Scope{ProjectID: customer}, network.Query{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			t.Log(p.Name, p.DeviceOwner, p.DeviceID, p.Status, p.HostID, p.FixedIPs)
		}
	}
	var vip string
	if err := db.QueryRow("SELECT vip FROM orders WHERE id = 'ann'").Scan(&vip); err != nil {
		t.Fatal(err)
	}
	t.Log(vip)

	// All of it can be watched, from the beginning.
	want := map[string]bool{"network/created": true, "subnet/created": true, "port/created": true, "pool/updated": true, "vip/created": true}
	filter := event.Filter{ProjectIDs: []string{"ann"}}
	for e, err := range s.Events().Watch(ctx, event.Position{"network": 0, "lbaas": 0}) {
		if err != nil {
			t.Fatal(err)
		}
		if filter.Match(e) {
			delete(want, e.Type+"/"+string(e.Action))
		}
		if len(want) == 0 {
			break
		}
	}
	if len(want) != 0 {
		t.Error(want)
	}
}
