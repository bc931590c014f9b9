package main

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/internal/coverage"
)

// reference is written as the API reference is, in each of the ways that its parts differ.
func reference() fstest.MapFS {
	return fstest.MapFS{
		"v2/index.rst": {Data: []byte(`
========
 Things
========

What follows is ` + "``text``" + `.

.. rest_expand_all::

.. include:: things.inc
.. include:: boxes/boxes.inc

=============
Obsolete APIs
=============

Rust
====

.. rest_method:: GET /rust
`)},
		"v2/things.inc": {Data: []byte(`.. -*- rst -*-

==============
Things (things)
==============

List Things
===========

.. rest_method:: GET /things?limit={limit}

Lists.

Start Thing (os-start Action)
=============================

.. rest_method:: POST /things/{thing_id}/action
   max_version: 2.5

Request
-------

Stop Thing
==========

.. rest_method:: POST /things/{thing_id}/action

Specify the ` + "``stop``" + ` action in the request body.

Crash Thing
===========

.. rest_method:: POST /things/{thing_id}/action

.. rest_parameters:: parameters.yaml

  - thing_id: thing_id_path
  - thing_id: of_the_path
  - trigger_crash: crash

Odd Thing
=========

.. rest_method:: POST /things/{thing_id}/action
`)},
		"v2/boxes/boxes.inc": {Data: []byte("\n`Boxes <https://example.org>`_ with\\_marks\n=========================================\n" + `
Show box
~~~~~~~~

.. rest_method::
   GET
   /v2/boxes/{box_id}

.. rest_method:: nothing
`)},
	}
}

func TestOperations(t *testing.T) {
	d := document{root: reference()}
	require.NoError(t, d.read("v2/index.rst"))
	got := d.operations(&source{prefix: "/v2", end: "Obsolete APIs", actions: map[string]string{"Odd Thing": "odd"}})
	const action = "/v2/things/{thing_id}/action"
	require.Equal(t, []coverage.Operation{
		{Method: "GET", Path: "/v2/things"},
		{Method: "POST", Path: action, Action: "os-start"},
		{Method: "POST", Path: action, Action: "stop"},
		{Method: "POST", Path: action, Action: "trigger_crash"},
		{Method: "POST", Path: action, Action: "odd"},
		{Method: "GET", Path: "/v2/boxes/{box_id}"},
	}, got)
}

func TestIncludesThatCannotBeRead(t *testing.T) {
	d := document{root: fstest.MapFS{"index.rst": {Data: []byte(".. include:: gone.inc\n")}}}
	require.ErrorContains(t, d.read("index.rst"), "gone.inc")
	d = document{root: fstest.MapFS{"index.rst": {Data: []byte(".. include:: ./index.rst\n")}}}
	require.ErrorContains(t, d.read("index.rst"), "index.rst includes itself")
}

func TestRenderIsReadBack(t *testing.T) {
	api := coverage.API{Service: "things", Name: "Things <v2>", Source: "a test", Operations: []coverage.Operation{
		{Method: "GET", Path: "/a"}, {Method: "POST", Path: "/a/action", Action: "go"},
	}}
	data, err := render(&api)
	require.NoError(t, err)
	require.Contains(t, string(data), "\n    {\"method\":\"POST\"")
	require.Contains(t, string(data), "<v2>")
	var back coverage.API
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, api, back)
}
