//go:build linux

package lbaas_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
)

func TestOverPostgreSQL(t *testing.T) { postgres.Rerun(t, ".") }
