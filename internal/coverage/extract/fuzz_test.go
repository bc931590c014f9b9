package main

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// FuzzOperations reads any text: each operation found has a method and an absolute path.
func FuzzOperations(f *testing.F) {
	for _, file := range reference() {
		f.Add(file.Data)
	}
	f.Add([]byte("===\n\n===\n.. rest_method::\n\n  GET\n"))
	f.Add([]byte("~~~\nx\n~~~\n.. rest_method:: POST /action\n  - x: y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := document{root: fstest.MapFS{"index.rst": {Data: text}}}
		if d.read("index.rst") != nil {
			return
		}
		for _, o := range d.operations(&source{prefix: "/v9"}) {
			require.NotEmpty(t, o.Method)
			require.Regexp(t, `^/`, o.Path)
		}
	})
}
