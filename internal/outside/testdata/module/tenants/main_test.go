package main

import (
	"os"
	"testing"

	"example.org/outside/alone"
)

func TestMain(m *testing.M) { os.Exit(alone.Main(m)) }

func TestTenants(t *testing.T) {
	alone.Require(t, "ip", "ping")
	if err := run(t.Context()); err != nil {
		t.Error(err)
	}
}
