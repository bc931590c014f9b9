package cloud

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// Listeners are the sockets of each service. The first of a service is the one that clients are told.
type Listeners map[Service][]net.Listener

// Open adds a listener on the address.
func (l Listeners) Open(s Service, address string) error {
	opened, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s, for the %s API, is taken: end what listens there, or choose another port with -%s-port", address, s, s)
	}
	if err != nil {
		return err
	}
	l[s] = append(l[s], opened)
	return nil
}

// OpenMissing opens those that are not there yet. If one cannot be opened, all are closed.
func (l Listeners) OpenMissing(listen string, ports map[Service]int) error {
	for _, s := range Services() {
		if len(l[s]) > 0 {
			continue
		}
		if err := l.Open(s, net.JoinHostPort(listen, strconv.Itoa(ports[s]))); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return nil
}

// Close closes all.
func (l Listeners) Close() error {
	var failures []error
	for _, all := range l {
		for _, one := range all {
			if err := one.Close(); !errors.Is(err, net.ErrClosed) {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}
