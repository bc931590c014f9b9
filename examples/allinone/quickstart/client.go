package quickstart

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
)

// client is one user's view of the cloud.
type client struct {
	identity, image, network, compute *gophercloud.ServiceClient
}

type object = map[string]any

func login(ctx context.Context, c cloud.Credentials) (*client, error) {
	provider, err := openstack.AuthenticatedClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint: c.AuthURL, Username: c.User, Password: c.Password, TenantName: c.Project, DomainName: "Default", AllowReauth: true,
	})
	if err != nil {
		return nil, err
	}
	where := gophercloud.EndpointOpts{Region: c.Region}
	var u client
	var failures [4]error
	u.identity, failures[0] = openstack.NewIdentityV3(provider, where)
	u.image, failures[1] = openstack.NewImageV2(provider, where)
	u.network, failures[2] = openstack.NewNetworkV2(provider, where)
	u.compute, failures[3] = openstack.NewComputeV2(provider, where)
	return &u, errors.Join(failures[:]...)
}

// resource is a kind of thing: where it is listed and how bodies name it. A flat kind has no name around it.
type resource struct {
	path, plural, singular string
	flat                   bool
}

var (
	projects   = resource{path: "projects", plural: "projects", singular: "project"}
	users      = resource{path: "users", plural: "users", singular: "user"}
	roles      = resource{path: "roles", plural: "roles", singular: "role"}
	images     = resource{path: "images", plural: "images", singular: "image", flat: true}
	networks   = resource{path: "networks", plural: "networks", singular: "network"}
	subnets    = resource{path: "subnets", plural: "subnets", singular: "subnet"}
	routers    = resource{path: "routers", plural: "routers", singular: "router"}
	groups     = resource{path: "security-groups", plural: "security_groups", singular: "security_group"}
	groupRules = resource{path: "security-group-rules", plural: "security_group_rules", singular: "security_group_rule"}
	ports      = resource{path: "ports", plural: "ports", singular: "port"}
	servers    = resource{path: "servers", plural: "servers", singular: "server"}
	services   = resource{path: "os-services", plural: "services", singular: "service"}
	flavors    = resource{path: "flavors", plural: "flavors", singular: "flavor"}
	pools      = resource{path: "lb/pools", plural: "pools", singular: "pool"}
	members    = resource{path: "lb/members", plural: "members", singular: "member"}
	monitors   = resource{path: "lb/health_monitors", plural: "health_monitors", singular: "health_monitor"}
	vips       = resource{path: "lb/vips", plural: "vips", singular: "vip"}
)

// list returns the resources that match the query, "name=private".
func list(ctx context.Context, c *gophercloud.ServiceClient, r resource, query ...string) ([]object, error) {
	values := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		values.Add(query[i], query[i+1])
	}
	var body map[string]any
	if _, err := c.Get(ctx, c.ServiceURL(r.path)+"?"+values.Encode(), &body, nil); err != nil {
		return nil, err
	}
	items, _ := body[r.plural].([]any)
	var found []object
	for _, item := range items {
		if o, ok := item.(object); ok {
			found = append(found, o)
		}
	}
	return found, nil
}

func create(ctx context.Context, c *gophercloud.ServiceClient, r resource, o object) (object, error) {
	var body any = o
	if !r.flat {
		body = object{r.singular: o}
	}
	var answer object
	_, err := c.Post(ctx, c.ServiceURL(r.path), body, &answer, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}})
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", r.singular, err)
	}
	if inner, ok := answer[r.singular].(object); ok && !r.flat {
		return inner, nil
	}
	return answer, nil
}

// ensure returns the resource of that name, made if there is none.
func ensure(ctx context.Context, c *gophercloud.ServiceClient, r resource, name string, o object) (object, error) {
	found, err := list(ctx, c, r, "name", name)
	if err != nil {
		return nil, err
	}
	for _, candidate := range found {
		if candidate["name"] == name {
			return candidate, nil
		}
	}
	o["name"] = name
	return create(ctx, c, r, o)
}

func show(ctx context.Context, c *gophercloud.ServiceClient, r resource, id string) (object, error) {
	var answer object
	if _, err := c.Get(ctx, c.ServiceURL(r.path, id), &answer, nil); err != nil {
		return nil, err
	}
	if inner, ok := answer[r.singular].(object); ok {
		return inner, nil
	}
	return answer, nil
}

const (
	pollEvery = 200 * time.Millisecond
	patience  = 5 * time.Minute
)

// await shows the resource until its status is the wanted one, or ERROR, or patience ends.
func await(ctx context.Context, c *gophercloud.ServiceClient, r resource, id, want string) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		o, err := show(ctx, c, r, id)
		if err != nil {
			return nil, err
		}
		switch o["status"] {
		case want:
			return o, nil
		case "ERROR":
			return o, fmt.Errorf("%s %v is in ERROR: %v%v", r.singular, o["name"], o["fault"], o["status_description"])
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("%s %v is %v, not %s, after %s", r.singular, o["name"], o["status"], want, patience)
		case <-time.After(pollEvery):
		}
	}
}

// awaitHost returns a host's name as soon as one can take servers. The APIs answer before: opening what a host has takes its time.
func awaitHost(ctx context.Context, c *gophercloud.ServiceClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		all, err := list(ctx, c, services, "binary", "nova-compute")
		if err != nil {
			return "", err
		}
		for _, s := range all {
			if s["state"] == "up" && s["status"] == "enabled" {
				return fmt.Sprint(s["host"]), nil
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no host can take servers after %s: the server's log says why", patience)
		case <-time.After(pollEvery):
		}
	}
}

func id(o object) string { s, _ := o["id"].(string); return s }
