// Package architecture holds the house's rules as a test: who may import whom, and why. It has no code of its own.
package architecture
