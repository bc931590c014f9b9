// Package quickstart makes the walkthrough's cloud through the public APIs, the way any client would: an external
// and a private network with a router between them, two servers, and a balancer in front. Whatever exists already
// is left as it is, so that a second run changes nothing.
package quickstart

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
)

// Plan says what to make and where.
type Plan struct {
	Admin, Demo cloud.Credentials
	// Guest is the directory with the guest's kernel, initrd and root.img.
	Guest string
	// External is the range of the external network, and the gateway in it.
	External netip.Prefix
	Gateway  netip.Addr
	// PublicKey is the SSH key that the servers let in, in the authorized_keys format.
	PublicKey string
	// Inside runs a command in one of the cloud's network namespaces and returns what it prints.
	Inside func(ctx context.Context, namespace string, command ...string) (string, error)
}

// The walkthrough's names and addresses.
const (
	privateRange   = "172.24.17.0/24"
	privateGateway = "172.24.17.254"
	flavorName     = "m1.tiny"
	imageName      = "cirros"
	keyName        = "demo"
)

type run struct {
	Plan
	*Display
	admin, demo *client

	image, network, subnet, pool object
	servers                      []object
	vip                          object
}

// Run makes the plan's cloud and shows each step on display.
func Run(ctx context.Context, plan Plan, display *Display) error {
	r := &run{Plan: plan, Display: display}
	for _, step := range []struct {
		title string
		do    func(ctx context.Context, note func(string)) (string, error)
	}{
		{"project and user demo", r.people},
		{"image " + imageName, r.upload},
		{"network public " + plan.External.String(), r.external},
		{"network private " + privateRange + ", router to public", r.private},
		{"security group default lets in ping, SSH and HTTP", r.security},
		{"a host for servers", r.host},
		{"server vm1", func(ctx context.Context, note func(string)) (string, error) { return r.server(ctx, "vm1", note) }},
		{"server vm2", func(ctx context.Context, note func(string)) (string, error) { return r.server(ctx, "vm2", note) }},
		{"both servers answer", r.answer},
		{"balancer of vm1 and vm2", r.balancer},
	} {
		if err := r.Step(step.title, func(note func(string)) (string, error) { return step.do(ctx, note) }); err != nil {
			return err
		}
	}
	return r.alternate(ctx)
}

func (r *run) people(ctx context.Context, _ func(string)) (string, error) {
	var err error
	if r.admin, err = login(ctx, r.Admin); err != nil {
		return "", err
	}
	project, err := ensure(ctx, r.admin.identity, projects, r.Demo.Project, object{"domain_id": "default"})
	if err != nil {
		return "", err
	}
	user, err := ensure(ctx, r.admin.identity, users, r.Demo.User, object{"domain_id": "default", "password": r.Demo.Password, "default_project_id": id(project)})
	if err != nil {
		return "", err
	}
	member, err := list(ctx, r.admin.identity, roles, "name", "member")
	if err != nil || len(member) == 0 {
		return "", fmt.Errorf("role member: %w", err)
	}
	url := r.admin.identity.ServiceURL("projects", id(project), "users", id(user), "roles", id(member[0]))
	if _, err := r.admin.identity.Put(ctx, url, nil, nil, &gophercloud.RequestOpts{OkCodes: []int{http.StatusNoContent}}); err != nil {
		return "", err
	}
	r.demo, err = login(ctx, r.Demo)
	return "", err
}

// upload makes the guest's three images, as devstack did: kernel and ramdisk beside the root file system.
func (r *run) upload(ctx context.Context, note func(string)) (string, error) {
	var total int64
	ids := map[string]string{}
	for _, part := range []struct{ name, file, format string }{
		{imageName + "-kernel", "kernel", "aki"}, {imageName + "-ramdisk", "initrd", "ari"}, {imageName, "root.img", "ami"},
	} {
		o := object{"container_format": part.format, "disk_format": part.format, "visibility": "public"}
		if part.format == "ami" {
			o["kernel_id"], o["ramdisk_id"] = ids["aki"], ids["ari"]
			line, err := os.ReadFile(filepath.Join(r.Guest, "cmdline"))
			if err != nil {
				return "", err
			}
			o["os_command_line"] = strings.TrimSpace(string(line))
		}
		image, err := ensure(ctx, r.admin.image, images, part.name, o)
		if err != nil {
			return "", err
		}
		ids[part.format] = id(image)
		if image["status"] == "queued" {
			n, err := r.send(ctx, id(image), filepath.Join(r.Guest, part.file), note)
			if err != nil {
				return "", err
			}
			total += n
		}
		r.image = image
	}
	if total == 0 {
		return "there already", nil
	}
	return fmt.Sprintf("%d MiB uploaded", total>>20), nil
}

func (r *run) send(ctx context.Context, image, path string, note func(string)) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	body := io.Reader(&progress{Reader: file, total: info.Size(), note: note})
	_, err = r.admin.image.Put(ctx, r.admin.image.ServiceURL("images", image, "file"), body, nil, &gophercloud.RequestOpts{
		MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"}, OkCodes: []int{http.StatusNoContent},
	})
	return info.Size(), err
}

func (r *run) external(ctx context.Context, _ func(string)) (string, error) {
	network, err := ensure(ctx, r.admin.network, networks, "public", object{
		"router:external": true, "provider:network_type": "flat", "provider:physical_network": "public",
	})
	if err != nil {
		return "", err
	}
	_, err = ensure(ctx, r.admin.network, subnets, "public-subnet", object{
		"network_id": id(network), "ip_version": 4, "cidr": r.External.String(), "gateway_ip": r.Gateway.String(), "enable_dhcp": false,
	})
	return "", err
}

func (r *run) private(ctx context.Context, _ func(string)) (string, error) {
	n := r.demo.network
	var err error
	if r.network, err = ensure(ctx, n, networks, "private", object{}); err != nil {
		return "", err
	}
	if r.subnet, err = ensure(ctx, n, subnets, "private-subnet", object{
		"network_id": id(r.network), "ip_version": 4, "cidr": privateRange, "gateway_ip": privateGateway,
	}); err != nil {
		return "", err
	}
	public, err := list(ctx, n, networks, "name", "public")
	if err != nil || len(public) == 0 {
		return "", fmt.Errorf("network public: %w", err)
	}
	router, err := ensure(ctx, n, routers, "router1", object{"external_gateway_info": object{"network_id": id(public[0])}})
	if err != nil {
		return "", err
	}
	legs, err := list(ctx, n, ports, "device_id", id(router), "network_id", id(r.network))
	if err != nil || len(legs) > 0 {
		return "", err
	}
	_, err = n.Put(ctx, n.ServiceURL("routers", id(router), "add_router_interface"), object{"subnet_id": id(r.subnet)}, nil,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	return "", err
}

func (r *run) security(ctx context.Context, _ func(string)) (string, error) {
	group, err := list(ctx, r.demo.network, groups, "name", "default")
	if err != nil || len(group) == 0 {
		return "", fmt.Errorf("security group default: %w", err)
	}
	rules, err := list(ctx, r.demo.network, groupRules, "security_group_id", id(group[0]), "remote_ip_prefix", "0.0.0.0/0")
	if err != nil {
		return "", err
	}
	for _, want := range []object{
		{"protocol": "icmp"},
		{"protocol": "tcp", "port_range_min": 22, "port_range_max": 22},
		{"protocol": "tcp", "port_range_min": 80, "port_range_max": 80},
	} {
		if hasRule(rules, want) {
			continue
		}
		want["security_group_id"], want["direction"], want["ethertype"], want["remote_ip_prefix"] = id(group[0]), "ingress", "IPv4", "0.0.0.0/0"
		if _, err := create(ctx, r.demo.network, groupRules, want); err != nil {
			return "", err
		}
	}
	return "", nil
}

func hasRule(rules []object, want object) bool {
	for _, rule := range rules {
		// Numbers come back as float64.
		if rule["protocol"] == want["protocol"] && fmt.Sprint(rule["port_range_min"]) == fmt.Sprint(want["port_range_min"]) {
			return true
		}
	}
	return false
}

func (r *run) host(ctx context.Context, note func(string)) (string, error) {
	note("waiting until it is ready")
	return awaitHost(ctx, r.admin.compute)
}

func (r *run) server(ctx context.Context, name string, note func(string)) (string, error) {
	if err := r.key(ctx); err != nil {
		return "", err
	}
	flavor, err := ensureFlavor(ctx, r.demo.compute)
	if err != nil {
		return "", err
	}
	server, err := ensure(ctx, r.demo.compute, servers, name, object{
		"imageRef": id(r.image), "flavorRef": id(flavor), "key_name": keyName, "networks": []object{{"uuid": id(r.network)}},
	})
	if err != nil {
		return "", err
	}
	note("waiting until it is ACTIVE")
	if server, err = await(ctx, r.demo.compute, servers, id(server), "ACTIVE"); err != nil {
		return "", err
	}
	r.servers = append(r.servers, server)
	return "ACTIVE, private=" + address(server), nil
}

func ensureFlavor(ctx context.Context, c *gophercloud.ServiceClient) (object, error) {
	all, err := list(ctx, c, flavors)
	if err != nil {
		return nil, err
	}
	for _, flavor := range all {
		if flavor["name"] == flavorName {
			return flavor, nil
		}
	}
	return nil, fmt.Errorf("there is no flavor %s", flavorName)
}

func (r *run) key(ctx context.Context) error {
	c := r.demo.compute
	if _, err := c.Get(ctx, c.ServiceURL("os-keypairs", keyName), nil, nil); err == nil || !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return err
	}
	_, err := create(ctx, c, resource{path: "os-keypairs", singular: "keypair"}, object{"name": keyName, "public_key": r.PublicKey})
	return err
}

func address(server object) string {
	all, _ := server["addresses"].(object)
	list, _ := all["private"].([]any)
	if len(list) == 0 {
		return "no address"
	}
	first, _ := list[0].(object)
	text, _ := first["addr"].(string)
	return text
}

// curl asks from inside the private network, where the DHCP server is.
func (r *run) curl(ctx context.Context, address string) (string, error) {
	out, err := r.Inside(ctx, "qdhcp-"+id(r.network), "curl", "--silent", "--fail", "--max-time", "5", "http://"+address+"/")
	return strings.TrimSpace(out), err
}

func (r *run) answer(ctx context.Context, note func(string)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said []string
	for _, server := range r.servers {
		name, _ := server["name"].(string)
		for {
			note("waiting for " + name + " at " + address(server))
			out, err := r.curl(ctx, address(server))
			if err == nil && out == name {
				said = append(said, name)
				break
			}
			if ctx.Err() != nil {
				return "", fmt.Errorf("%s does not answer at %s (it says %q, %w): see its console with `openstack console log show %s`", name, address(server), out, err, name)
			}
			time.Sleep(pollEvery)
		}
	}
	return strings.Join(said, " "), nil
}

func (r *run) balancer(ctx context.Context, note func(string)) (string, error) {
	n := r.demo.network
	pool, err := ensure(ctx, n, pools, "mypool", object{"protocol": "HTTP", "lb_method": "ROUND_ROBIN", "subnet_id": id(r.subnet)})
	if err != nil {
		return "", err
	}
	r.pool = pool
	if err := r.members(ctx); err != nil {
		return "", err
	}
	if bound, _ := pool["health_monitors"].([]any); len(bound) == 0 {
		monitor, err := create(ctx, n, monitors, object{"type": "HTTP", "delay": 3, "max_retries": 3, "timeout": 3})
		if err != nil {
			return "", err
		}
		if _, err := create(ctx, n, resource{path: "lb/pools/" + id(pool) + "/health_monitors", singular: "health_monitor"}, object{"id": id(monitor)}); err != nil {
			return "", err
		}
	}
	vip, err := ensure(ctx, n, vips, "myvip", object{"protocol": "HTTP", "protocol_port": 80, "subnet_id": id(r.subnet), "pool_id": id(pool)})
	if err != nil {
		return "", err
	}
	note("waiting until it is ACTIVE")
	if r.vip, err = await(ctx, n, vips, id(vip), "ACTIVE"); err != nil {
		return "", err
	}
	for _, member := range r.servers {
		found, err := list(ctx, n, members, "pool_id", id(pool), "address", address(member))
		if err != nil || len(found) == 0 {
			return "", fmt.Errorf("member %s: %w", address(member), err)
		}
		if _, err := await(ctx, n, members, id(found[0]), "ACTIVE"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("ACTIVE, %v", r.vip["address"]), nil
}

func (r *run) members(ctx context.Context) error {
	for _, server := range r.servers {
		there, err := list(ctx, r.demo.network, members, "pool_id", id(r.pool), "address", address(server))
		if err != nil {
			return err
		}
		if len(there) > 0 {
			continue
		}
		if _, err := create(ctx, r.demo.network, members, object{"pool_id": id(r.pool), "address": address(server), "protocol_port": 80}); err != nil {
			return err
		}
	}
	return nil
}

// alternate shows the balancer's answers.
func (r *run) alternate(ctx context.Context) error {
	const requests = 6
	var answers []string
	for range requests {
		out, err := r.curl(ctx, fmt.Sprint(r.vip["address"]))
		if err != nil {
			return fmt.Errorf("balancer at %v: %w", r.vip["address"], err)
		}
		answers = append(answers, out)
	}
	_, _ = fmt.Fprintf(r.out, "\n  curl %v, %d times: %s\n", r.vip["address"], requests, strings.Join(answers, " "))
	for i := 1; i < len(answers); i++ {
		if answers[i] == answers[i-1] {
			return fmt.Errorf("the balancer answers %s twice in a row", answers[i])
		}
	}
	return nil
}
