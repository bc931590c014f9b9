//go:build linux

package ovsgre

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// The tunnel bridge's ports, by numbers that are asked for when they are made.
const (
	patchPort  = 1
	tunnelPort = 2
)

// The tunnel bridge's tables, numbered as OpenStack's agents do.
const (
	inputTable     = 0
	kindTable      = 2  // parts unicast from the rest
	tunnelTable    = 4  // takes in what tunnels bring
	learnTable     = 10 // learns from it who is where
	unicastTable   = 20 // sends to who is known
	multicastTable = 22 // floods
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

// flowChange is what one bundle does: it first deletes, then adds.
type flowChange struct {
	delete []*ovs.MatchFlow
	add    []*ovs.Flow
}

func (c *flowChange) append(other flowChange) {
	c.delete = append(c.delete, other.delete...)
	c.add = append(c.add, other.add...)
}

// baseFlows are those of the tunnel bridge that all networks share, with the cookie 0.
func baseFlows() flowChange {
	return flowChange{
		delete: []*ovs.MatchFlow{
			{Table: inputTable}, {Table: kindTable}, {Table: learnTable}, {Table: unicastTable},
			{Table: tunnelTable, CookieMask: math.MaxUint64}, {Table: multicastTable, CookieMask: math.MaxUint64},
		},
		add: []*ovs.Flow{
			{Table: inputTable, Priority: 1, InPort: patchPort, Actions: []ovs.Action{ovs.Resubmit(0, kindTable)}},
			{Table: inputTable, Priority: 1, InPort: tunnelPort, Actions: []ovs.Action{ovs.Resubmit(0, tunnelTable)}},
			{Table: inputTable, Actions: []ovs.Action{ovs.Drop()}},
			{Table: kindTable, Matches: groupBit("00:00:00:00:00:00"), Actions: []ovs.Action{ovs.Resubmit(0, unicastTable)}},
			{Table: kindTable, Matches: groupBit("01:00:00:00:00:00"), Actions: []ovs.Action{ovs.Resubmit(0, multicastTable)}},
			{Table: tunnelTable, Actions: []ovs.Action{ovs.Drop()}},
			{Table: learnTable, Priority: 1, Actions: []ovs.Action{ovs.Learn(learnedFlow()), ovs.Output(patchPort)}},
			{Table: unicastTable, Actions: []ovs.Action{ovs.Resubmit(0, multicastTable)}},
			{Table: multicastTable, Actions: []ovs.Action{ovs.Drop()}},
		},
	}
}

// groupBit matches the destination's bit that tells groups, broadcast among them, from single stations.
func groupBit(value string) []ovs.Match {
	return []ovs.Match{ovs.DataLinkDestination(value + "/01:00:00:00:00:00")}
}

// learnedFlow sends what is for a frame's source, in the frame's network, back to where the frame came from.
func learnedFlow() *ovs.LearnedFlow {
	const vlan = "NXM_OF_VLAN_TCI[0..11]"
	return &ovs.LearnedFlow{
		Table: unicastTable, Priority: 1, HardTimeout: 300,
		Matches: []ovs.Match{ovs.FieldMatch(vlan, vlan), ovs.FieldMatch("NXM_OF_ETH_DST[]", "NXM_OF_ETH_SRC[]")},
		Actions: []ovs.Action{
			ovs.Load("0", "NXM_OF_VLAN_TCI[]"),
			ovs.Load("NXM_NX_TUN_ID[]", "NXM_NX_TUN_ID[]"),
			ovs.Load("NXM_NX_TUN_IPV4_SRC[]", "NXM_NX_TUN_IPV4_DST[]"),
			ovs.OutputField("NXM_OF_IN_PORT[]"),
		},
	}
}

// flows replace those of the network. The tag is their cookie.
func (r networkRecord) flows() flowChange {
	change := r.withdrawal()
	change.add = append(change.add, &ovs.Flow{
		Table: tunnelTable, Priority: 1, Cookie: uint64(r.Tag), Matches: []ovs.Match{ovs.TunnelID(uint64(r.Segment))},
		Actions: []ovs.Action{ovs.ModVLANVID(r.Tag), ovs.Resubmit(0, learnTable)},
	})
	if len(r.Peers) == 0 {
		return change
	}
	flood := []ovs.Action{ovs.StripVLAN(), ovs.SetField(strconv.FormatUint(uint64(r.Segment), 10), "tun_id")}
	for _, peer := range r.Peers {
		flood = append(flood, ovs.SetField(peer.String(), "tun_dst"), ovs.Output(tunnelPort))
	}
	change.add = append(change.add, &ovs.Flow{
		Table: multicastTable, Priority: 1, Cookie: uint64(r.Tag), Matches: []ovs.Match{ovs.DataLinkVLAN(r.Tag)}, Actions: flood,
	})
	return change
}

// withdrawal removes the network's flows, and what was learned of its hosts.
func (r networkRecord) withdrawal() flowChange {
	return flowChange{delete: []*ovs.MatchFlow{
		{Table: ovs.AnyTable, Cookie: uint64(r.Tag)},
		{Table: unicastTable, Matches: []ovs.Match{ovs.VLANTCI(uint16(r.Tag), 0xfff)}},
	}}
}
