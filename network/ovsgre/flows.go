//go:build linux

package ovsgre

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// The tunnel bridge's ports, by numbers that are asked for when they are made.
const (
	patchPort  = 1
	tunnelPort = 2
)

// networkRecord is what a network needs on this host. It is kept beside the integration bridge in the database.
type networkRecord struct {
	// Tag tells networks apart inside the host: the VLAN tag of their ports on the integration bridge.
	Tag     int          `json:"tag"`
	Segment uint32       `json:"segment"`
	Peers   []netip.Addr `json:"peers"`
}

func (r networkRecord) String() string {
	text, _ := json.Marshal(r)
	return string(text)
}

func (r networkRecord) equal(other networkRecord) bool {
	return r.Tag == other.Tag && r.Segment == other.Segment && slices.Equal(r.Peers, other.Peers)
}

// baseFlows are those of the tunnel bridge that all networks share. Table 2 parts unicast from the rest, 4 takes in
// what tunnels bring, 10 learns from it who is where, 20 sends to who is known, 22 floods.
func baseFlows() []string {
	return []string{
		"delete table=0", "delete table=2", "delete table=10", "delete table=20", "delete table=4,cookie=0/-1", "delete table=22,cookie=0/-1",
		fmt.Sprintf("add table=0,priority=1,in_port=%d actions=resubmit(,2)", patchPort),
		fmt.Sprintf("add table=0,priority=1,in_port=%d actions=resubmit(,4)", tunnelPort),
		"add table=0,priority=0 actions=drop",
		"add table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)",
		"add table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,22)",
		"add table=4,priority=0 actions=drop",
		"add table=10,priority=1 actions=learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11]," +
			"NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[]," +
			"load:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],output:NXM_OF_IN_PORT[])," + fmt.Sprintf("output:%d", patchPort),
		"add table=20,priority=0 actions=resubmit(,22)",
		"add table=22,priority=0 actions=drop",
	}
}

// flows replace those of the network. The tag is their cookie.
func (r networkRecord) flows() []string {
	list := r.withdrawal()
	list = append(list, fmt.Sprintf("add cookie=%d,table=4,priority=1,tun_id=%d actions=mod_vlan_vid:%d,resubmit(,10)", r.Tag, r.Segment, r.Tag))
	if len(r.Peers) == 0 {
		return list
	}
	flood := fmt.Sprintf("add cookie=%d,table=22,priority=1,dl_vlan=%d actions=strip_vlan,set_field:%d->tun_id", r.Tag, r.Tag, r.Segment)
	for _, peer := range r.Peers {
		flood += fmt.Sprintf(",set_field:%s->tun_dst,output:%d", peer, tunnelPort)
	}
	return append(list, flood)
}

// withdrawal removes the network's flows, and what was learned of its hosts.
func (r networkRecord) withdrawal() []string {
	return []string{
		fmt.Sprintf("delete cookie=%d/-1", r.Tag),
		fmt.Sprintf("delete table=20,vlan_tci=0x%03x/0xfff", r.Tag),
	}
}

// push changes the tunnel bridge's flows, all or none. ovs-ofctl is run once for any number of flows.
func (d *daemons) push(ctx context.Context, flows []string) error {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", "--bundle", "-O", "OpenFlow14", "add-flows", d.management(tunnelBridge), "-")
	cmd.Stdin = strings.NewReader(strings.Join(flows, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return missingProgram(fmt.Errorf("push %d flows: %w: %s", len(flows), err, bytes.TrimSpace(out)))
	}
	return nil
}
