package cinder

import (
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume"
)

// absentOperations are those of what does not exist here: lists are empty, and changes are refused with the reason.
func (a *api) absentOperations() []operation {
	const clusters, noClusters = "clusters:", "Services do not form clusters here: each pool has one agent."
	const noConsistency = "Consistency groups became groups: use those."
	all := []operation{
		{method: "GET", path: "/clusters", serve: none("clusters"), since: 7, policy: clusters + "get_all"},
		{method: "GET", path: "/clusters/detail", serve: none("clusters"), since: 7, policy: clusters + "get_all"},
		{method: "GET", path: "/clusters/{name}", serve: a.showCluster, since: 7, policy: clusters + "get"},
		{method: "PUT", path: "/clusters/enable", since: 7, policy: clusters + "update", unsupported: noClusters},
		{method: "PUT", path: "/clusters/disable", since: 7, policy: clusters + "update", unsupported: noClusters},
		{method: "POST", path: "/workers/cleanup", serve: a.cleanUp, since: 24, policy: "workers:cleanup"},
		{method: "GET", path: "/consistencygroups", serve: none("consistencygroups")},
		{method: "GET", path: "/consistencygroups/detail", serve: none("consistencygroups")},
		{method: "GET", path: "/cgsnapshots", serve: none("cgsnapshots")},
		{method: "GET", path: "/cgsnapshots/detail", serve: none("cgsnapshots")},
	}
	for _, one := range []string{
		"POST /consistencygroups", "POST /consistencygroups/create_from_src", "GET /consistencygroups/{id}",
		"POST /consistencygroups/{id}/delete", "PUT /consistencygroups/{id}/update",
		"POST /cgsnapshots", "GET /cgsnapshots/{id}", "DELETE /cgsnapshots/{id}",
	} {
		method, path, _ := strings.Cut(one, " ")
		all = append(all, operation{method: method, path: path, unsupported: noConsistency})
	}
	return all
}

func none(key string) func(c *call) error {
	return func(c *call) error { return c.json(http.StatusOK, object{key: []object{}}) }
}

func (a *api) showCluster(c *call) error {
	return fault.Wrap(volume.ErrNotFound, "Cluster %s could not be found.", c.PathValue("name"))
}

// cleanUp answers what Cinder does where nothing is left to clean: agents go on by themselves with what a killed one
// has left.
func (a *api) cleanUp(c *call) error {
	s := record(fields{
		"cluster_name": typeHost(), "disabled": typeBoolean(), "host": typeHost(), "is_up": typeBoolean(),
		"binary": words("cinder-volume", "cinder-scheduler"), "resource_id": typeUUIDOrNull(),
		"resource_type": {Types: []string{"string", "null"}, MaxLength: 40},
		"service_id":    {Types: []string{"integer", "string", "null"}, MaxLength: 11, Pattern: fewDigits},
	})
	var ignored object
	if err := c.body(s, &ignored); err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"cleaning": []object{}, "unavailable": []object{}})
}
