//go:build linux

package record_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
)

// What is left out makes tables of SQLite's.
func TestOverPostgreSQL(t *testing.T) { postgres.Rerun(t, ".", "TestFeedsOfOlderDatabasesGetEvents") }
