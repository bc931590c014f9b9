package lbaasv1_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/internal/fakeports"
	"github.com/kintoun/kintoun/lbaas/lbaasv1"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	red   = "77d868945fa249e59bd072e027bda1a0"
	green = "c0ffee945fa249e59bd072e027bda1a0"
)

// tokens: a token is a project's identifier, with "admin:" before it for an administrator's.
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*identity.Caller, error) {
	project, isAdmin := strings.CutPrefix(token, "admin:")
	caller := &identity.Caller{ProjectID: project}
	if isAdmin {
		caller.Roles = []identity.Role{{Name: identity.RoleAdmin}}
	}
	if project != red && project != green {
		return nil, identity.ErrUnauthorized
	}
	return caller, nil
}

type object = map[string]any

// cloud is the whole domain behind a real HTTP server, with balancers in memory.
type cloud struct {
	service *lbaas.Service
	ports   *fakeports.Ports
	driver  *memlb.Driver
	url     string
	subnet  string
	client  *http.Client
}

func newCloud(t *testing.T) *cloud {
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	c := &cloud{ports: fakeports.New(), driver: memlb.New(nil)}
	c.subnet = c.ports.AddSubnet(red)
	c.service, err = lbaas.New(t.Context(), db, c.ports, nil)
	require.NoError(t, err)
	server := httptest.NewServer(lbaasv1.Handler(c.service, tokens{}, nil))
	c.url, c.client = server.URL, server.Client()
	t.Cleanup(func() { server.Close(); require.NoError(t, db.Close()) })
	return c
}

// run starts the host's agent.
func (c *cloud) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	agent := lbaas.NewAgent(c.service, "ubuntu", c.driver, &lbaas.AgentOptions{PollEvery: 5 * time.Millisecond, StatsEvery: 5 * time.Millisecond})
	go func() { agent.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func (c *cloud) do(t *testing.T, token, method, path, body string) (int, object) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("X-Auth-Token", token)
	response, err := c.client.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var out object
	if len(data) > 0 {
		require.NoError(t, json.Unmarshal(data, &out), "%s", data)
	}
	return response.StatusCode, out
}

func (c *cloud) call(t *testing.T, status int, method, path, body string) object {
	t.Helper()
	got, out := c.do(t, red, method, path, body)
	require.Equal(t, status, got, "%s %s %s: %v", method, path, body, out)
	return out
}

// create makes a resource and returns it.
func (c *cloud) create(t *testing.T, collection, resource, attributes string) object {
	t.Helper()
	return c.call(t, 201, "POST", "/v2.0/lb/"+collection, `{"`+resource+`": `+attributes+`}`)[resource].(object)
}

// await waits until the resource has the status.
func (c *cloud) await(t *testing.T, collection, resource, id, status string) object {
	t.Helper()
	var found object
	require.Eventually(t, func() bool {
		code, out := c.do(t, red, "GET", "/v2.0/lb/"+collection+"/"+id, "")
		if code != 200 {
			return false
		}
		found = out[resource].(object)
		return found["status"] == status
	}, 10*time.Second, 5*time.Millisecond, "%s to be %s", resource, status)
	return found
}

// has wants an object to have these attributes.
func has(t *testing.T, got, want object) {
	t.Helper()
	for name, value := range want {
		require.Contains(t, got, name)
		require.Equal(t, value, got[name], name)
	}
}

// scene is the walkthrough's balancer.
type scene struct{ pool, member1, member2, monitor, vip object }

func (c *cloud) scene(t *testing.T) scene {
	var s scene
	s.pool = c.create(t, "pools", "pool", `{"admin_state_up": true, "subnet_id": "`+c.subnet+`", "lb_method": "ROUND_ROBIN", "name": "mypool", "protocol": "HTTP"}`)
	id := s.pool["id"].(string)
	s.member1 = c.create(t, "members", "member", `{"pool_id": "`+id+`", "admin_state_up": true, "address": "172.24.17.2", "protocol_port": "80"}`)
	s.member2 = c.create(t, "members", "member", `{"pool_id": "`+id+`", "admin_state_up": true, "address": "172.24.17.3", "protocol_port": "80"}`)
	s.monitor = c.create(t, "health_monitors", "health_monitor", `{"admin_state_up": true, "delay": "3", "max_retries": "3", "timeout": "3", "type": "HTTP"}`)
	c.call(t, 201, "POST", "/v2.0/lb/pools/"+id+"/health_monitors", `{"health_monitor": {"id": "`+s.monitor["id"].(string)+`"}}`)
	s.vip = c.create(t, "vips", "vip", `{"pool_id": "`+id+`", "admin_state_up": true, "subnet_id": "`+c.subnet+`", "name": "myvip", "protocol_port": "80", "protocol": "HTTP"}`)
	return s
}

func TestRows7To10OfTheWalkthrough(t *testing.T) {
	c := newCloud(t)
	s := c.scene(t)
	has(t, s.pool, object{
		"admin_state_up": true, "description": "", "health_monitors": []any{}, "lb_method": "ROUND_ROBIN", "members": []any{},
		"name": "mypool", "protocol": "HTTP", "status": "PENDING_CREATE", "subnet_id": c.subnet, "tenant_id": red, "vip_id": nil,
	})
	has(t, s.member1, object{
		"address": "172.24.17.2", "admin_state_up": true, "pool_id": s.pool["id"], "protocol_port": 80.0, "status": "PENDING_CREATE",
		"tenant_id": red, "weight": 1.0,
	})
	has(t, s.monitor, object{
		"admin_state_up": true, "delay": 3.0, "expected_codes": "200", "http_method": "GET", "max_retries": 3.0,
		"status": "PENDING_CREATE", "tenant_id": red, "timeout": 3.0, "type": "HTTP", "url_path": "/",
	})
	has(t, s.vip, object{
		"address": "172.24.17.4", "admin_state_up": true, "connection_limit": -1.0, "description": "", "name": "myvip",
		"pool_id": s.pool["id"], "protocol": "HTTP", "protocol_port": 80.0, "status": "PENDING_CREATE", "subnet_id": c.subnet, "tenant_id": red,
	})
	require.Len(t, s.vip["port_id"], 36)

	c.run(t)
	pool := c.await(t, "pools", "pool", s.pool["id"].(string), "ACTIVE")
	has(t, pool, object{"vip_id": s.vip["id"], "health_monitors": []any{s.monitor["id"]}})
	require.ElementsMatch(t, []any{s.member1["id"], s.member2["id"]}, pool["members"])
	c.await(t, "health_monitors", "health_monitor", s.monitor["id"].(string), "ACTIVE")
	c.await(t, "members", "member", s.member1["id"].(string), "ACTIVE")
	c.await(t, "members", "member", s.member2["id"].(string), "ACTIVE")
	c.await(t, "vips", "vip", s.vip["id"].(string), "ACTIVE")
	require.Equal(t, "ubuntu", c.ports.Host(s.vip["port_id"].(string)))

	// A member that no longer answers, and then does.
	c.driver.SetMember(s.member1["id"].(string), false)
	c.await(t, "members", "member", s.member1["id"].(string), "INACTIVE")
	c.driver.SetMember(s.member1["id"].(string), true)
	c.await(t, "members", "member", s.member1["id"].(string), "ACTIVE")
}

func TestTheClientsOtherCalls(t *testing.T) {
	c := newCloud(t)
	c.run(t)
	s := c.scene(t)
	pool, monitor, vip := s.pool["id"].(string), s.monitor["id"].(string), s.vip["id"].(string)
	c.await(t, "vips", "vip", vip, "ACTIVE")

	require.Equal(t, object{"pools": []any{object{"id": pool}}}, c.call(t, 200, "GET", "/v2.0/lb/pools?name=mypool&fields=id", ""))
	c.call(t, 404, "GET", "/v2.0/lb/pools/mypool", "")
	stats := c.call(t, 200, "GET", "/v2.0/lb/pools/"+pool+"/stats", "")
	require.Equal(t, object{"stats": object{"bytes_in": 0.0, "bytes_out": 0.0, "active_connections": 0.0, "total_connections": 0.0}}, stats)

	c.call(t, 403, "GET", "/v2.0/lb/pools/"+pool+"/loadbalancer-agent", "")
	status, out := c.do(t, "admin:"+green, "GET", "/v2.0/lb/pools/"+pool+"/loadbalancer-agent", "")
	require.Equal(t, 200, status)
	agent := out["agent"].(object)
	has(t, agent, object{"host": "ubuntu", "alive": true, "admin_state_up": true, "agent_type": "Loadbalancer agent"})
	status, out = c.do(t, "admin:"+green, "GET", "/v2.0/agents/"+agent["id"].(string)+"/loadbalancer-pools?fields=id", "")
	require.Equal(t, 200, status)
	require.Equal(t, object{"pools": []any{object{"id": pool}}}, out)

	require.Len(t, c.call(t, 200, "GET", "/v2.0/lb/pools/"+pool+"/health_monitors", "")["health_monitors"], 1)
	c.call(t, 200, "GET", "/v2.0/lb/pools/"+pool+"/health_monitors/"+monitor, "")

	c.call(t, 409, "DELETE", "/v2.0/lb/pools/"+pool, "")
	c.call(t, 409, "DELETE", "/v2.0/lb/health_monitors/"+monitor, "")
	c.call(t, 204, "DELETE", "/v2.0/lb/vips/"+vip, "")
	require.Zero(t, c.ports.Count())
	c.call(t, 204, "DELETE", "/v2.0/lb/pools/"+pool+"/health_monitors/"+monitor, "")
	c.call(t, 204, "DELETE", "/v2.0/lb/members/"+s.member1["id"].(string), "")
	c.call(t, 204, "DELETE", "/v2.0/lb/health_monitors/"+monitor, "")
	c.call(t, 204, "DELETE", "/v2.0/lb/pools/"+pool, "")
	c.call(t, 404, "GET", "/v2.0/lb/members/"+s.member2["id"].(string), "")
	require.Eventually(t, func() bool { ids, err := c.driver.List(context.Background()); return err == nil && len(ids) == 0 }, 10*time.Second, 5*time.Millisecond)
}

func TestChanges(t *testing.T) {
	c := newCloud(t)
	c.run(t)
	s := c.scene(t)
	pool, member, monitor, vip := s.pool["id"].(string), s.member1["id"].(string), s.monitor["id"].(string), s.vip["id"].(string)
	c.await(t, "pools", "pool", pool, "ACTIVE")
	out := c.call(t, 200, "PUT", "/v2.0/lb/pools/"+pool, `{"pool": {"name": "other", "lb_method": "LEAST_CONNECTIONS", "health_monitors": []}}`)
	has(t, out["pool"].(object), object{"name": "other", "lb_method": "LEAST_CONNECTIONS", "status": "PENDING_UPDATE", "health_monitors": []any{}})
	c.await(t, "pools", "pool", pool, "ACTIVE")
	out = c.call(t, 200, "PUT", "/v2.0/lb/members/"+member, `{"member": {"weight": "7", "admin_state_up": "False"}}`)
	has(t, out["member"].(object), object{"weight": 7.0, "admin_state_up": false})
	c.await(t, "members", "member", member, "INACTIVE")
	out = c.call(t, 200, "PUT", "/v2.0/lb/health_monitors/"+monitor, `{"health_monitor": {"delay": "5", "url_path": "/alive?x=1", "expected_codes": "200-204"}}`)
	has(t, out["health_monitor"].(object), object{"delay": 5.0, "timeout": 3.0, "url_path": "/alive?x=1"})
	out = c.call(t, 200, "PUT", "/v2.0/lb/vips/"+vip, `{"vip": {"connection_limit": "100", "session_persistence": {"type": "APP_COOKIE", "cookie_name": "JSESSIONID"}}}`)
	has(t, out["vip"].(object), object{"connection_limit": 100.0, "session_persistence": object{"type": "APP_COOKIE", "cookie_name": "JSESSIONID"}})
	c.await(t, "vips", "vip", vip, "ACTIVE")
	b, _ := c.driver.Balancer(pool)
	require.Equal(t, 100, b.Frontend.ConnectionLimit)
	require.Equal(t, "JSESSIONID", b.Persistence.CookieName)
	require.Empty(t, b.Monitors)
	out = c.call(t, 200, "PUT", "/v2.0/lb/vips/"+vip, `{"vip": {"session_persistence": {}}}`)
	require.NotContains(t, out["vip"], "session_persistence")

	// The address moves before another pool.
	second := c.create(t, "pools", "pool", `{"subnet_id": "`+c.subnet+`", "lb_method": "SOURCE_IP", "protocol": "HTTP"}`)["id"].(string)
	c.call(t, 200, "PUT", "/v2.0/lb/vips/"+vip, `{"vip": {"pool_id": "`+second+`"}}`)
	c.await(t, "pools", "pool", second, "ACTIVE")
	has(t, c.await(t, "pools", "pool", pool, "INACTIVE"), object{"vip_id": nil})
	c.call(t, 204, "DELETE", "/v2.0/lb/pools/"+pool, "")
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	c := newCloud(t)
	s := c.scene(t)
	pool, monitor, vip, member := s.pool["id"].(string), s.monitor["id"].(string), s.vip["id"].(string), s.member1["id"].(string)
	free := c.create(t, "pools", "pool", `{"subnet_id": "`+c.subnet+`", "lb_method": "ROUND_ROBIN", "protocol": "TCP"}`)["id"].(string)
	ports := c.ports.Count()
	before := c.everything(t)
	p := func(rest string) string { return `{"pool": {"subnet_id": "` + c.subnet + `", ` + rest + `}}` }
	m := func(rest string) string { return `{"member": {"pool_id": "` + pool + `", ` + rest + `}}` }
	h := func(rest string) string {
		return `{"health_monitor": {"delay": 3, "timeout": 3, "max_retries": 3, ` + rest + `}}`
	}
	v := func(rest string) string {
		return `{"vip": {"subnet_id": "` + c.subnet + `", "protocol_port": 80, ` + rest + `}}`
	}
	for _, call := range []struct {
		method, path, body string
		status             int
		kind, message      string
	}{
		{"POST", "pools", `{`, 400, "HTTPBadRequest", "malformed"},
		{"POST", "pools", ``, 400, "HTTPBadRequest", "no body"},
		{"POST", "pools", `[]`, 400, "HTTPBadRequest", ""},
		{"POST", "pools", `{"vip": {}}`, 400, "HTTPBadRequest", "Unable to find 'pool' in request body"},
		{"POST", "pools", `{"pool": null}`, 400, "HTTPBadRequest", "not an object"},
		{"POST", "pools", `{"pool": 3}`, 400, "HTTPBadRequest", "not an object"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN"`), 400, "HTTPBadRequest", "Required attribute 'protocol' not specified"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "colour": "red"`), 400, "HTTPBadRequest", "Unrecognized attribute(s) 'colour'"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "status": "ACTIVE"`), 400, "HTTPBadRequest", "Attribute 'status' not allowed in POST"},
		{"POST", "pools", p(`"lb_method": "RANDOM", "protocol": "HTTP"`), 400, "HTTPBadRequest", "lb_method"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "UDP"`), 400, "HTTPBadRequest", "'UDP' is not in"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": 7`), 400, "HTTPBadRequest", "protocol"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "admin_state_up": "maybe"`), 400, "HTTPBadRequest", "not a boolean"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "name": "` + strings.Repeat("x", 256) + `"`), 400, "HTTPBadRequest", "maximum length"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "tenant_id": "` + green + `"`), 400, "HTTPBadRequest", "requires admin"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "provider": "f5"`), 404, "ServiceProviderNotFound", "f5"},
		{"POST", "pools", p(`"lb_method": "ROUND_ROBIN", "protocol": "HTTP", "health_monitors": ["nobody"]`), 404, "HealthMonitorNotFound", "nobody"},
		{"POST", "pools", `{"pool": {"subnet_id": "nowhere", "lb_method": "ROUND_ROBIN", "protocol": "HTTP"}}`, 404, "HTTPNotFound", "nowhere"},
		{"PUT", "pools/" + pool, `{"pool": {"protocol": "TCP"}}`, 400, "HTTPBadRequest", "Cannot update read-only attribute protocol"},
		{"PUT", "pools/" + pool, `{"pool": {"lb_method": "X"}}`, 400, "HTTPBadRequest", "lb_method"},
		{"PUT", "pools/nobody", `{"pool": {"name": "x"}}`, 404, "PoolNotFound", "Pool nobody could not be found"},
		{"POST", "members", m(`"address": "172.24.17.2", "protocol_port": 80`), 409, "MemberExists", "already present"},
		{"POST", "members", m(`"address": "172.24.17.300", "protocol_port": 80`), 400, "HTTPBadRequest", "not a valid IP address"},
		{"POST", "members", m(`"address": "127.0.0.1", "protocol_port": 80`), 400, "HTTPBadRequest", "address"},
		{"POST", "members", m(`"address": "172.24.17.9", "protocol_port": 65536`), 400, "HTTPBadRequest", "protocol_port"},
		{"POST", "members", m(`"address": "172.24.17.9", "protocol_port": "http"`), 400, "HTTPBadRequest", "not an integer"},
		{"POST", "members", m(`"address": "172.24.17.9", "protocol_port": 80, "weight": 257`), 400, "HTTPBadRequest", "weight"},
		{"POST", "members", m(`"address": "172.24.17.9", "protocol_port": 80, "weight": null`), 400, "HTTPBadRequest", "weight"},
		{"POST", "members", `{"member": {"pool_id": "nobody", "address": "172.24.17.9", "protocol_port": 80}}`, 404, "PoolNotFound", ""},
		{"PUT", "members/" + member, `{"member": {"pool_id": "nobody"}}`, 404, "PoolNotFound", ""},
		{"PUT", "members/" + member, `{"member": {"address": "172.24.17.9"}}`, 400, "HTTPBadRequest", "read-only"},
		{"POST", "health_monitors", h(`"type": "DNS"`), 400, "HTTPBadRequest", "'DNS' is not in"},
		{"POST", "health_monitors", h(`"type": "HTTP", "url_path": "no"`), 400, "HTTPBadRequest", "url_path"},
		{"POST", "health_monitors", h(`"type": "HTTP", "url_path": "/\n\tbind 0.0.0.0:22"`), 400, "HTTPBadRequest", "url_path"},
		{"POST", "health_monitors", h(`"type": "HTTP", "http_method": "GET / HTTP/1.0\r\n"`), 400, "HTTPBadRequest", "http_method"},
		{"POST", "health_monitors", h(`"type": "HTTP", "expected_codes": "200-204, 206"`), 400, "HTTPBadRequest", "expected_codes"},
		{"POST", "health_monitors", `{"health_monitor": {"delay": 3, "timeout": 4, "max_retries": 3, "type": "PING"}}`, 400, "DelayOrTimeoutInvalid", ""},
		{"POST", "health_monitors", `{"health_monitor": {"delay": 3, "timeout": 3, "max_retries": 11, "type": "PING"}}`, 400, "HTTPBadRequest", "max_retries"},
		{"POST", "health_monitors", `{"health_monitor": {"delay": 9223372036854775807, "timeout": 3, "max_retries": 3, "type": "PING"}}`, 400, "HTTPBadRequest", "delay"},
		{"POST", "health_monitors", `{"health_monitor": {"delay": -1, "timeout": -1, "max_retries": 3, "type": "PING"}}`, 400, "HTTPBadRequest", "delay"},
		{"PUT", "health_monitors/" + monitor, `{"health_monitor": {"delay": 1}}`, 400, "DelayOrTimeoutInvalid", ""},
		{"PUT", "health_monitors/" + monitor, `{"health_monitor": {"type": "PING"}}`, 400, "HTTPBadRequest", "read-only"},
		{"POST", "pools/" + pool + "/health_monitors", `{"health_monitor": {"id": "` + monitor + `"}}`, 409, "PoolMonitorAssociationExists", ""},
		{"POST", "pools/" + pool + "/health_monitors", `{"health_monitor": {"id": "nobody"}}`, 404, "HealthMonitorNotFound", ""},
		{"POST", "pools/" + pool + "/health_monitors", `{"health_monitor": {}}`, 400, "HTTPBadRequest", "'id'"},
		{"DELETE", "pools/" + free + "/health_monitors/" + monitor, ``, 404, "PoolMonitorAssociationNotFound", ""},
		{"POST", "vips", v(`"protocol": "HTTP", "pool_id": "` + pool + `"`), 409, "VipExists", ""},
		{"POST", "vips", v(`"protocol": "HTTP", "pool_id": "` + free + `"`), 400, "ProtocolMismatch", "Protocol HTTP does not match pool protocol TCP"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "nobody"`), 404, "PoolNotFound", ""},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "address": "10.0.0.1"`), 400, "HTTPBadRequest", "not of the subnet"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "address": "x"`), 400, "HTTPBadRequest", "not a valid IP"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "connection_limit": -2`), 400, "HTTPBadRequest", "connection_limit"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "session_persistence": {"type": "HTTP_COOKIE"}`), 400, "HTTPBadRequest", "needs protocol HTTP"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "session_persistence": {"type": "SOURCE_IP", "cookie_name": "x"}`), 400, "HTTPBadRequest", "not allowed"},
		{"POST", "vips", v(`"protocol": "TCP", "pool_id": "` + free + `", "session_persistence": {"colour": "x"}`), 400, "HTTPBadRequest", "colour"},
		{"POST", "vips", `{"vip": {"subnet_id": "nowhere", "protocol_port": 80, "protocol": "TCP", "pool_id": "` + free + `"}}`, 404, "HTTPNotFound", "nowhere"},
		{"PUT", "vips/" + vip, `{"vip": {"pool_id": "` + free + `"}}`, 400, "ProtocolMismatch", ""},
		{"PUT", "vips/" + vip, `{"vip": {"session_persistence": {"type": "APP_COOKIE"}}}`, 400, "HTTPBadRequest", "cookie_name"},
		{"PUT", "vips/" + vip, `{"vip": {"address": "172.24.17.9"}}`, 400, "HTTPBadRequest", "read-only"},
		{"GET", "pools?limit=-1", ``, 400, "HTTPBadRequest", "Limit"},
		{"GET", "pools?sort_key=colour", ``, 400, "HTTPBadRequest", "colour"},
		{"GET", "pools?sort_key=name&sort_dir=up", ``, 400, "HTTPBadRequest", "sort_dir"},
		{"GET", "pools?marker=nobody", ``, 400, "HTTPBadRequest", "nobody"},
		{"GET", "members?protocol_port=http", ``, 400, "HTTPBadRequest", "protocol_port"},
		{"GET", "vips/nobody", ``, 404, "VipNotFound", "Vip nobody could not be found"},
		{"DELETE", "members/nobody", ``, 404, "MemberNotFound", ""},
		{"DELETE", "pools", ``, 405, "HTTPMethodNotAllowed", ""},
		{"GET", "nothing", ``, 404, "HTTPNotFound", ""},
	} {
		status, out := c.do(t, red, call.method, "/v2.0/lb/"+call.path, call.body)
		require.Equal(t, call.status, status, "%s %s %s: %v", call.method, call.path, call.body, out)
		require.Contains(t, out, "NeutronError", "%s %s", call.method, call.path)
		problem := out["NeutronError"].(object)
		require.Equal(t, call.kind, problem["type"], "%s %s %s: %v", call.method, call.path, call.body, out)
		require.Contains(t, problem["message"], call.message)
		require.Contains(t, problem, "detail")
	}
	require.Equal(t, ports, c.ports.Count())
	require.Equal(t, before, c.everything(t))
	status, out := c.do(t, "nobody", "GET", "/v2.0/lb/pools", "")
	require.Equal(t, 401, status)
	require.Contains(t, out, "error")
}

// everything is all that the project has.
func (c *cloud) everything(t *testing.T) []object {
	var all []object
	for _, collection := range []string{"pools", "members", "health_monitors", "vips"} {
		all = append(all, c.call(t, 200, "GET", "/v2.0/lb/"+collection, ""))
	}
	return all
}

func TestAnotherProjectsResourcesDoNotExist(t *testing.T) {
	c := newCloud(t)
	s := c.scene(t)
	before := c.everything(t)
	for collection, r := range map[string]object{"pools": s.pool, "members": s.member1, "health_monitors": s.monitor, "vips": s.vip} {
		resource := map[string]string{"pools": "pool", "members": "member", "health_monitors": "health_monitor", "vips": "vip"}[collection]
		path := "/v2.0/lb/" + collection
		id := r["id"].(string)
		status, out := c.do(t, green, "GET", path, "")
		require.Equal(t, 200, status)
		require.Equal(t, object{collection: []any{}}, out)
		status, out = c.do(t, green, "GET", path+"?tenant_id="+red, "")
		require.Equal(t, 200, status)
		require.Equal(t, object{collection: []any{}}, out)
		for method, body := range map[string]string{"GET": "", "PUT": `{"` + resource + `": {"admin_state_up": false}}`, "DELETE": ""} {
			status, out = c.do(t, green, method, path+"/"+id, body)
			require.Equal(t, 404, status, "%s %s: %v", method, path, out)
			mine := out["NeutronError"]
			_, out = c.do(t, green, method, path+"/"+strings.Repeat("0", 36), body)
			require.Equal(t, strings.ReplaceAll(mine.(object)["message"].(string), id, ""),
				strings.ReplaceAll(out["NeutronError"].(object)["message"].(string), strings.Repeat("0", 36), ""))
		}
		status, out = c.do(t, "admin:"+green, "GET", path+"/"+id, "")
		require.Equal(t, 200, status, "%v", out)
	}
	pool := s.pool["id"].(string)
	for _, call := range [][3]string{
		{"GET", "/v2.0/lb/pools/" + pool + "/stats", ""},
		{"GET", "/v2.0/lb/pools/" + pool + "/health_monitors", ""},
		{"POST", "/v2.0/lb/pools/" + pool + "/health_monitors", `{"health_monitor": {"id": "` + s.monitor["id"].(string) + `"}}`},
		{"DELETE", "/v2.0/lb/pools/" + pool + "/health_monitors/" + s.monitor["id"].(string), ""},
		{"POST", "/v2.0/lb/members", `{"member": {"pool_id": "` + pool + `", "address": "172.24.17.77", "protocol_port": 80}}`},
		{"POST", "/v2.0/lb/vips", `{"vip": {"pool_id": "` + pool + `", "subnet_id": "` + c.subnet + `", "protocol": "HTTP", "protocol_port": 80}}`},
		{"POST", "/v2.0/lb/pools", `{"pool": {"subnet_id": "` + c.subnet + `", "protocol": "HTTP", "lb_method": "ROUND_ROBIN"}}`},
	} {
		status, out := c.do(t, green, call[0], call[1], call[2])
		require.Equal(t, 404, status, "%v: %v", call, out)
	}
	require.Equal(t, before, c.everything(t))
}

func TestListsFilterSortAndPage(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"c", "a", "e", "b", "d"} {
		c.create(t, "pools", "pool", `{"subnet_id": "`+c.subnet+`", "lb_method": "ROUND_ROBIN", "protocol": "TCP", "name": "`+name+`", "admin_state_up": `+map[bool]string{true: "true", false: "false"}[name < "c"]+`}`)
	}
	names := func(path string) []string {
		var names []string
		for _, p := range c.call(t, 200, "GET", path, "")["pools"].([]any) {
			names = append(names, p.(object)["name"].(string))
		}
		return names
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, names("/v2.0/lb/pools?sort_key=name&sort_dir=asc"))
	require.Equal(t, []string{"b", "a"}, names("/v2.0/lb/pools?sort_key=name&sort_dir=desc&admin_state_up=True"))
	require.Equal(t, []string{"b", "d"}, names("/v2.0/lb/pools?name=d&name=b&sort_key=name"))
	require.Empty(t, names("/v2.0/lb/pools?lb_method=SOURCE_IP"))

	// Forwards and back again by the links.
	path := "/v2.0/lb/pools?sort_key=name&sort_dir=asc&limit=2"
	follow := func(path, rel string) string {
		links, _ := c.call(t, 200, "GET", path, "")["pools_links"].([]any)
		for _, l := range links {
			if l := l.(object); l["rel"] == rel {
				return strings.TrimPrefix(l["href"].(string), c.url)
			}
		}
		return ""
	}
	require.Equal(t, []string{"a", "b"}, names(path))
	require.Empty(t, follow(path, "previous"))
	second := follow(path, "next")
	require.Equal(t, []string{"c", "d"}, names(second))
	third := follow(second, "next")
	require.Equal(t, []string{"e"}, names(third))
	require.Empty(t, follow(third, "next"))
	require.Equal(t, []string{"c", "d"}, names(follow(third, "previous")))
}

func TestQuota(t *testing.T) {
	c := newCloud(t)
	for range 10 {
		c.create(t, "pools", "pool", `{"subnet_id": "`+c.subnet+`", "lb_method": "ROUND_ROBIN", "protocol": "TCP"}`)
	}
	out := c.call(t, 409, "POST", "/v2.0/lb/pools", `{"pool": {"subnet_id": "`+c.subnet+`", "lb_method": "ROUND_ROBIN", "protocol": "TCP"}}`)
	require.Equal(t, "OverQuota", out["NeutronError"].(object)["type"])
}
