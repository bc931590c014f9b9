package network

import (
	"context"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// Kinds of resources that bear tags, as paths of the API name them.
const (
	TaggedNetworks       = "networks"
	TaggedSubnets        = "subnets"
	TaggedPorts          = "ports"
	TaggedRouters        = "routers"
	TaggedFloatingIPs    = "floatingips"
	TaggedSecurityGroups = "security-groups"
	TaggedSubnetPools    = "subnetpools"
)

// maxTags is how many tags a resource may have.
const maxTags = 50

// Tags are a resource's, of one of the Tagged kinds.
func (s *Service) Tags(ctx context.Context, scope Scope, kind, id string) ([]string, error) {
	meta, _, err := s.tagged(s.store.Read(ctx), scope, kind, id)
	if err != nil {
		return nil, err
	}
	return meta.Tags, nil
}

// SetTags replaces a resource's tags by what change makes of them.
func (s *Service) SetTags(ctx context.Context, scope Scope, kind, id string, change func(tags []string) ([]string, error)) ([]string, error) {
	var result []string
	err := s.update(ctx, func(tx *record.Tx) error {
		meta, save, err := s.tagged(tx, scope, kind, id)
		if err != nil {
			return err
		}
		if !scope.owns(meta) {
			return forbidden("update_" + strings.TrimSuffix(strings.ReplaceAll(kind, "-", "_"), "s") + "_tags")
		}
		tags, err := change(slices.Clone(meta.Tags))
		if err != nil {
			return err
		}
		tags = slices.Compact(slices.Sorted(slices.Values(tags)))
		if err := checkTags(tags); err != nil {
			return err
		}
		meta.Tags = append([]string{}, tags...)
		meta.touch(s.now())
		result = meta.Tags
		return save()
	})
	return result, err
}

func checkTags(tags []string) error {
	if len(tags) > maxTags {
		return invalid("'%d' tags are more than %d", len(tags), maxTags)
	}
	for _, t := range tags {
		if t == "" || len(t) > 255 || strings.Contains(t, ",") {
			return invalid("'%s' is not a valid tag", t)
		}
	}
	return nil
}

// tagged finds a resource that the scope can see.
func (s *Service) tagged(tx *record.Tx, scope Scope, kind, id string) (meta *Meta, save func() error, err error) {
	switch kind {
	case TaggedNetworks:
		r, err := s.visibleNetwork(tx, scope, id)
		return metaOf(tx, r, err, func(r *Network) *Meta { return &r.Meta }, s.networks)
	case TaggedSubnets:
		r, _, err := s.visibleSubnet(tx, scope, id)
		return metaOf(tx, r, err, func(r *Subnet) *Meta { return &r.Meta }, s.subnets)
	case TaggedPorts:
		r, _, err := s.visiblePort(tx, scope, id)
		return metaOf(tx, r, err, func(r *Port) *Meta { return &r.Meta }, s.ports)
	case TaggedRouters:
		r, err := s.visibleRouter(tx, scope, id)
		return metaOf(tx, r, err, func(r *Router) *Meta { return &r.Meta }, s.routers)
	case TaggedFloatingIPs:
		r, err := s.visibleFloatingIP(tx, scope, id)
		return metaOf(tx, r, err, func(r *FloatingIP) *Meta { return &r.Meta }, s.floating)
	case TaggedSecurityGroups:
		r, err := s.ownGroup(tx, scope, id)
		return metaOf(tx, r, err, func(r *SecurityGroup) *Meta { return &r.Meta }, s.groups)
	case TaggedSubnetPools:
		r, err := s.visiblePool(tx, scope, id)
		return metaOf(tx, r, err, func(r *SubnetPool) *Meta { return &r.Meta }, s.pools)
	}
	return nil, nil, refuse(ErrNotFound, "HTTPNotFound", "The resource could not be found.")
}

func metaOf[T any](tx *record.Tx, r *T, err error, meta func(*T) *Meta, table *record.Table[T]) (*Meta, func() error, error) {
	if err != nil {
		return nil, nil, err
	}
	return meta(r), func() error { return table.Update(tx, r) }, nil
}
