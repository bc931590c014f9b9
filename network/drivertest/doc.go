// Package drivertest holds the conformance suites of the network drivers (package network/driver): [TestFabric],
// [TestFilters], [TestRouters] and [TestDHCPServers]. A driver's test hands its suite a factory that makes hosts to
// test on:
//
//	func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }
//
// A whole driver with its test: examples/customfabric. What carries frames in the test's own process has guests of type
// [FrameGuest]; for real devices they are yours to make.
//
// The suites only speak the contract and send and capture frames through guests, so that a real driver is tested with
// real packets and an in-memory one by what it computes. A frame that must not arrive is followed by one that must: the
// suites wait for the second, and never for time to pass.
//
// It needs testify, and of the host what the driver needs: a driver whose Probe fails should skip the test and say why,
// and one that changes a real host should be tested in namespaces of its own. It does not measure; the Benchmark
// functions do. Errors are test failures, with the name of the part; nothing here is safe for concurrent use outside
// the test's own goroutine.
package drivertest
