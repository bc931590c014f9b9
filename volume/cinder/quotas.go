package cinder

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) quotaOperations() []operation {
	const quotas, classes = "volume_extension:quotas:", "volume_extension:quota_classes:"
	return []operation{
		{method: "GET", path: "/limits", serve: a.limits},
		{method: "GET", path: "/os-quota-sets/{id}", serve: a.showQuota},
		{method: "GET", path: "/os-quota-sets/{id}/defaults", serve: a.showDefaultQuota},
		{method: "PUT", path: "/os-quota-sets/{id}", serve: a.updateQuota, policy: quotas + "update"},
		{method: "DELETE", path: "/os-quota-sets/{id}", serve: a.deleteQuota, policy: quotas + "delete"},
		{method: "GET", path: "/os-quota-class-sets/{id}", serve: a.showQuotaClass, policy: classes + "get"},
		{method: "PUT", path: "/os-quota-class-sets/{id}", serve: a.updateQuotaClass, policy: classes + "update"},
	}
}

func (a *api) limits(c *call) error {
	scope := c.scope()
	if c.at(39) && c.admin() {
		for _, name := range []string{"tenant_id", "project_id"} {
			if asked := c.URL.Query().Get(name); asked != "" {
				scope.ProjectID = asked
			}
		}
	}
	l, err := a.volumes.Limits(c.Context(), scope)
	if err != nil {
		return err
	}
	absolute := object{}
	for _, one := range [][3]string{
		{"volumes", "maxTotalVolumes", "totalVolumesUsed"}, {"gigabytes", "maxTotalVolumeGigabytes", "totalGigabytesUsed"},
		{"snapshots", "maxTotalSnapshots", "totalSnapshotsUsed"}, {"backups", "maxTotalBackups", "totalBackupsUsed"},
		{"backup_gigabytes", "maxTotalBackupGigabytes", "totalBackupGigabytesUsed"},
	} {
		absolute[one[1]], absolute[one[2]] = l.Quota[one[0]], l.Used[one[0]]
	}
	return c.json(http.StatusOK, object{"limits": object{"rate": []object{}, "absolute": absolute}})
}

// quotaProject is the project in the address: another's is for admins only.
func (c *call) quotaProject() (string, error) {
	if c.id() != c.caller.ProjectID && !c.admin() {
		return "", forbidden("volume_extension:quotas:show")
	}
	return c.id(), nil
}

func quotaView(q volume.Quota, id string) object {
	o := object{}
	for name, limit := range q {
		o[name] = limit
	}
	if id != "" {
		o["id"] = id
	}
	return o
}

func (a *api) showQuota(c *call) error {
	id, err := c.quotaProject()
	if err != nil {
		return err
	}
	if c.flag("usage") {
		used, err := a.volumes.QuotaUsage(c.Context(), id)
		if err != nil {
			return err
		}
		o := object{"id": id}
		for name, use := range used {
			o[name] = object{"limit": use.Limit, "in_use": use.InUse, "reserved": use.Reserved}
		}
		return c.json(http.StatusOK, object{"quota_set": o})
	}
	q, err := a.volumes.Quota(c.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"quota_set": quotaView(q, id)})
}

func (a *api) showDefaultQuota(c *call) error {
	id, err := c.quotaProject()
	if err != nil {
		return err
	}
	q, err := a.volumes.DefaultQuotas(c.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"quota_set": quotaView(q, id)})
}

// bounds reads the numbers of a quota, which clients may send as texts.
func bounds(given map[string]json.RawMessage) (map[string]int, error) {
	change := map[string]int{}
	for name, value := range given {
		if name == "tenant_id" || name == "id" {
			continue
		}
		digits := strings.Trim(string(value), `"`)
		n, err := strconv.Atoi(digits)
		switch {
		case err != nil:
			return nil, fault.Wrap(volume.ErrInvalid, "%s must be an integer.", name)
		case n < -1:
			return nil, fault.Wrap(volume.ErrInvalid, "%s must be >= -1", name)
		case n > maxInt:
			return nil, fault.Wrap(volume.ErrInvalid, "%s must be <= %d", name, maxInt)
		}
		change[name] = n
	}
	return change, nil
}

func (a *api) updateQuota(c *call) error {
	var body struct {
		Set map[string]json.RawMessage `json:"quota_set"`
	}
	s := wrap("quota_set", &schema{Types: []string{"object"}, Others: anything(), MinProperties: 1})
	if err := c.body(s, &body); err != nil {
		return err
	}
	change, err := bounds(body.Set)
	if err != nil {
		return err
	}
	q, err := a.volumes.SetQuota(c.Context(), c.id(), change)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"quota_set": quotaView(q, "")})
}

func (a *api) deleteQuota(c *call) error {
	if err := a.volumes.DeleteQuota(c.Context(), c.id()); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

// defaultClass is the only class of quotas that counts: what every project has.
const defaultClass = "default"

func (a *api) showQuotaClass(c *call) error {
	q, err := a.volumes.DefaultQuotas(c.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"quota_class_set": quotaView(maps.Clone(q), c.id())})
}

func (a *api) updateQuotaClass(c *call) error {
	var body struct {
		Set map[string]json.RawMessage `json:"quota_class_set"`
	}
	low, high := int64(-1), int64(maxInt)
	s := wrap("quota_class_set", &schema{Types: []string{"object"}, Keys: quotaKey, Others: &schema{
		Types: []string{"integer", "string"}, Pattern: fewDigits, MinLength: 1, Minimum: &low, Maximum: &high,
	}})
	if err := c.body(s, &body); err != nil {
		return err
	}
	if c.id() != defaultClass {
		return fault.Wrap(volume.ErrInvalid, "Only the quota class %q exists here.", defaultClass)
	}
	change, err := bounds(body.Set)
	if err != nil {
		return err
	}
	q, err := a.volumes.SetDefaultQuotas(c.Context(), change)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"quota_class_set": quotaView(q, "")})
}
