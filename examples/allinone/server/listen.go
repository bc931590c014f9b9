package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
)

// ListenTwice opens the addresses of inherited listeners here too: those were opened in another network namespace,
// and whoever is in this one wants to reach the APIs under the same addresses.
func (o *Options) ListenTwice() error {
	for _, s := range sockets() {
		if len(o.Listeners[s]) != 1 {
			continue
		}
		if err := o.listeners().Open(s, o.Listeners[s][0].Addr().String()); err != nil {
			return errors.Join(err, o.Listeners.Close())
		}
	}
	return nil
}

// open opens the listeners that are not there yet.
func (o *Options) open() error {
	if err := o.listeners().OpenMissing(o.Listen, o.Ports); err != nil {
		return err
	}
	if err := o.OpenListeners(o.Listeners); err != nil {
		return errors.Join(err, o.Listeners.Close())
	}
	return nil
}

// ListenFiles opens the listeners for another process, which finds them with [Inherited]: the files to pass from
// descriptor 3 on, and what to add to its environment.
func (o *Options) ListenFiles() (files []*os.File, env []string, err error) {
	if err := o.open(); err != nil {
		return nil, nil, err
	}
	var names []string
	for _, s := range sockets() {
		for _, l := range o.Listeners[s] {
			file, err := l.(*net.TCPListener).File()
			if err != nil {
				return nil, nil, err
			}
			files, names = append(files, file), append(names, string(s))
		}
	}
	env = []string{"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
	return files, env, o.Listeners.Close()
}

// firstDescriptor is where inherited listeners begin, as sd_listen_fds(3) has it.
const firstDescriptor = 3

// mostInherited bounds the sockets that are taken: a few per name.
const mostInherited = 64

// InheritedFiles are the listening sockets that this process was started with.
func InheritedFiles() []*os.File {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > mostInherited {
		return nil
	}
	var files []*os.File
	for i := range n {
		files = append(files, os.NewFile(uintptr(firstDescriptor+i), "listener"))
	}
	return files
}

// Inherit takes over the listeners that this process was started with, by the names in LISTEN_FDNAMES, as systemd's
// socket units pass them: those of the APIs, "events" and "metrics".
func (o *Options) Inherit() error {
	files := InheritedFiles()
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i, file := range files {
		if i >= len(names) || !slices.Contains(sockets(), cloud.Service(names[i])) {
			return fmt.Errorf("inherited socket %d has no service's name: set FileDescriptorName to one of %v", firstDescriptor+i, sockets())
		}
		l, err := net.FileListener(file)
		if err != nil {
			return fmt.Errorf("inherited socket %s: %w", names[i], err)
		}
		_ = file.Close()
		s := cloud.Service(names[i])
		o.listeners()[s] = append(o.Listeners[s], l)
	}
	return nil
}

func (o *Options) listeners() cloud.Listeners {
	if o.Listeners == nil {
		o.Listeners = cloud.Listeners{}
	}
	return o.Listeners
}
