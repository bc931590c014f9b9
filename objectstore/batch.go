package objectstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

const (
	// manyWrites is how many wait for one commit at most.
	manyWrites = 64
	// finishing is how long a write may take after its client has gone.
	finishing = 30 * time.Second
)

// batcher has writes that come at once share one transaction, and with it one flush of the disk: the first to come makes it,
// with all that came while the one before was made.
type batcher struct {
	mu     sync.Mutex
	queue  []*job
	active bool
}

// job is a write that waits.
type job struct {
	fn   func(*txn) error
	err  error
	turn chan bool // true: lead; false: done
}

// write runs fn in a transaction that others may share. An fn that finds that it cannot go on returns its error before it
// has written anything, and the others are not hurt. It may be called more than once.
func (s *Service) write(ctx context.Context, fn func(t *txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, j := &s.writes, &job{fn: fn, turn: make(chan bool, 1)}
	b.mu.Lock()
	b.queue = append(b.queue, j)
	lead := !b.active
	b.active = true
	b.mu.Unlock()
	if !lead && !<-j.turn {
		return j.err
	}
	s.lead(ctx)
	return j.err
}

// lead makes the transaction of those that wait, and hands on to the next that came meanwhile.
func (s *Service) lead(ctx context.Context) {
	b := &s.writes
	b.mu.Lock()
	n := min(len(b.queue), manyWrites)
	jobs := b.queue[:n:n]
	b.queue = b.queue[n:]
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	s.commit(ctx, jobs)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.active = len(b.queue) > 0; b.active {
		b.queue[0].turn <- true
	}
	for _, j := range jobs[1:] {
		j.turn <- false
	}
}

// unsureError is the error of a commit: it may have been made all the same.
type unsureError struct{ error }

func (e unsureError) Unwrap() error { return e.error }

// errApart says that one of several writes broke off in the middle.
var errApart = errors.New("a write broke off in the middle of others")

func (s *Service) commit(ctx context.Context, jobs []*job) {
	var t *txn
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		t = newTxn(s, tx)
		for _, j := range jobs {
			before := t.wrote
			j.err = j.fn(t)
			switch {
			case record.LostRace(j.err):
				return j.err
			case j.err == nil || t.wrote == before:
			case len(jobs) > 1:
				return errApart
			default:
				return j.err
			}
		}
		return t.flush()
	})
	if errors.Is(err, errApart) {
		for _, j := range jobs { // who is to blame is found one by one
			s.commit(ctx, []*job{j})
		}
		return
	}
	if err == nil {
		s.recent.remember(t)
		return
	}
	for _, j := range jobs {
		if j.err == nil {
			j.err = unsureError{err}
		}
	}
}

// txn is a transaction, with the accounts and containers that it has seen: their counters are written once, at its end.
type txn struct {
	*record.Tx
	s          *Service
	accounts   map[string]*Account
	containers map[string]*Container
	counted    map[string]bool // containers, and accounts, whose counters changed
	wrote      int
}

func newTxn(s *Service, tx *record.Tx) *txn {
	return &txn{Tx: tx, s: s, accounts: map[string]*Account{}, containers: map[string]*Container{}, counted: map[string]bool{}}
}

// usage is a change of counters.
type usage struct{ objects, bytes, versionBytes, uploadBytes int64 }

// count changes the counters of a container and its account.
func (t *txn) count(c *Container, u usage) error {
	a, err := t.account(c.Account)
	if err != nil {
		return err
	}
	t.wrote++
	c.Objects, c.Bytes, c.VersionBytes = c.Objects+u.objects, c.Bytes+u.bytes, c.VersionBytes+u.versionBytes
	a.Objects, a.Bytes, a.UploadBytes = a.Objects+u.objects, a.Bytes+u.bytes+u.versionBytes, a.UploadBytes+u.uploadBytes
	t.counted[c.ID], t.counted[a.ID] = true, true
	return nil
}

// flush writes the counters.
func (t *txn) flush() error {
	for id := range t.counted {
		var err error
		if a := t.accounts[id]; a != nil {
			_, err = t.s.accounts.Touch(t.Tx, id, func(row *Account) error {
				row.Containers, row.Objects, row.Bytes, row.UploadBytes = a.Containers, a.Objects, a.Bytes, a.UploadBytes
				return nil
			})
		} else if c := t.containers[id]; c != nil {
			_, err = t.s.containers.Touch(t.Tx, id, func(row *Container) error {
				row.Objects, row.Bytes, row.VersionBytes = c.Objects, c.Bytes, c.VersionBytes
				return nil
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// account returns the account, which is made if there is none.
func (t *txn) account(id string) (*Account, error) {
	if a := t.accounts[id]; a != nil {
		return a, nil
	}
	a, err := t.s.findAccount(t.Tx, id)
	if err != nil {
		return nil, err
	}
	t.accounts[id] = a
	return a, nil
}

// container returns the container, or [ErrNoContainer].
func (t *txn) container(path Path) (*Container, error) {
	id := containerID(path.Account, path.Container)
	if c := t.containers[id]; c != nil {
		return c, nil
	}
	c, err := t.s.findContainer(t.Tx, path)
	if err != nil {
		return nil, err
	}
	t.containers[id] = c
	return c, nil
}

// current returns what is read under the name; nil if nothing is.
func (t *txn) current(container, name string) (*objectRow, error) {
	return t.s.findObject(t.Tx, container, name)
}
