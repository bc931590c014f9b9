package volume

import (
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/formula"
)

// The scopes of the variables in a pool's functions.
const (
	scopeVolume       = "volume"
	scopeStats        = "stats"
	scopeCapabilities = "capabilities"
	scopeExtra        = "extra"
	scopeQoS          = "qos"
)

// totalVolumes is a capability that is counted.
const totalVolumes = "total_volumes"

// checkFunctions refuses functions that are no formulas, or ask for what the pool does not tell.
func (p *pool) checkFunctions() error {
	vars := formula.Variables{scopeVolume: describeWanted(&Volume{}), scopeStats: p.stats(), scopeCapabilities: p.capabilities()}
	vars[scopeCapabilities][totalVolumes] = 0
	known := func(scope, name string) bool {
		return scope == scopeExtra || scope == scopeQoS || vars.Has(scope, name)
	}
	var failures []error
	for _, f := range [][2]string{{"filter_function", p.Filter}, {"goodness_function", p.Goodness}} {
		if f[1] == "" {
			continue
		}
		if _, err := formula.Parse(f[1], known); err != nil {
			failures = append(failures, fmt.Errorf("%s of pool %s: %w: %w", f[0], p.Name, ErrInvalid, err))
		}
	}
	return errors.Join(failures...)
}

// describeWanted is what functions know of a volume, by Cinder's names.
func describeWanted(v *Volume) map[string]any {
	return map[string]any{
		"id": v.ID, "size": v.SizeGiB, "display_name": v.Name, "display_description": v.Description, "volume_type_id": v.TypeID,
		"status": string(v.Status), "attach_status": v.AttachStatus, "user_id": v.UserID, "project_id": v.ProjectID, "availability_zone": v.Zone,
		"snapshot_id": v.SnapshotID, "source_volid": v.SourceVolumeID, "encryption_key_id": v.EncryptionKeyID, "group_id": v.GroupID,
		"multiattach": v.Multiattach,
	}
}

// stats are what functions know of a pool besides its capabilities.
func (p *pool) stats() map[string]any {
	stats := p.capabilities()
	stats["host"], stats["backend_id"], stats["updated"] = p.Name, p.Name, stats["timestamp"]
	return stats
}

// tell are all capabilities of a pool, those that are counted too.
func (s *Service) tell(tx *record.Tx, p *pool) (map[string]any, error) {
	all := p.capabilities()
	n, err := s.volumes.Count(tx, record.Eq("host", p.Name))
	all[totalVolumes] = n
	return all, err
}

// rating is what a pool's functions say of a volume.
type rating struct {
	passes bool
	// goodness is from 0 to 100.
	goodness float64
}

// rate evaluates the pool's functions. As in Cinder, a filter that has no value lets nothing pass, and a goodness that has
// none, or is out of bounds, is 0.
func (s *Service) rate(tx *record.Tx, p *pool, want *placement) (rating, error) {
	if p.Filter == "" && p.Goodness == "" {
		return rating{passes: true}, nil
	}
	vars, err := s.formulaVariables(tx, p, want)
	if err != nil {
		return rating{}, err
	}
	r := rating{passes: true}
	if p.Filter != "" {
		value, err := evaluate(p.Filter, vars)
		r.passes = err == nil && value.holds
	}
	if p.Goodness != "" {
		if value, err := evaluate(p.Goodness, vars); err == nil {
			r.goodness = value.goodness
		}
	}
	return r, nil
}

// verdict is the value of a function, as a filter and as goodness.
type verdict struct {
	holds    bool
	goodness float64
}

func evaluate(text string, vars formula.Variables) (verdict, error) {
	// What is not known has no value: the agent said so when it started.
	f, err := formula.Parse(text, func(string, string) bool { return true })
	if err != nil {
		return verdict{}, err
	}
	var v verdict
	if v.holds, err = f.Holds(vars); err != nil {
		return verdict{}, err
	}
	value, err := f.Evaluate(vars)
	switch n := value.(type) {
	case bool:
		if n {
			v.goodness = 100
		}
	case float64:
		if n >= 0 && n <= 100 {
			v.goodness = n
		}
	}
	return v, err
}

func (s *Service) formulaVariables(tx *record.Tx, p *pool, want *placement) (formula.Variables, error) {
	told, err := s.tell(tx, p)
	if err != nil {
		return nil, err
	}
	wanted := Volume{SizeGiB: want.sizeGiB}
	if want.volume != nil {
		wanted = *want.volume
	}
	vars := formula.Variables{scopeVolume: describeWanted(&wanted), scopeStats: p.stats(), scopeCapabilities: told, scopeExtra: {}, scopeQoS: {}}
	for i := range want.types {
		t := &want.types[i]
		for key, value := range t.Specs {
			vars[scopeExtra][key] = value
		}
		if t.QoSID == "" {
			continue
		}
		q, err := s.qos.Get(tx, t.QoSID)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for key, value := range q.Specs {
			vars[scopeQoS][key] = value
		}
	}
	return vars, nil
}
