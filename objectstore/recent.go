package objectstore

import (
	"maps"
	"sync"
)

// recent are containers that were written to, as they were then. Who may write to one by what is remembered is let begin without
// another look at the database; whether it is still so is found out in the transaction at the end.
type recent struct {
	mu         sync.Mutex
	containers map[string]Container
}

// manyRecent bounds what is remembered.
const manyRecent = 1000

// remember takes what a transaction saw, if it is without quotas, which have to be looked at each time.
func (r *recent) remember(t *txn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers == nil || len(r.containers)+len(t.containers) > manyRecent {
		r.containers = map[string]Container{}
	}
	for id, c := range t.containers {
		if t.accounts[c.Account] == nil || c.QuotaBytes != nil || c.QuotaObjects != nil {
			delete(r.containers, id)
			continue
		}
		r.containers[id] = Container{Account: c.Account, Settings: Settings{Write: c.Write}}
	}
	for id, a := range t.accounts {
		if a.QuotaBytes != nil || a.QuotaObjects != nil {
			maps.DeleteFunc(r.containers, func(_ string, c Container) bool { return c.Account == id })
		}
	}
}

// forget is for a container that was deleted.
func (r *recent) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.containers, id)
}

// admits says whether the caller may begin to write.
func (r *recent) admits(s *Service, caller *Caller, path Path) bool {
	r.mu.Lock()
	c, ok := r.containers[containerID(path.Account, path.Container)]
	r.mu.Unlock()
	return ok && s.allow(caller, nil, &c, path, writeObject) == nil
}
