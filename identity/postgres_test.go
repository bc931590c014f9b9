//go:build linux

package identity_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
)

func TestOverPostgreSQL(t *testing.T) { postgres.Rerun(t, ".") }
