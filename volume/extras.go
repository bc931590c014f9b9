package volume

import (
	"errors"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// extrasTables are the records of groups, backups, transfers, QoS and jobs.
type extrasTables struct {
	backups        *record.Table[Backup]
	groups         *record.Table[Group]
	groupTypes     *record.Table[GroupType]
	groupSnapshots *record.Table[GroupSnapshot]
	transfers      *record.Table[Transfer]
	qos            *record.Table[QoS]
	jobs           *record.Table[job]
}

func defineExtras(store *record.Store) extrasTables {
	return extrasTables{
		backups:        record.Define(store, "backups", backupSpec),
		groups:         record.Define(store, "groups", groupSpec),
		groupTypes:     record.Define(store, "group_types", groupTypeSpec),
		groupSnapshots: record.Define(store, "group_snapshots", groupSnapshotSpec),
		transfers:      record.Define(store, "transfers", transferSpec),
		qos:            record.Define(store, "qos", qosSpec),
		jobs:           record.Define(store, jobsKind, jobSpec),
	}
}

// mustAdmin refuses what the rule of Cinder's policy keeps for administrators.
func mustAdmin(scope Scope, rule string) error {
	if scope.Admin {
		return nil
	}
	return fault.Wrap(ErrForbidden, "Policy doesn't allow %s to be performed.", rule)
}

// page cuts the part out of a sorted list that a marker, an offset and a limit ask for.
func page[T any](all []T, id func(*T) string, marker string, offset, limit int) ([]T, error) {
	if marker != "" {
		at := slices.IndexFunc(all, func(one T) bool { return id(&one) == marker })
		if at < 0 {
			return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", marker)
		}
		all = all[at+1:]
	}
	all = all[min(offset, len(all)):]
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return all, nil
}

// usedByExtras is what a project has of a resource of quotas that is not volumes' or snapshots'.
func (s *Service) usedByExtras(tx *record.Tx, projectID, name string) (int, error) {
	project := record.Eq("project", projectID)
	switch name {
	case "backups":
		return s.backups.Count(tx, project)
	case "backup_gigabytes":
		sum, err := s.backups.Sum(tx, "size", project)
		return int(sum), err
	case "groups":
		return s.groups.Count(tx, project)
	}
	return 0, nil
}

// tally counts what several volumes or snapshots are of a quota, of all types and of each.
type tally struct {
	all    map[string]int
	byType map[string]map[string]int
}

func newTally() tally { return tally{all: map[string]int{}, byType: map[string]map[string]int{}} }

func (t tally) add(typeID, resource string, sizeGiB int) {
	if t.byType[typeID] == nil {
		t.byType[typeID] = map[string]int{}
	}
	for _, count := range []map[string]int{t.all, t.byType[typeID]} {
		count[resource]++
		count["gigabytes"] += sizeGiB
	}
}

// reserveMany refuses what would be more than the project may have.
func (s *Service) reserveMany(tx *record.Tx, projectID string, want tally) error {
	if err := s.reserve(tx, projectID, "", want.all); err != nil {
		return err
	}
	for typeID, some := range want.byType {
		name, err := s.typeName(tx, typeID)
		if err != nil {
			return err
		}
		if err := s.reserve(tx, projectID, name, some); err != nil {
			return err
		}
	}
	return nil
}

// typeName is the name of a type; none where there is none.
func (s *Service) typeName(tx *record.Tx, id string) (string, error) {
	t, err := s.types.Get(tx, id)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return t.Name, nil
}

// hostForBackup is the pool whose agent looks after a backup: the one that made it, or any that is up.
func (s *Service) hostForBackup(tx *record.Tx, b *Backup) (string, error) {
	all, err := s.allPools(tx)
	if err != nil {
		return "", err
	}
	host := ""
	for i := range all {
		p := &all[i]
		if s.up(p) && (host == "" || p.Name == b.Host) {
			host = p.Name
		}
	}
	if host == "" {
		return "", fault.Wrap(ErrUnavailable, "Service cinder-backup could not be found.")
	}
	return host, nil
}

// choosePool is the best pool that can have volumes of all the types; [ErrNotFound] if there is none.
func (s *Service) choosePool(tx *record.Tx, want placement) (*pool, error) {
	found, err := s.place(tx, want)
	if err == nil && found == nil {
		err = fault.Wrap(ErrNotFound, "No valid backend was found: no pool can have volumes of these types.")
	}
	return found, err
}

// suits says whether a pool can have volumes of the type.
func (t *Type) suits(p *pool) bool {
	return (t.Encryption == nil || p.Capacity.Encryption) && (!t.asks("multiattach") || p.Capacity.Shared) && matches(t.Specs, p)
}
