# make up    a cloud in the background, with two servers behind a balancer; make down ends it
# make test  everything; needs root
# make package  the program, a Debian package and a container image, in build/package
SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c
.PHONY: up down build guest package test bench lint generate

# LAB=0 runs the cloud in the machine's own network namespace; otherwise it lives in one that has no way out.
LAB ?= 1
# More flags for the server: make up FLAGS="-fabric openvswitch"
FLAGS ?=
lab = -lab=$(if $(filter 0 no false,$(LAB)),false,true)

up: build guest
	@bin/allinone up $(lab) $(FLAGS)

down: build
	@bin/allinone down $(FLAGS)

build:
	@scripts/install up
	@echo "building the server"
	@CGO_ENABLED=0 go build -trimpath -o bin/ ./examples/allinone

guest:
	@scripts/install up
	@examples/allinone/guest/build --disk build/guest

package:
	@scripts/install package
	@echo "packaging into build/package"
	@packaging/build build/package

test: export KINTOUN_REQUIRE ?= all
test:
	@scripts/install up test
	@examples/allinone/guest/build --disk build/guest
	@scripts/kernel build/guest/.work/packages build/kernel
	go vet ./...
	CGO_ENABLED=1 go test -race -timeout 15m $$(go list ./... | grep -v /e2e)
	go test -timeout 30m -count 1 ./examples/allinone/e2e

bench:
	@scripts/install up test
	@examples/allinone/guest/build --disk build/guest
	@scripts/kernel build/guest/.work/packages build/kernel
	@scripts/rivals
	go test -run '^$$' -bench . -skip '^BenchmarkServer$$' -benchtime 1s -p 1 -timeout 30m ./...
	go test -run '^$$' -bench '^BenchmarkListPage$$' -timeout 10m ./objectstore -objectstore.many 1000000
	go test -run '^$$' -bench '^BenchmarkServer$$' -benchtime 8x -timeout 30m ./examples/allinone/e2e

lint:
	golangci-lint run

# What is written by programs: the tables of what of the APIs is served, and of settings.
generate:
	go generate ./...
