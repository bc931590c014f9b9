package record

import (
	"context"
	"database/sql"
	"strings"
	"sync"
)

// statements are those that were prepared, by their texts: parsing one costs about as much as running it.
type statements struct {
	mu     sync.Mutex
	ready  map[string]*sql.Stmt
	asked  map[string]bool // once, as a text
	wanted map[string]bool // again
}

// The bounds of memory: what is asked for in ever new words is parsed each time.
const (
	manyStatements = 256
	manyTexts      = 2048
)

// prepared returns the statement, or nil where it has to be run as a text.
func (tx *Tx) prepared(query string) *sql.Stmt {
	s := &tx.store.statements
	inside := tx.sql != nil
	ready := s.find(query, inside)
	switch {
	case ready == nil && inside:
		return tx.preparedInside(query)
	case ready == nil:
		s.prepare(tx.ctx, tx.store.db)
		return s.find(query, inside)
	case inside:
		return tx.sql.StmtContext(tx.running, ready)
	}
	return ready
}

// preparedInside prepares what a transaction asks for more than once, for itself alone: others find it prepared when it has ended.
func (tx *Tx) preparedInside(query string) *sql.Stmt {
	ready, asked := tx.own[query]
	if ready != nil || !repeats(query) {
		return ready
	}
	if asked {
		ready, _ = tx.sql.PrepareContext(tx.running, query) // what fails does so as a text too, and is told then
	}
	if tx.own == nil {
		tx.own = map[string]*sql.Stmt{}
	}
	tx.own[query] = ready
	return ready
}

// find returns what is prepared. What is not yet is so at the next call of prepare: at once where it costs nothing more, outside
// transactions, and else when it is asked for a second time.
func (s *statements) find(query string, inside bool) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ready := s.ready[query]; ready != nil {
		return ready
	}
	switch {
	case len(s.ready)+len(s.wanted) >= manyStatements || !repeats(query):
	case s.asked[query], !inside && !varies(query):
		s.wanted = with(s.wanted, query)
	case len(s.asked) < manyTexts:
		s.asked = with(s.asked, query)
	}
	return nil
}

func with(set map[string]bool, text string) map[string]bool {
	if set == nil {
		set = map[string]bool{}
	}
	set[text] = true
	return set
}

// repeats tells what is asked again and again from what makes tables.
func repeats(query string) bool {
	return strings.HasPrefix(query, "SELECT ") || strings.HasPrefix(query, "INSERT ") || strings.HasPrefix(query, "UPDATE ") || strings.HasPrefix(query, "DELETE ")
}

// varies says whether a text has as many places as there happen to be values.
func varies(query string) bool {
	return strings.Contains(query, " IN (") || strings.Contains(query, "), (")
}

// prepare prepares what was asked for. It is called outside transactions: it needs a connection of its own, and
// transactions that wait for one another's connections would wait for ever.
func (s *statements) prepare(ctx context.Context, db *sql.DB) {
	s.mu.Lock()
	wanted := s.wanted
	s.wanted = nil
	s.mu.Unlock()
	for query := range wanted {
		statement, err := db.PrepareContext(ctx, query)
		if err != nil {
			continue // whoever asks for it again hears of it
		}
		if !s.keep(query, statement) {
			_ = statement.Close() //nolint:sqlclosecheck // those before it in the loop are kept
		}
	}
}

// keep says whether the statement is the first of its text.
func (s *statements) keep(query string, statement *sql.Stmt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready[query] != nil {
		return false
	}
	if s.ready == nil {
		s.ready = map[string]*sql.Stmt{}
	}
	s.ready[query] = statement
	return true
}
