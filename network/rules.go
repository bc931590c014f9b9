package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// SecurityGroupRuleSpec is a rule to create.
type SecurityGroupRuleSpec struct {
	ProjectID   string
	Description *string
	GroupID     string
	Direction   string
	// EtherType is "IPv4" if empty.
	EtherType        string
	Protocol         string
	PortMin, PortMax *int
	RemoteGroupID    string
	RemotePrefix     netip.Prefix
}

// protocols are the names that the API takes, with their numbers (IANA, protocol numbers).
var protocols = map[string]uint8{
	"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "igmp": 2, "ipip": 4, "ipv6-encap": 41,
	"ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6,
	"udp": 17, "udplite": 136, "vrrp": 112, "hopopt": 0,
}

const (
	protocolICMP   = 1
	protocolICMPv6 = 58
)

// protocolNumber is a rule's protocol; zero is any. In IPv6 rules "icmp" means ICMPv6.
func (r *SecurityGroupRule) protocolNumber() (uint8, error) {
	name := strings.ToLower(r.Protocol)
	if name == "" || name == "any" {
		return 0, nil
	}
	n, known := protocols[name]
	if !known {
		parsed, err := strconv.ParseUint(name, 10, 8)
		if err != nil {
			return 0, refuse(ErrInvalid, "SecurityGroupRuleInvalidProtocol", "Security group rule protocol %s not supported. Only protocol values and integer representations [0 to 255] are supported.", r.Protocol)
		}
		n = uint8(parsed)
	}
	if n == protocolICMP && r.EtherType == "IPv6" {
		n = protocolICMPv6
	}
	return n, nil
}

// canonical is what makes two rules the same.
func (r *SecurityGroupRule) canonical() string {
	number, _ := r.protocolNumber()
	bound := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	return strings.Join([]string{r.Direction, r.EtherType, strconv.Itoa(int(number)), bound(r.PortMin), bound(r.PortMax), r.RemoteGroupID, prefixText(r.RemotePrefix)}, " ")
}

// CreateSecurityGroupRule adds a rule to a group.
func (s *Service) CreateSecurityGroupRule(ctx context.Context, scope Scope, spec SecurityGroupRuleSpec) (*SecurityGroupRule, error) {
	made, err := s.CreateSecurityGroupRules(ctx, scope, []SecurityGroupRuleSpec{spec})
	if err != nil {
		return nil, err
	}
	return &made[0], nil
}

// CreateSecurityGroupRules adds all of the rules or none.
func (s *Service) CreateSecurityGroupRules(ctx context.Context, scope Scope, specs []SecurityGroupRuleSpec) ([]SecurityGroupRule, error) {
	var made []SecurityGroupRule
	err := s.update(ctx, func(tx *record.Tx) error {
		made = nil
		for _, spec := range specs {
			r, err := s.newRule(tx, scope, spec)
			if err != nil {
				return err
			}
			made = append(made, *r)
		}
		return nil
	})
	return made, err
}

func (s *Service) newRule(tx *record.Tx, scope Scope, spec SecurityGroupRuleSpec) (*SecurityGroupRule, error) {
	if _, err := scope.owner(spec.ProjectID, "create_security_group_rule"); err != nil {
		return nil, err
	}
	g, err := s.ownGroup(tx, scope, spec.GroupID)
	if err != nil {
		return nil, err
	}
	r := &SecurityGroupRule{Meta: s.newMeta(g.ProjectID, nil, spec.Description), GroupID: g.ID, Direction: spec.Direction, EtherType: spec.EtherType,
		Protocol: strings.ToLower(spec.Protocol), PortMin: spec.PortMin, PortMax: spec.PortMax, RemoteGroupID: spec.RemoteGroupID, RemotePrefix: spec.RemotePrefix}
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.RemoteGroupID != "" {
		if _, err := s.ownGroup(tx, scope, r.RemoteGroupID); err != nil {
			return nil, err
		}
	}
	if err := s.charge(tx, g.ProjectID, "security_group_rule", 1); err != nil {
		return nil, err
	}
	twin, err := s.store.Holder(tx, "rule/"+g.ID, r.canonical())
	if err != nil {
		return nil, err
	}
	if twin != "" {
		return nil, refuse(ErrConflict, "SecurityGroupRuleExists", "Security group rule already exists. Rule id is %s.", twin)
	}
	if err := s.rules.Insert(tx, r); err != nil {
		return nil, err
	}
	return r, s.groupChanged(tx, g.ID)
}

// groupChanged notes that a group's rules are others now.
func (s *Service) groupChanged(tx *record.Tx, id string) error {
	_, err := s.groups.Modify(tx, id, func(g *SecurityGroup) error { g.touch(s.now()); return nil })
	return err
}

func (r *SecurityGroupRule) check() error {
	if r.Direction != "ingress" && r.Direction != "egress" {
		return invalid("Invalid input for direction. Reason: '%s' is not in ['ingress', 'egress']", r.Direction)
	}
	switch strings.ToLower(r.EtherType) {
	case "", "ipv4":
		r.EtherType = "IPv4"
	case "ipv6":
		r.EtherType = "IPv6"
	default:
		return refuse(ErrInvalid, "SecurityGroupRuleInvalidEtherType", "Security group rule for ethertype '%s' not supported. Allowed values are ['IPv4', 'IPv6'].", r.EtherType)
	}
	if r.RemoteGroupID != "" && r.RemotePrefix.IsValid() {
		return refuse(ErrInvalid, "SecurityGroupMultipleRemoteEntites", "Only remote_ip_prefix or remote_group_id may be provided.")
	}
	if r.RemotePrefix.IsValid() && r.RemotePrefix.Addr().Is4() != (r.EtherType == "IPv4") {
		return refuse(ErrInvalid, "SecurityGroupRuleParameterConflict", "Conflicting value ethertype %s for CIDR %s", r.EtherType, r.RemotePrefix)
	}
	r.RemotePrefix = r.RemotePrefix.Masked()
	number, err := r.protocolNumber()
	if err != nil {
		return err
	}
	if r.EtherType == "IPv4" && number == protocolICMPv6 || number != 0 && r.EtherType == "IPv4" && strings.HasPrefix(r.Protocol, "ipv6-") {
		return refuse(ErrInvalid, "SecurityGroupEthertypeConflictWithProtocol", "Invalid ethertype IPv4 for protocol %s.", r.Protocol)
	}
	return r.checkPorts(number)
}

func (r *SecurityGroupRule) checkPorts(protocol uint8) error {
	if r.PortMin == nil && r.PortMax == nil {
		return nil
	}
	switch protocol {
	case 0:
		return refuse(ErrInvalid, "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")
	case protocolICMP, protocolICMPv6:
		for name, n := range map[string]*int{"port_range_min": r.PortMin, "port_range_max": r.PortMax} {
			if n != nil && (*n < 0 || *n > 255) {
				return refuse(ErrInvalid, "SecurityGroupInvalidIcmpValue", "Invalid value for ICMP %s (%s) %d. It must be 0 to 255.", map[bool]string{true: "type", false: "code"}[name == "port_range_min"], name, *n)
			}
		}
		if r.PortMin == nil {
			return refuse(ErrInvalid, "SecurityGroupMissingIcmpType", "ICMP code (port-range-max) %d is provided but ICMP type (port-range-min) is missing.", *r.PortMax)
		}
		return nil
	case protocols["tcp"], protocols["udp"], protocols["sctp"], protocols["dccp"], protocols["udplite"]:
	default:
		return refuse(ErrInvalid, "SecurityGroupInvalidProtocolForPort", "Invalid protocol %s for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.", r.Protocol)
	}
	for _, n := range []*int{r.PortMin, r.PortMax} {
		if n != nil && (*n < 0 || *n > 65535) {
			return refuse(ErrInvalid, "SecurityGroupInvalidPortValue", "Invalid value for port %d", *n)
		}
	}
	if r.PortMin == nil || r.PortMax == nil || *r.PortMin > *r.PortMax {
		return refuse(ErrInvalid, "SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max")
	}
	return nil
}

// DeleteSecurityGroupRule removes a rule.
func (s *Service) DeleteSecurityGroupRule(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		r, err := s.visibleRule(tx, scope, id)
		if err != nil {
			return err
		}
		return s.dropRule(tx, r)
	})
}

func (s *Service) dropRule(tx *record.Tx, r *SecurityGroupRule) error {
	if err := s.rules.Delete(tx, r.ID); err != nil {
		return err
	}
	return s.groupChanged(tx, r.GroupID)
}

// SecurityGroupRule returns a rule that the scope can see.
func (s *Service) SecurityGroupRule(ctx context.Context, scope Scope, id string) (*SecurityGroupRule, error) {
	return s.visibleRule(s.store.Read(ctx), scope, id)
}

// SecurityGroupRules lists the scope's rules.
func (s *Service) SecurityGroupRules(ctx context.Context, scope Scope, q Query) ([]SecurityGroupRule, error) {
	if err := s.EnsureDefaultGroup(ctx, scope.ProjectID); err != nil {
		return nil, err
	}
	return list(ctx, s, s.rules, ruleAttributes, q, ownedBy(scope)...)
}

func (s *Service) visibleRule(tx *record.Tx, scope Scope, id string) (*SecurityGroupRule, error) {
	r, err := s.rules.Get(tx, id)
	if err == nil && !scope.owns(&r.Meta) {
		err = fmt.Errorf("security group rule %q: %w", id, ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) {
		err = refuse(ErrNotFound, "SecurityGroupRuleNotFound", "Security group rule %s does not exist", id)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}
