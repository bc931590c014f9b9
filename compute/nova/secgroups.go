package nova

import (
	"context"
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// SecurityGroups is what the deprecated security group calls need of the network service. What the scope may not
// see is compute.ErrNotFound.
type SecurityGroups interface {
	SecurityGroups(ctx context.Context, scope compute.Scope) ([]SecurityGroup, error)
	SecurityGroup(ctx context.Context, scope compute.Scope, id string) (SecurityGroup, error)
	CreateSecurityGroup(ctx context.Context, scope compute.Scope, name, description string) (SecurityGroup, error)
	UpdateSecurityGroup(ctx context.Context, scope compute.Scope, id, name, description string) (SecurityGroup, error)
	DeleteSecurityGroup(ctx context.Context, scope compute.Scope, id string) error
	// CreateSecurityGroupRule adds a rule for what comes in.
	CreateSecurityGroupRule(ctx context.Context, scope compute.Scope, groupID string, rule SecurityGroupRule) (SecurityGroupRule, error)
	DeleteSecurityGroupRule(ctx context.Context, scope compute.Scope, id string) error
}

// SecurityGroup is a security group as these calls show it: with its rules for what comes in.
type SecurityGroup struct {
	ID, Name, Description, ProjectID string
	Rules                            []SecurityGroupRule
}

// SecurityGroupRule lets traffic in.
type SecurityGroupRule struct {
	ID string
	// Protocol is "tcp", "udp", "icmp" or empty for any.
	Protocol string
	// FromPort and ToPort bound the ports, or are type and code of ICMP; nil is any.
	FromPort, ToPort *int
	// CIDR is where the traffic comes from; empty where Group is.
	CIDR string
	// GroupID is the group whose members the traffic comes from, with its name and project when it is read.
	GroupID, GroupName, GroupProject string
}

// lastProxy is the last microversion with calls that are another service's.
const lastProxy = 35

func (a *api) securityGroupOperations() []operation {
	operations := []operation{{method: "GET", path: "/servers/{id}/os-security-groups", serve: a.listServerSecurityGroups}}
	if a.options.SecurityGroups == nil {
		return operations
	}
	return append(operations, []operation{
		{method: "GET", path: "/os-security-groups", serve: a.listSecurityGroups, until: lastProxy},
		{method: "POST", path: "/os-security-groups", serve: a.createSecurityGroup, until: lastProxy},
		{method: "GET", path: "/os-security-groups/{id}", serve: a.showSecurityGroup, until: lastProxy},
		{method: "PUT", path: "/os-security-groups/{id}", serve: a.updateSecurityGroup, until: lastProxy},
		{method: "DELETE", path: "/os-security-groups/{id}", serve: a.deleteSecurityGroup, until: lastProxy},
		{method: "POST", path: "/os-security-group-rules", serve: a.createRule, until: lastProxy},
		{method: "DELETE", path: "/os-security-group-rules/{id}", serve: a.deleteRule, until: lastProxy},
	}...)
}

func groupObject(g *SecurityGroup) object {
	rules := make([]object, 0, len(g.Rules))
	for i := range g.Rules {
		rules = append(rules, ruleObject(&g.Rules[i], g.ID))
	}
	return object{"id": g.ID, "name": g.Name, "description": g.Description, "tenant_id": g.ProjectID, "rules": rules}
}

func ruleObject(r *SecurityGroupRule, parent string) object {
	o := object{"id": r.ID, "parent_group_id": parent, "ip_protocol": nilIfEmpty(r.Protocol), "from_port": r.FromPort, "to_port": r.ToPort, "group": object{}, "ip_range": object{}}
	switch {
	case r.GroupID != "":
		o["group"] = object{"name": r.GroupName, "tenant_id": r.GroupProject}
	case r.CIDR != "":
		o["ip_range"] = object{"cidr": r.CIDR}
	}
	return o
}

func (c *call) showGroups(groups []SecurityGroup) error {
	shown := make([]object, 0, len(groups))
	for i := range groups {
		shown = append(shown, groupObject(&groups[i]))
	}
	return c.json(http.StatusOK, object{"security_groups": shown})
}

func (a *api) listSecurityGroups(c *call) error {
	groups, err := a.options.SecurityGroups.SecurityGroups(c.Context(), c.scope())
	if err != nil {
		return err
	}
	return c.showGroups(groups)
}

// listServerSecurityGroups shows the groups of a server's ports.
func (a *api) listServerSecurityGroups(c *call) error {
	ports, s, err := c.portsOf()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	groups := []SecurityGroup{}
	for _, p := range ports {
		for _, g := range p.SecurityGroups {
			if seen[g.ID] {
				continue
			}
			seen[g.ID] = true
			full := SecurityGroup{ID: g.ID, Name: g.Name, ProjectID: s.ProjectID}
			if a.options.SecurityGroups != nil {
				if full, err = a.options.SecurityGroups.SecurityGroup(c.Context(), c.scope(), g.ID); err != nil {
					return err
				}
			}
			groups = append(groups, full)
		}
	}
	return c.showGroups(groups)
}

func (a *api) showSecurityGroup(c *call) error {
	g, err := a.options.SecurityGroups.SecurityGroup(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"security_group": groupObject(&g)})
}

type groupBody struct {
	Group struct{ Name, Description string } `json:"security_group"`
}

func securityGroupSchema() *wire.Schema {
	text := func() *wire.Schema { return &wire.Schema{Types: []string{"string"}, MaxLength: 255} }
	return wrap("security_group", record(map[string]*wire.Schema{"name": text(), "description": {Types: []string{"string", "null"}, MaxLength: 255}}, "name"))
}

func (a *api) createSecurityGroup(c *call) error {
	var body groupBody
	if err := c.body(securityGroupSchema(), &body); err != nil {
		return err
	}
	g, err := a.options.SecurityGroups.CreateSecurityGroup(c.Context(), c.scope(), body.Group.Name, body.Group.Description)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"security_group": groupObject(&g)})
}

func (a *api) updateSecurityGroup(c *call) error {
	var body groupBody
	if err := c.body(securityGroupSchema(), &body); err != nil {
		return err
	}
	g, err := a.options.SecurityGroups.UpdateSecurityGroup(c.Context(), c.scope(), c.PathValue("id"), body.Group.Name, body.Group.Description)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"security_group": groupObject(&g)})
}

func (a *api) deleteSecurityGroup(c *call) error {
	if err := a.options.SecurityGroups.DeleteSecurityGroup(c.Context(), c.scope(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) createRule(c *call) error {
	port := &wire.Schema{Types: []string{"integer", "string", "null"}, Pattern: integerDigits}
	s := wrap("security_group_rule", record(map[string]*wire.Schema{
		"parent_group_id": kind("string", "null"), "ip_protocol": kind("string", "null"), "from_port": port, "to_port": port,
		"cidr": kind("string", "null"), "group_id": kind("string", "null"),
	}, "parent_group_id"))
	var body struct {
		Rule struct {
			Parent   string    `json:"parent_group_id"`
			Protocol string    `json:"ip_protocol"`
			From     *wire.Int `json:"from_port"`
			To       *wire.Int `json:"to_port"`
			CIDR     string
			Group    string `json:"group_id"`
		} `json:"security_group_rule"`
	}
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := body.Rule
	rule := SecurityGroupRule{Protocol: in.Protocol, FromPort: portNumber(in.From), ToPort: portNumber(in.To), CIDR: in.CIDR, GroupID: in.Group}
	if rule.GroupID == "" && rule.CIDR == "" {
		rule.CIDR = "0.0.0.0/0"
	}
	if rule.Protocol != "" && rule.Protocol != "icmp" && (rule.FromPort == nil || rule.ToPort == nil) {
		return fault.Wrap(compute.ErrInvalid, "Invalid port range %v:%v. Valid TCP ports should be between 1-65535", in.From, in.To)
	}
	made, err := a.options.SecurityGroups.CreateSecurityGroupRule(c.Context(), c.scope(), in.Parent, rule)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"security_group_rule": ruleObject(&made, in.Parent)})
}

// portNumber reads a port; -1 is the old way to say any.
func portNumber(n *wire.Int) *int {
	if n == nil || *n == -1 {
		return nil
	}
	port := int(*n)
	return &port
}

func (a *api) deleteRule(c *call) error {
	if err := a.options.SecurityGroups.DeleteSecurityGroupRule(c.Context(), c.scope(), c.PathValue("id")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}
