// Package drivertest holds the conformance suites of the network drivers: [TestFabric], [TestFilters] and those of
// routers and DHCP servers. A driver's test hands its suite a factory that makes hosts to test on:
//
//	func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }
//
// A whole driver with its test: examples/customfabric. What carries frames in the test's own process has guests of type
// [FrameGuest]; for real devices they are yours to make.
//
// The suites only speak the contract of package driver and send and capture frames through [Guest]s, so that a
// real driver is tested with real packets and an in-memory one by what it computes. A frame that must not arrive is
// followed by one that must: the suites wait for the second, and never for time to pass.
//
// Test failures are the only errors; nothing here is safe for use outside the test's own goroutine.
package drivertest
