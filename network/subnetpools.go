package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// SubnetPool is where subnets take their CIDRs from.
type SubnetPool struct {
	Meta
	Prefixes                            []netip.Prefix
	DefaultLength, MinLength, MaxLength int
	Shared, Default                     bool
	// Quota bounds what a project may take: addresses (IPv4) or /64s (IPv6). Nil is no bound. It is recorded only.
	Quota *int
}

// SubnetPoolSpec is what to create or change; nil is the default, or unchanged.
type SubnetPoolSpec struct {
	ProjectID                                  string
	Name, Description                          *string
	Prefixes                                   *[]netip.Prefix
	DefaultLength, MinLength, MaxLength, Quota *int
	Shared, Default                            *bool
}

// Version is 4 or 6.
func (p *SubnetPool) Version() int {
	if len(p.Prefixes) > 0 && p.Prefixes[0].Addr().Is6() {
		return 6
	}
	return 4
}

var poolAttributes = attributes(map[string]attribute{"shared": {kind: boolean}, "is_default": {kind: boolean}, "ip_version": {kind: integer},
	"default_prefixlen": {kind: integer}, "min_prefixlen": {kind: integer}, "max_prefixlen": {kind: integer}})

// CreateSubnetPool makes a pool.
func (s *Service) CreateSubnetPool(ctx context.Context, scope Scope, spec SubnetPoolSpec) (*SubnetPool, error) {
	project, err := scope.owner(spec.ProjectID, "create_subnetpool")
	if err != nil {
		return nil, err
	}
	var made *SubnetPool
	err = s.update(ctx, func(tx *record.Tx) error {
		if err := s.charge(tx, project, "subnetpool", 1); err != nil {
			return err
		}
		p := &SubnetPool{Meta: s.newMeta(project, spec.Name, spec.Description)}
		if spec.Prefixes == nil || len(*spec.Prefixes) == 0 {
			return refuse(ErrInvalid, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
		}
		p.MinLength, p.MaxLength = 8, 32
		if (*spec.Prefixes)[0].Addr().Is6() {
			p.MinLength, p.MaxLength = 64, 128
		}
		if err := p.change(scope, &spec); err != nil {
			return err
		}
		made = p
		return s.pools.Insert(tx, p)
	})
	return made, err
}

func (p *SubnetPool) change(scope Scope, spec *SubnetPoolSpec) error {
	if !scope.Admin && (spec.Shared != nil && *spec.Shared || spec.Default != nil && *spec.Default) {
		return forbidden("create_subnetpool:shared")
	}
	set(&p.Shared, spec.Shared)
	set(&p.Default, spec.Default)
	set(&p.MinLength, spec.MinLength)
	set(&p.MaxLength, spec.MaxLength)
	set(&p.DefaultLength, spec.DefaultLength)
	if spec.Quota != nil {
		p.Quota = spec.Quota
	}
	if spec.Prefixes != nil {
		for _, old := range p.Prefixes {
			if !slices.ContainsFunc(*spec.Prefixes, func(n netip.Prefix) bool { return n.Bits() <= old.Bits() && n.Contains(old.Addr()) }) {
				return refuse(ErrInvalid, "IllegalSubnetPoolPrefixUpdate", "Illegal update to prefixes: existing prefixes must be subsets of the new.")
			}
		}
		p.Prefixes = nil
		for _, n := range *spec.Prefixes {
			if n.Addr().Is4() != (*spec.Prefixes)[0].Addr().Is4() {
				return refuse(ErrInvalid, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
			}
			p.Prefixes = append(p.Prefixes, n.Masked())
		}
	}
	if p.DefaultLength == 0 {
		p.DefaultLength = p.MinLength
	}
	if p.MinLength > p.MaxLength || p.DefaultLength < p.MinLength || p.DefaultLength > p.MaxLength || p.MaxLength > p.Prefixes[0].Addr().BitLen() || p.MinLength < 1 {
		return refuse(ErrInvalid, "IllegalSubnetPoolPrefixBounds", "Illegal prefix bounds: min_prefixlen=%d, default_prefixlen=%d, max_prefixlen=%d.", p.MinLength, p.DefaultLength, p.MaxLength)
	}
	return nil
}

// UpdateSubnetPool changes a pool.
func (s *Service) UpdateSubnetPool(ctx context.Context, scope Scope, id string, spec SubnetPoolSpec) (*SubnetPool, error) {
	var changed *SubnetPool
	err := s.update(ctx, func(tx *record.Tx) error {
		p, err := s.visiblePool(tx, scope, id)
		if err != nil {
			return err
		}
		if !scope.owns(&p.Meta) {
			return forbidden("update_subnetpool")
		}
		p.update(s.now(), spec.Name, spec.Description)
		if err := p.change(scope, &spec); err != nil {
			return err
		}
		changed = p
		return s.pools.Update(tx, p)
	})
	return changed, err
}

// DeleteSubnetPool removes a pool that no subnet came from.
func (s *Service) DeleteSubnetPool(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		p, err := s.visiblePool(tx, scope, id)
		if err != nil {
			return err
		}
		if !scope.owns(&p.Meta) {
			return forbidden("delete_subnetpool")
		}
		used, err := s.subnets.Count(tx, record.Eq("subnetpool_id", id))
		if err != nil {
			return err
		}
		if used > 0 {
			return refuse(ErrInUse, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations.")
		}
		return s.pools.Delete(tx, id)
	})
}

// SubnetPool returns a pool that the scope can see.
func (s *Service) SubnetPool(ctx context.Context, scope Scope, id string) (*SubnetPool, error) {
	return s.visiblePool(s.store.Read(ctx), scope, id)
}

// SubnetPools lists the scope's pools and shared ones.
func (s *Service) SubnetPools(ctx context.Context, scope Scope, q Query) ([]SubnetPool, error) {
	var visible []record.Condition
	if !scope.Admin {
		visible = append(visible, record.Any(record.Eq("project_id", scope.ProjectID), record.Eq("shared", true)))
	}
	return list(ctx, s, s.pools, poolAttributes, q, visible...)
}

func (s *Service) visiblePool(tx *record.Tx, scope Scope, id string) (*SubnetPool, error) {
	p, err := s.pools.Get(tx, id)
	if err == nil && !scope.owns(&p.Meta) && !p.Shared {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		return nil, refuse(ErrNotFound, "SubnetPoolNotFound", "Subnet pool %s could not be found.", id)
	}
	return p, err
}

// takeFromPool gives the subnet a CIDR of its pool: the one that is asked for, or the first free one of the length.
func (s *Service) takeFromPool(tx *record.Tx, scope Scope, n *Subnet, spec *SubnetSpec) error {
	p, err := s.visiblePool(tx, scope, spec.SubnetPoolID)
	if err != nil {
		return err
	}
	taken, err := s.subnets.List(tx, record.Query{Where: []record.Condition{record.Eq("subnetpool_id", p.ID)}})
	if err != nil {
		return err
	}
	length := spec.PrefixLength
	if n.CIDR.IsValid() {
		length = n.CIDR.Bits()
	} else if length == 0 {
		length = p.DefaultLength
	}
	if length < p.MinLength || length > p.MaxLength {
		return refuse(ErrInvalid, "SubnetPrefixLength", "Unable to allocate subnet with prefix length %d, allowed are %d to %d.", length, p.MinLength, p.MaxLength)
	}
	free := func(c netip.Prefix) bool {
		return !slices.ContainsFunc(taken, func(t Subnet) bool { return t.CIDR.Overlaps(c) })
	}
	for _, prefix := range p.Prefixes {
		if n.CIDR.IsValid() {
			if prefix.Bits() <= length && prefix.Contains(n.CIDR.Addr()) && free(n.CIDR) {
				return nil
			}
			continue
		}
		if found := firstFree(prefix, length, taken); found.IsValid() {
			n.CIDR = found
			return nil
		}
	}
	return refuse(ErrInvalid, "SubnetAllocationError", "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /%d.", length)
}

// firstFree is the first prefix of the length inside p that overlaps none of the subnets.
func firstFree(p netip.Prefix, length int, taken []Subnet) netip.Prefix {
	if length < p.Bits() {
		return netip.Prefix{}
	}
	candidate := netip.PrefixFrom(p.Addr(), length)
	for p.Contains(candidate.Addr()) {
		i := slices.IndexFunc(taken, func(t Subnet) bool { return t.CIDR.Overlaps(candidate) })
		if i < 0 {
			return candidate
		}
		end := last(candidate)
		if other := last(taken[i].CIDR); end.Less(other) {
			end = other
		}
		next := end.Next()
		if !next.IsValid() {
			break
		}
		candidate = netip.PrefixFrom(next, length).Masked()
		if candidate.Addr().Less(next) {
			candidate = netip.PrefixFrom(last(candidate).Next(), length)
		}
	}
	return netip.Prefix{}
}
