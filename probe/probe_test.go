package probe_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
)

// Two drivers' answers, of which one thing is the same.
func Example() {
	balancers := probe.Join(
		&probe.Missing{What: "haproxy", Why: "balancers", How: "apt-get install haproxy"},
		&probe.Missing{What: "CAP_SYS_ADMIN", Why: "network namespaces", How: "run as root"})
	routers := &probe.Missing{What: "CAP_SYS_ADMIN", Why: "network namespaces", How: "run as root"}

	err := probe.Join(balancers, routers)
	for _, m := range probe.All(err) {
		fmt.Printf("%s: %s\n", m.What, m.How)
	}
	// Output:
	// haproxy: apt-get install haproxy
	// CAP_SYS_ADMIN: run as root
}

func TestMissing(t *testing.T) {
	m := &probe.Missing{What: "qemu-img", Why: "disks", How: "apt-get install qemu-utils", Err: fs.ErrNotExist}
	require.EqualError(t, m, "qemu-img: missing, needed for disks: apt-get install qemu-utils (file does not exist)")
	m.Err = nil
	require.EqualError(t, m, "qemu-img: missing, needed for disks: apt-get install qemu-utils")
	require.ErrorIs(t, m, probe.ErrUnavailable)
	require.NotErrorIs(t, m, fs.ErrNotExist)
}

func TestJoin(t *testing.T) {
	require.NoError(t, probe.Join(nil, nil))
	require.Empty(t, probe.All(nil))

	one, same := &probe.Missing{What: "one", Err: fs.ErrNotExist}, &probe.Missing{What: "one"}
	two, broken := &probe.Missing{What: "two"}, errors.New("broken")
	err := probe.Join(fmt.Errorf("first: %w", errors.Join(one, broken)), nil, fmt.Errorf("second: %w", errors.Join(two, same)))
	require.Equal(t, []*probe.Missing{one, two}, probe.All(err))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, broken)
	require.Equal(t, []*probe.Missing{one, two}, probe.All(probe.Join(err)))

	// What is no Missing is not lost, and comes last.
	err = probe.Join(errors.Join(one, broken), broken)
	require.EqualError(t, err, one.Error()+"\nbroken\nbroken")
	require.ErrorIs(t, probe.Join(broken), broken)
}
