package cloud

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// listen opens the listeners that the options ask for and that are not there yet.
func (o *Options) listen() error {
	for _, s := range Services() {
		if len(o.Listeners[s]) > 0 {
			continue
		}
		if err := o.open(s, net.JoinHostPort(o.Listen, strconv.Itoa(o.Ports[s]))); err != nil {
			return errors.Join(err, o.closeListeners())
		}
	}
	return nil
}

// ListenTwice opens the addresses of inherited listeners here too: those were opened in another network namespace,
// and whoever is in this one wants to reach the APIs under the same addresses.
func (o *Options) ListenTwice() error {
	for _, s := range Services() {
		if len(o.Listeners[s]) != 1 {
			continue
		}
		if err := o.open(s, o.Listeners[s][0].Addr().String()); err != nil {
			return errors.Join(err, o.closeListeners())
		}
	}
	return nil
}

func (o *Options) open(s Service, address string) error {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s, for the %s API, is taken: end what listens there, or choose another port with -%s-port", address, s, s)
	}
	if err != nil {
		return err
	}
	o.add(s, l)
	return nil
}

func (o *Options) add(s Service, l net.Listener) {
	if o.Listeners == nil {
		o.Listeners = map[Service][]net.Listener{}
	}
	o.Listeners[s] = append(o.Listeners[s], l)
}

func (o *Options) closeListeners() error {
	var failures []error
	for _, all := range o.Listeners {
		for _, l := range all {
			if err := l.Close(); !errors.Is(err, net.ErrClosed) {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

// ListenFiles opens the listeners for another process, which finds them with [Inherited]: the files to pass from
// descriptor 3 on, and what to add to its environment.
func (o *Options) ListenFiles() (files []*os.File, env []string, err error) {
	if err := o.listen(); err != nil {
		return nil, nil, err
	}
	var names []string
	for _, s := range Services() {
		file, err := o.Listeners[s][0].(*net.TCPListener).File()
		if err != nil {
			return nil, nil, err
		}
		files, names = append(files, file), append(names, string(s))
	}
	env = []string{"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
	return files, env, o.closeListeners()
}

// firstDescriptor is where inherited listeners begin, as sd_listen_fds(3) has it.
const firstDescriptor = 3

// InheritedFiles are the listening sockets that this process was started with.
func InheritedFiles() []*os.File {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > len(Services()) {
		return nil
	}
	var files []*os.File
	for i := range n {
		files = append(files, os.NewFile(uintptr(firstDescriptor+i), "listener"))
	}
	return files
}

// Inherit takes over the listeners that this process was started with, by the names in LISTEN_FDNAMES, as systemd's
// socket units pass them.
func (o *Options) Inherit() error {
	files := InheritedFiles()
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i, file := range files {
		if i >= len(names) || !slices.Contains(Services(), Service(names[i])) {
			return fmt.Errorf("inherited socket %d has no service's name: set FileDescriptorName to one of %v", firstDescriptor+i, Services())
		}
		l, err := net.FileListener(file)
		if err != nil {
			return fmt.Errorf("inherited socket %s: %w", names[i], err)
		}
		_ = file.Close()
		o.add(Service(names[i]), l)
	}
	return nil
}
