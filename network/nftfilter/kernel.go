//go:build linux

package nftfilter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/mdlayher/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	tableName = "kintoun"
	// version marks the base rules; another version's are replaced.
	version = "kintoun-1"

	// Bits of a packet's mark, between the bridge's judgement and that of its connection.
	markGuarded   = 0x01000000
	markStateOnly = 0x02000000
	// Bit of a connection's mark: no rule allows it any more.
	markCut = 0x00000001

	// Connection tracking zones are numbered from here on.
	firstZone, lastZone = 20000, 65535

	// socketBuffer has to hold a whole transaction, and the answers to it.
	socketBuffer = 16 << 20
)

// typeZone is a conntrack zone in a map, a number of 16 bits.
var typeZone = func() nftables.SetDatatype {
	t := nftables.TypeInteger
	t.Bytes = 2
	return t
}()

// kernel is a connection to one namespace's packet filter for the length of one operation.
type kernel struct {
	conn         *nftables.Conn
	ns           vnetns.NsHandle
	bridge, inet *nftables.Table
	// zones gives each guarded bridge its conntrack zone; hosts are the bridges' own MACs.
	zones, hosts *nftables.Set
	// dispatch finds the chain for a bridge port: who it may claim to be, what it may send, what it may receive.
	sources, senders, receivers *nftables.Set
}

func (f *Filters) open() (*kernel, error) {
	k := &kernel{ns: vnetns.None()}
	opts := []nftables.ConnOption{nftables.WithSockOptions(enlarge)}
	if f.namespace != "" {
		ns, err := vnetns.GetFromName(f.namespace)
		if err != nil {
			return nil, fmt.Errorf("network namespace %s: %w", f.namespace, err)
		}
		k.ns = ns
		opts = append(opts, nftables.WithNetNSFd(int(ns)))
	}
	conn, err := nftables.New(append(opts, nftables.AsLasting())...)
	if err != nil {
		return nil, errors.Join(err, k.ns.Close())
	}
	k.conn = conn
	k.bridge = &nftables.Table{Family: nftables.TableFamilyBridge, Name: tableName}
	k.inet = &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	dispatch := func(name string) *nftables.Set {
		return &nftables.Set{Table: k.bridge, Name: name, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict}
	}
	k.sources, k.senders, k.receivers = dispatch("sources"), dispatch("senders"), dispatch("receivers")
	k.zones = &nftables.Set{Table: k.inet, Name: "zones", IsMap: true, KeyType: nftables.TypeIFName, DataType: typeZone}
	k.hosts = &nftables.Set{Table: k.inet, Name: "hosts", KeyType: nftables.TypeEtherAddr}
	return k, nil
}

// enlarge gives a netlink socket room.
func enlarge(c *netlink.Conn) error {
	return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
}

func (k *kernel) close() {
	_ = k.conn.CloseLasting()
	if k.ns.IsOpen() {
		_ = k.ns.Close()
	}
}

// A record is what is known of a port's guard: the comment of the only rule of a chain that nothing jumps to.
type record struct{ device, bridge, digest string }

func digest(want driver.Filter) string {
	// Plain values always marshal.
	text, _ := json.Marshal(want)
	sum := sha256.Sum256(append(text, version...))
	return hex.EncodeToString(sum[:16])
}

// record reads a port's record; nil if the port is not guarded.
func (k *kernel) record(portID string) (*record, error) {
	rules, err := k.conn.GetRules(k.bridge, &nftables.Chain{Table: k.bridge, Name: "record-" + portID})
	if errors.Is(err, unix.ENOENT) || (err == nil && len(rules) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	text, _ := userdata.GetString(rules[0].UserData, userdata.TypeComment)
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return nil, fmt.Errorf("record of port %s is %q, not ours", portID, text)
	}
	return &record{device: fields[0], bridge: fields[1], digest: fields[2]}, nil
}

func (k *kernel) writeRecord(portID string, r record) {
	chain := k.conn.AddChain(&nftables.Chain{Table: k.bridge, Name: "record-" + portID})
	k.conn.FlushChain(chain)
	k.conn.AddRule(&nftables.Rule{Table: k.bridge, Chain: chain, Exprs: accept,
		UserData: userdata.AppendString(nil, userdata.TypeComment, strings.Join([]string{r.device, r.bridge, r.digest}, " "))})
}

// ensureBase makes the tables, maps and hooks that all ports share.
func (k *kernel) ensureBase() error {
	rules, err := k.conn.GetRules(k.bridge, &nftables.Chain{Table: k.bridge, Name: "version"})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("read rules: %w", err)
	}
	if len(rules) > 0 {
		if text, _ := userdata.GetString(rules[0].UserData, userdata.TypeComment); text == version {
			return nil
		}
	}
	for _, table := range []*nftables.Table{k.bridge, k.inet} {
		// Adding first makes the removal succeed where there was none.
		k.conn.AddTable(table)
		k.conn.DelTable(table)
		k.conn.AddTable(table)
	}
	for _, set := range []*nftables.Set{k.sources, k.senders, k.receivers, k.zones, k.hosts} {
		if err := k.conn.AddSet(set, nil); err != nil {
			return err
		}
	}
	k.bridgeHooks()
	k.inetHooks()
	mark := k.conn.AddChain(&nftables.Chain{Table: k.bridge, Name: "version"})
	k.conn.AddRule(&nftables.Rule{Table: k.bridge, Chain: mark, Exprs: accept, UserData: userdata.AppendString(nil, userdata.TypeComment, version)})
	if err := k.conn.Flush(); err != nil {
		return needs(err)
	}
	return nil
}

// bridgeHooks send each frame through its ports' chains: a false sender is stopped before the bridge learns from the
// frame; the rules are for whole packets, when br_netfilter has put fragments together, and before it hands them to
// the IP hooks.
func (k *kernel) bridgeHooks() {
	const beforeNetfilter = -200
	clear := changeMark(markGuarded|markStateOnly, 0)
	send := lookup(expr.MetaKeyIIFNAME, k.senders, true)
	k.hook(k.bridge, "prerouting", nftables.ChainHookPrerouting, beforeNetfilter, lookup(expr.MetaKeyIIFNAME, k.sources, true))
	k.hook(k.bridge, "forward", nftables.ChainHookForward, beforeNetfilter, clear, send, lookup(expr.MetaKeyOIFNAME, k.receivers, true))
	k.hook(k.bridge, "input", nftables.ChainHookInput, beforeNetfilter, clear, send)
}

// inetHooks set each packet's zone, before fragments are put together, and judge what the bridge's hooks marked. What
// is for the host itself, or for it to route, stays in the host's own zone, where its firewall and translation look.
func (k *kernel) inetHooks() {
	const beforeDefragmentation, beforeFilters = -450, -10
	forHost := match{
		payload(expr.PayloadBaseLLHeader, 0, 6),
		&expr.Lookup{SourceRegister: 1, SetName: k.hosts.Name, SetID: k.hosts.ID}, accept[0],
	}
	zone := append(lookup(expr.MetaKeyIIFNAME, k.zones, false), &expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true})
	k.hook(k.inet, "zone", nftables.ChainHookPrerouting, beforeDefragmentation, forHost, zone)
	judgement := []match{
		append(markIs(markGuarded, false), accept...),
		append(connection(stateInvalid), drop...),
		append(connectionMark(markCut), drop...),
		append(markIs(markStateOnly, false), accept...),
		append(connection(stateEstablished|stateRelated), accept...),
		drop,
	}
	k.hook(k.inet, "forward", nftables.ChainHookForward, beforeFilters, judgement...)
	k.hook(k.inet, "input", nftables.ChainHookInput, beforeFilters, judgement...)
}

func (k *kernel) hook(table *nftables.Table, name string, where *nftables.ChainHook, priority int, rules ...match) {
	p := nftables.ChainPriority(priority)
	chain := k.conn.AddChain(&nftables.Chain{Table: table, Name: name, Type: nftables.ChainTypeFilter, Hooknum: where, Priority: &p})
	for _, r := range rules {
		k.conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
	}
}

// lookup finds an interface's entry in a map: a verdict, or a value that is left in register 1.
func lookup(key expr.MetaKey, set *nftables.Set, isVerdict bool) match {
	find := &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, DestRegister: 1, IsDestRegSet: true}
	if isVerdict {
		find.DestRegister = unix.NFT_REG_VERDICT
	}
	return match{&expr.Meta{Key: key, Register: 1}, find}
}

// ensureZone returns the bridge's conntrack zone, and whether it is fresh: no connection can be in it.
func (k *kernel) ensureZone(bridge string, mac net.HardwareAddr) (zone uint16, fresh bool, err error) {
	used, err := k.usedZones()
	if err != nil {
		return 0, false, err
	}
	if zone, ok := used[bridge]; ok {
		return zone, false, nil
	}
	taken := make(map[uint16]bool, len(used))
	for _, zone := range used {
		taken[zone] = true
	}
	for n := firstZone; n <= lastZone; n++ {
		if !taken[uint16(n)] {
			return uint16(n), true, k.addZone(bridge, uint16(n), mac)
		}
	}
	return 0, false, fault.Wrap(ErrExhausted, "no conntrack zone is free for bridge %s", bridge)
}

func (k *kernel) addZone(bridge string, zone uint16, mac net.HardwareAddr) error {
	if err := k.conn.SetAddElements(k.hosts, []nftables.SetElement{{Key: mac, Comment: bridge}}); err != nil {
		return err
	}
	return k.conn.SetAddElements(k.zones, []nftables.SetElement{{Key: interfaceName(bridge), Val: native16(zone)}})
}

func (k *kernel) dropZone(bridge string, zone uint16) error {
	hosts, err := k.conn.GetSetElements(k.hosts)
	if err != nil {
		return fmt.Errorf("read the bridges' MACs: %w", err)
	}
	for _, host := range hosts {
		if host.Comment != bridge {
			continue
		}
		if err := k.conn.SetDeleteElements(k.hosts, []nftables.SetElement{{Key: host.Key}}); err != nil {
			return err
		}
	}
	return k.conn.SetDeleteElements(k.zones, []nftables.SetElement{{Key: interfaceName(bridge), Val: native16(zone)}})
}

func (k *kernel) usedZones() (map[string]uint16, error) {
	elements, err := k.conn.GetSetElements(k.zones)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read zones: %w", err)
	}
	zones := make(map[string]uint16, len(elements))
	for _, e := range elements {
		if len(e.Val) < 2 {
			return nil, fmt.Errorf("zone of bridge %q has %d bytes", e.Key, len(e.Val))
		}
		zones[strings.TrimRight(string(e.Key), "\x00")] = binary.NativeEndian.Uint16(e.Val)
	}
	return zones, nil
}

// guardedBridges are those that a guarded port is on.
func (k *kernel) guardedBridges() (map[string]bool, error) {
	elements, err := k.conn.GetSetElements(k.sources)
	if err != nil {
		return nil, fmt.Errorf("read ports: %w", err)
	}
	bridges := make(map[string]bool, len(elements))
	for _, e := range elements {
		bridges[e.Comment] = true
	}
	return bridges, nil
}
