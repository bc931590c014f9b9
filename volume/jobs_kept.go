package volume

import (
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// keepsForJob says whether a job made what the driver calls id, and still needs it: the moment that it reads, or the copy
// that it makes.
func (s *Service) keepsForJob(tx *record.Tx, id string) (known bool, volumeID string, err error) {
	jobs, err := s.jobs.Count(tx, record.Any(record.Eq("id", id), record.Eq("new", id), record.Eq("old", id)))
	if err != nil || jobs > 0 {
		return jobs > 0, "", err
	}
	making, err := s.jobs.List(tx, record.Query{Where: []record.Condition{record.Eq("action", string(jobCreateGroup))}})
	if err != nil {
		return false, "", err
	}
	for i := range making {
		members, err := s.members(tx, making[i].ID)
		if err != nil {
			return false, "", err
		}
		if slices.ContainsFunc(members, func(v Volume) bool { return copiedFrom(v.ID) == id }) {
			return true, "", nil
		}
	}
	return false, "", nil
}
