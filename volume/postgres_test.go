//go:build linux

package volume_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
)

func TestOverPostgreSQL(t *testing.T) { postgres.Rerun(t, ".") }
