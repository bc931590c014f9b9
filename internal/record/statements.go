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
	ready := s.find(query)
	switch {
	case ready == nil && tx.sql == nil:
		s.prepare(tx.ctx, tx.store.db)
		return s.find(query)
	case ready == nil:
		return nil
	case tx.sql != nil:
		return tx.sql.StmtContext(tx.running, ready)
	}
	return ready
}

// find returns what is prepared. What is asked for a second time is so at the next call of prepare.
func (s *statements) find(query string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ready := s.ready[query]; ready != nil {
		return ready
	}
	switch {
	case len(s.ready)+len(s.wanted) >= manyStatements || !repeats(query):
	case s.asked[query]:
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
