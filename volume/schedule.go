package volume

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// placement is what is asked of a pool.
type placement struct {
	sizeGiB int
	// types are the volume's, or all that a group may have.
	types []Type
	zone  string
	// volume is what pools' functions are asked about; nil where only the size is known.
	volume *Volume
	// only is the one pool that will do, because what the volume is made from is there; empty is any.
	only string
	// encrypted and shared volumes need a pool that can have them.
	encrypted, shared bool
	same, different   []string
	// but are pools that will not do.
	but []string
}

// place returns the best pool among those that can take the volume, by their own goodness, and then the one with the most
// free room; nil if there is none.
func (s *Service) place(tx *record.Tx, want placement) (*pool, error) {
	pools, err := s.allPools(tx)
	if err != nil {
		return nil, err
	}
	same, err := s.poolsOf(tx, want.same)
	if err != nil {
		return nil, err
	}
	different, err := s.poolsOf(tx, want.different)
	if err != nil {
		return nil, err
	}
	var best *pool
	var good float64
	var room int64
	for i := range pools {
		p := &pools[i]
		if !want.suits(p) || p.Disabled || !s.up(p) || same != nil && !same[p.Name] || different[p.Name] || slices.Contains(want.but, p.Name) {
			continue
		}
		promised, err := s.promised(tx, p.Name)
		if err != nil {
			return nil, err
		}
		free, fits := p.room(promised, int64(want.sizeGiB)*gib)
		if !fits {
			continue
		}
		r, err := s.rate(tx, p, &want)
		if err != nil {
			return nil, err
		}
		if r.passes && (best == nil || r.goodness > good || r.goodness == good && free > room) {
			best, good, room = p, r.goodness, free
		}
	}
	return best, nil
}

// poolsOf are the pools of volumes; nil for no volumes.
func (s *Service) poolsOf(tx *record.Tx, volumeIDs []string) (map[string]bool, error) {
	if len(volumeIDs) == 0 {
		return nil, nil
	}
	volumes, err := s.volumes.List(tx, record.Query{Where: []record.Condition{record.In("id", volumeIDs...)}})
	pools := map[string]bool{}
	for i := range volumes {
		pools[volumes[i].Host] = true
	}
	return pools, err
}

// promised is what a pool is to hold and does not count yet, in bytes: volumes that are being made.
func (s *Service) promised(tx *record.Tx, name string) (int64, error) {
	sum, err := s.volumes.Sum(tx, "size", record.Eq("host", name), record.Eq("task", string(TaskCreate)))
	return sum * gib, err
}

// room says how much is free in a pool for which something is promised already, and whether a volume fits. A thin pool
// takes more than it has room for, as often as it is oversubscribed.
func (p *pool) room(promised, bytes int64) (free int64, fits bool) {
	c := p.Capacity
	free = c.Free - promised
	if !c.Thin {
		return free, bytes <= free
	}
	often := p.Oversubscription
	return free, float64(c.Provisioned+promised+bytes) <= float64(c.Total)*often && float64(bytes) <= float64(c.Free)*often
}

// suits says whether a pool can have such a volume at all.
func (w *placement) suits(p *pool) bool {
	if w.only != "" && w.only != p.Name || w.zone != "" && w.zone != p.Zone ||
		w.shared && !p.Capacity.Shared || w.encrypted && !p.Capacity.Encryption {
		return false
	}
	return !slices.ContainsFunc(w.types, func(t Type) bool { return !t.suits(p) })
}

const zonesSpec = "RESKEY:availability_zones"

// matches compares extra specs with what a pool can do. Specs of other scopes than "capabilities" are not the
// scheduler's.
func matches(specs map[string]string, p *pool) bool {
	var have map[string]any
	for key, want := range specs {
		if key == zonesSpec {
			if !slices.Contains(splitList(want), p.Zone) {
				return false
			}
			continue
		}
		scope, rest, scoped := strings.Cut(key, ":")
		if scoped && scope != "capabilities" {
			continue
		}
		if scoped {
			key = rest
		}
		if have == nil {
			have = p.capabilities()
		}
		value, known := have[key]
		if !known || !satisfies(fmt.Sprint(value), want) {
			return false
		}
	}
	return true
}

func splitList(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// satisfies compares a capability with an extra spec in the little language of Cinder's capabilities filter.
func satisfies(have, want string) bool {
	operator, operand, found := strings.Cut(strings.TrimSpace(want), " ")
	operand = strings.TrimSpace(operand)
	if !found {
		return strings.EqualFold(have, want)
	}
	switch operator {
	case "<is>":
		a, errA := strconv.ParseBool(strings.ToLower(have))
		b, errB := strconv.ParseBool(strings.ToLower(operand))
		return errA == nil && errB == nil && a == b
	case "<in>":
		return strings.Contains(have, operand)
	case "<or>":
		return slices.Contains(splitBy(operand, "<or>"), have)
	case "s==":
		return have == operand
	case "s!=":
		return have != operand
	case "=", ">=", "<=", "==", "!=":
		return compares(have, operator, operand)
	}
	return strings.EqualFold(have, want)
}

func splitBy(text, separator string) []string {
	list := strings.Split(text, separator)
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func compares(have, operator, operand string) bool {
	a, errA := strconv.ParseFloat(have, 64)
	b, errB := strconv.ParseFloat(operand, 64)
	if errA != nil || errB != nil {
		return false
	}
	switch operator {
	case "<=":
		return a <= b
	case "==":
		return a == b
	case "!=":
		return a != b
	}
	return a >= b // "=" is "at least" there
}

// checkZone refuses a zone that no pool is in.
func (s *Service) checkZone(tx *record.Tx, zone string) error {
	if zone == "" || zone == DefaultZone {
		return nil
	}
	n, err := s.pools.Count(tx, record.Eq("zone", zone))
	if err == nil && n == 0 {
		err = fault.Wrap(ErrInvalid, "Availability zone '%s' is invalid.", zone)
	}
	return err
}
