//go:build linux

package netnsrouter

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
)

// A router's rules are in one table. What changes often, the floating IPs, is in two maps, so that a change
// of one is a change of two elements; the rules themselves change with the gateway and the metadata port only.
const (
	tableName = "router"
	// inMap leads from external to inner addresses, outMap back.
	inMap  = "floating_in"
	outMap = "floating_out"
)

// elementsPerMessage keeps a message's list of elements within netlink's 64 KiB for one attribute.
const elementsPerMessage = 500

type ruleset struct {
	conn   *nftables.Conn
	table  *nftables.Table
	chains []*nftables.Chain
	exists bool
}

// translate brings the table in the calling thread's namespace to the plan, in one transaction, and returns the
// external addresses that lead to another server than before.
func (p *plan) translate() (moved []netip.Addr, err error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseLasting() }()
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, err
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	r := ruleset{conn: conn, table: table, chains: chains(table)}
	r.exists = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName })
	if !r.exists {
		conn.AddTable(table)
		for _, chain := range r.chains {
			conn.AddChain(chain)
		}
	}
	in, out := p.mappings()
	have, err := r.setMap(inMap, in)
	if err != nil {
		return nil, err
	}
	if _, err := r.setMap(outMap, out); err != nil {
		return nil, err
	}
	for _, chain := range r.chains {
		if err := r.setRules(chain, p.rules(chain.Name)); err != nil {
			return nil, err
		}
	}
	for external, inner := range have {
		if now, stays := in[external]; stays && now != inner {
			moved = append(moved, external)
		}
	}
	return moved, conn.Flush()
}

// mappings of external to inner addresses and back. An inner address with several external ones
// appears outside as the lowest.
func (p *plan) mappings() (in, out map[netip.Addr]netip.Addr) {
	out = make(map[netip.Addr]netip.Addr, len(p.floating))
	for external, inner := range p.floating {
		if other, ok := out[inner]; !ok || external.Less(other) {
			out[inner] = external
		}
	}
	return p.floating, out
}

// setMap makes a map's elements those wanted and returns those that it had.
func (r *ruleset) setMap(name string, want map[netip.Addr]netip.Addr) (map[netip.Addr]netip.Addr, error) {
	set := &nftables.Set{
		Table: r.table, Name: name, IsMap: true,
		KeyType: nftables.TypeIPAddr, DataType: nftables.TypeIPAddr,
	}
	have := make(map[netip.Addr]netip.Addr)
	if r.exists {
		elements, err := r.conn.GetSetElements(set)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			key, _ := netip.AddrFromSlice(e.Key)
			have[key], _ = netip.AddrFromSlice(e.Val)
		}
	} else if err := r.conn.AddSet(set, nil); err != nil {
		return nil, err
	}
	for elements := range slices.Chunk(missing(have, want), elementsPerMessage) {
		if err := r.conn.SetDeleteElements(set, elements); err != nil {
			return nil, err
		}
	}
	for elements := range slices.Chunk(missing(want, have), elementsPerMessage) {
		if err := r.conn.SetAddElements(set, elements); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// missing are the elements of one map that another lacks or has otherwise.
func missing(of, from map[netip.Addr]netip.Addr) []nftables.SetElement {
	var elements []nftables.SetElement
	for key, value := range of {
		if from[key] != value {
			elements = append(elements, nftables.SetElement{Key: key.AsSlice(), Val: value.AsSlice()})
		}
	}
	return elements
}

// setRules makes a chain's rules those wanted. A rule is known by its comment, which is its text.
func (r *ruleset) setRules(chain *nftables.Chain, want []rule) error {
	var have []*nftables.Rule
	if r.exists {
		var err error
		if have, err = r.conn.GetRules(r.table, chain); err != nil {
			return err
		}
	}
	same := slices.EqualFunc(have, want, func(h *nftables.Rule, w rule) bool {
		text, ok := userdata.GetString(h.UserData, userdata.TypeComment)
		return ok && text == w.text
	})
	if same {
		return nil
	}
	if r.exists {
		r.conn.FlushChain(chain)
	}
	for _, w := range want {
		r.conn.AddRule(&nftables.Rule{
			Table: r.table, Chain: chain, Exprs: w.expressions,
			UserData: userdata.AppendString(nil, userdata.TypeComment, w.text),
		})
	}
	return nil
}

func chains(table *nftables.Table) []*nftables.Chain {
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return &nftables.Chain{Table: table, Name: name, Type: kind, Hooknum: hook, Priority: priority}
	}
	return []*nftables.Chain{
		chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
		chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource),
		chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter),
		chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter),
	}
}
