package converge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// followPause is how long a hub waits before it reads a feed again that failed.
const followPause = time.Second

// Route says which hosts a change concerns that does not say so itself ([record.Change].Everywhere), by what the
// database has now; everywhere is all of them. A host that it leaves out must hear of another change.
type Route func(ctx context.Context, change record.Change) (hosts []string, everywhere bool)

// Hub reads the changes of a store once for all agents of a process, while there are any, and hands each change to the
// agents of the hosts that it concerns. Create it with [NewHub].
type Hub struct {
	store  *record.Store
	route  Route
	forget func()

	mu        sync.Mutex
	followers map[string]map[*Follower]bool // by host
	count     int
	stop      context.CancelFunc
	done      chan struct{}
	position  int64         // up to here all followers were told; unknown is negative
	progress  chan struct{} // closed and replaced when position grows; nil while nobody waits
}

// NewHub returns a hub that reads nothing until somebody follows. A nil route sends everything everywhere. Forget, if not
// nil, is called once whenever changes may not have been heard of, before anybody is told: what was remembered of the store
// may be wrong then.
func NewHub(store *record.Store, route Route, forget func()) *Hub {
	if route == nil {
		route = func(context.Context, record.Change) ([]string, bool) { return nil, true }
	}
	if forget == nil {
		forget = func() {}
	}
	return &Hub{store: store, route: route, forget: forget, followers: map[string]map[*Follower]bool{}, position: -1}
}

// Follower hears of the changes that concern one host, and tells how far it has heard. Create it with [Hub.Follower].
type Follower struct {
	hub  *Hub
	host string
	// settle waits until what the follower was told is done.
	settle func(context.Context) error

	mu        sync.Mutex
	changed   func(record.Change)
	missed    func()
	following chan struct{} // closed when it follows
}

// Follower returns a follower for the host that hears nothing until [Follower.Follow]. Settle returns when it has done
// what it was told to do; nil is nothing to wait for.
func (h *Hub) Follower(host string, settle func(context.Context) error) *Follower {
	return &Follower{hub: h, host: host, settle: settle, following: make(chan struct{})}
}

// Follow has changed called for every change from now on that concerns the host, in order; what was before is to be
// looked up after Follow has returned. When changes were missed, because the database failed, missed is called, which
// has to look at everything. Neither is called any more when leave has returned. Call it once; it fails with ctx's error.
func (f *Follower) Follow(ctx context.Context, changed func(record.Change), missed func()) (leave func(), err error) {
	f.changed, f.missed = changed, missed
	f.hub.join(f)
	if err := f.hub.await(ctx, 0); err != nil {
		f.hub.leave(f)
		return nil, err
	}
	close(f.following)
	return func() { f.hub.leave(f) }, nil
}

// Following waits until the follower follows.
func (f *Follower) Following(ctx context.Context) error {
	select {
	case <-f.following:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CatchUp returns when everything that was written before the call was heard of, or with ctx's error.
func (f *Follower) CatchUp(ctx context.Context) error {
	if err := f.Following(ctx); err != nil {
		return err
	}
	return f.hub.CatchUp(ctx)
}

// CatchUp returns when all followers have heard of everything that was written before the call, or with ctx's error.
// Without any it returns at once.
func (h *Hub) CatchUp(ctx context.Context) error {
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	return h.await(ctx, head)
}

// Settle returns when all followers have heard of everything that was written before the call and have done it, or with
// ctx's error.
func (h *Hub) Settle(ctx context.Context) error {
	if err := h.CatchUp(ctx); err != nil {
		return err
	}
	for _, f := range h.all() {
		if f.settle == nil {
			continue
		}
		if err := f.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the position is known and at least seq, or nobody follows.
func (h *Hub) await(ctx context.Context, seq int64) error {
	for {
		h.mu.Lock()
		if h.count == 0 || h.position >= seq {
			h.mu.Unlock()
			return nil
		}
		if h.progress == nil {
			h.progress = make(chan struct{})
		}
		progress := h.progress
		h.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *Hub) join(f *Follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.followers[f.host] == nil {
		h.followers[f.host] = map[*Follower]bool{}
	}
	h.followers[f.host][f] = true
	if h.count++; h.count > 1 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.stop, h.done, h.position = cancel, done, -1
	go func() { defer close(done); h.run(ctx) }()
}

// leave lets the follower hear no more; after the last one the hub stops reading.
func (h *Hub) leave(f *Follower) {
	f.silence()
	h.mu.Lock()
	delete(h.followers[f.host], f)
	if len(h.followers[f.host]) == 0 {
		delete(h.followers, f.host)
	}
	h.count--
	last, done := h.count == 0, h.done
	if last {
		h.stop()
		h.stepped()
	}
	h.mu.Unlock()
	if last {
		<-done
	}
}

// silence waits for the call that is under way.
func (f *Follower) silence() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed, f.missed = nil, nil
}

func (f *Follower) tell(c record.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed != nil {
		f.changed(c)
	}
}

func (f *Follower) miss() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missed != nil {
		f.missed()
	}
}

func (h *Hub) run(ctx context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		head, err := h.store.Head(ctx)
		if err == nil {
			h.forget()
			if !first {
				for _, f := range h.all() {
					f.miss()
				}
			}
			h.reached(ctx, head)
			err = h.read(ctx, head)
		}
		if err != nil && !errors.Is(err, record.ErrCompacted) {
			select {
			case <-ctx.Done():
			case <-time.After(followPause):
			}
		}
	}
}

func (h *Hub) read(ctx context.Context, head int64) (err error) {
	for change, failure := range h.store.Watch(ctx, head) {
		if err = failure; err == nil {
			for _, f := range h.concerned(ctx, change) {
				f.tell(change)
			}
			h.reached(ctx, change.Seq)
		}
	}
	return err
}

// concerned are the followers that a change is for.
func (h *Hub) concerned(ctx context.Context, c record.Change) []*Follower {
	hosts := []string{c.Host}
	if c.Everywhere {
		var everywhere bool
		if hosts, everywhere = h.route(ctx, c); everywhere {
			return h.all()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Follower
	for _, host := range hosts {
		for f := range h.followers[host] {
			all = append(all, f)
		}
	}
	return all
}

func (h *Hub) all() []*Follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*Follower, 0, h.count)
	for _, of := range h.followers {
		for f := range of {
			all = append(all, f)
		}
	}
	return all
}

func (h *Hub) reached(ctx context.Context, seq int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return // somebody else reads by now
	}
	h.position = max(h.position, seq)
	h.stepped()
}

func (h *Hub) stepped() {
	if h.progress != nil {
		close(h.progress)
		h.progress = nil
	}
}
