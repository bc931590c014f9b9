package compute

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// ServerSpec is a server to make, or several alike.
type ServerSpec struct {
	Name        string
	Description *string
	// Hostname is made from Name if empty.
	Hostname          string
	FlavorID, ImageID string
	KeyName           string
	// UserData is base64, at most 65535 bytes of it.
	UserData string
	// AdminPassword is made up if empty.
	AdminPassword string
	Metadata      map[string]string
	Tags          []string
	// Devices are its disks, where ImageID alone does not say it: exactly one with Boot 0. NoSharedVolumes refuses volumes that
	// several servers may have.
	Devices         []BlockDevice
	NoSharedVolumes bool
	// Networks are what to attach to, in order. Nil is the project's only network; empty is none.
	Networks []NetworkRequest
	// NeedNetwork refuses a server that would have none because Networks is nil and the project has none.
	NeedNetwork bool
	// SecurityGroups are names or identifiers for the ports that are made; nil is the default group.
	SecurityGroups         []string
	AccessIPv4, AccessIPv6 string
	DiskConfig             string
	// Zone is the availability zone; empty for any. Host asks for a host (admins only).
	Zone, Host string
	Hints      Hints
	// MinCount and MaxCount are how many servers to make: at least and at most. Zero is one.
	MinCount, MaxCount int
}

// NetworkRequest is one network card to give to a server: a port, or a network with perhaps an address.
type NetworkRequest struct {
	NetworkID, PortID string
	FixedIP           netip.Addr
	Tag               string
}

// Hints are wishes for the scheduler.
type Hints struct {
	// GroupID is a server group to be in.
	GroupID string
	// SameHost and DifferentHost are servers to be with, and not to be with.
	SameHost, DifferentHost []string
}

// plan is a request that has been checked against everything outside the database.
type plan struct {
	spec     ServerSpec
	flavor   *Flavor
	image    Image
	key      *Keypair
	networks []NetworkRequest
	groups   []string
	// devices are the volumes to have; volumeImage is what the one to boot from came from.
	devices     []BlockDevice
	volumeImage Image
}

// CreateServers makes between MinCount and MaxCount servers, as many as the quota allows, and returns them as they
// are building. What is wrong with the request is refused before anything is made. Where no host can take the
// servers they are made all the same and are in error, as in OpenStack.
func (s *Service) CreateServers(ctx context.Context, scope Scope, spec ServerSpec) ([]Server, error) {
	p, err := s.plan(ctx, scope, spec)
	if err != nil {
		return nil, err
	}
	servers, err := s.insertServers(ctx, scope, p)
	if err != nil {
		return nil, err
	}
	for i := range servers {
		if servers[i].VMState == Errored {
			continue
		}
		err := s.network(ctx, &servers[i], p)
		if err == nil {
			err = s.takeVolumes(ctx, scope, &servers[i], p)
		}
		if err != nil {
			return nil, errors.Join(err, s.forget(ctx, servers))
		}
	}
	for i := range servers {
		if err := s.release(ctx, &servers[i]); err != nil {
			return nil, err
		}
	}
	return servers, nil
}

func (s *Service) plan(ctx context.Context, scope Scope, spec ServerSpec) (p *plan, err error) {
	p = &plan{spec: spec}
	if err := p.normalise(scope); err != nil {
		return nil, err
	}
	if p.flavor, err = s.Flavor(ctx, scope, spec.FlavorID); err != nil {
		return nil, asInvalid(err)
	}
	if err := s.planDevices(ctx, scope, p); err != nil {
		return nil, err
	}
	if spec.KeyName != "" {
		if p.key, err = s.Keypair(ctx, scope.UserID, spec.KeyName); errors.Is(err, ErrNotFound) {
			return nil, fault.Wrap(ErrInvalid, "Invalid key_name provided.")
		} else if err != nil {
			return nil, err
		}
	}
	if p.groups, err = s.planGroups(ctx, scope, spec.SecurityGroups); err != nil {
		return nil, err
	}
	p.networks, err = s.planNetworks(ctx, scope, p.spec)
	return p, err
}

// asInvalid is for what a request names and does not exist: the request is at fault, not its address.
func asInvalid(err error) error {
	if errors.Is(err, ErrNotFound) {
		return fault.Wrap(ErrInvalid, "%s", err.Error())
	}
	return err
}

func (p *plan) normalise(scope Scope) error {
	spec := &p.spec
	spec.Name = strings.TrimSpace(spec.Name)
	if spec.Name == "" || len([]rune(spec.Name)) > 255 {
		return fault.Wrap(ErrInvalid, "Server name must be between 1 and 255 characters long")
	}
	spec.MinCount = max(spec.MinCount, 1)
	spec.MaxCount = max(spec.MaxCount, 1)
	if spec.MinCount > spec.MaxCount {
		return fault.Wrap(ErrInvalid, "min_count must be <= max_count")
	}
	if spec.MaxCount > 1 && spec.Hostname != "" {
		return fault.Wrap(ErrInvalid, "Unable to allocate a single hostname to multiple instances")
	}
	if len(spec.UserData) > 65535 {
		return fault.Wrap(ErrInvalid, "User data too large. User data must be no larger than 65535 bytes once base64 encoded.")
	}
	if _, err := base64.StdEncoding.DecodeString(strings.Map(dropSpace, spec.UserData)); err != nil {
		return fault.Wrap(ErrInvalid, "User data needs to be valid base 64.")
	}
	if spec.Host != "" && !scope.Admin {
		return fault.Wrap(ErrForbidden, "Policy doesn't allow compute:servers:create:requested_destination to be performed.")
	}
	if spec.AdminPassword == "" {
		spec.AdminPassword = rand.Text()[:12]
	}
	if spec.DiskConfig == "" {
		spec.DiskConfig = "MANUAL"
	}
	spec.Tags = distinct(spec.Tags)
	for _, tag := range spec.Tags {
		if err := checkTag(tag); err != nil {
			return err
		}
	}
	return nil
}

func dropSpace(r rune) rune {
	if strings.ContainsRune(" \t\r\n", r) {
		return -1
	}
	return r
}

func (s *Service) findImage(ctx context.Context, scope Scope, id string) (Image, error) {
	image, err := s.images.Image(ctx, scope, id)
	if errors.Is(err, ErrNotFound) {
		return image, fault.Wrap(ErrInvalid, "Can not find requested image")
	}
	return image, err
}

func (s *Service) planImage(ctx context.Context, scope Scope, p *plan, id string) error {
	if id == "" {
		return fault.Wrap(ErrInvalid, "Invalid imageRef provided.")
	}
	image, err := s.findImage(ctx, scope, id)
	if err != nil {
		return err
	}
	const gib = 1 << 30
	switch {
	case image.Status != "active":
		return fault.Wrap(ErrInvalid, "Image %s is not active.", image.ID)
	case image.Format != "raw" && image.Format != "qcow2" && image.Format != "ami":
		return fault.Wrap(ErrInvalid, "Image %s is unacceptable: a server does not boot from the disk format %q", image.ID, image.Format)
	case image.MinRAMMiB > p.flavor.MemoryMiB:
		return fault.Wrap(ErrInvalid, "Flavor's memory is too small for requested image.")
	case p.flavor.DiskGiB > 0 && max(image.SizeBytes, image.VirtualBytes) > int64(p.flavor.DiskGiB)*gib:
		return fault.Wrap(ErrInvalid, "Flavor's disk is too small for requested image. Flavor disk is %d bytes, image is %d bytes.", int64(p.flavor.DiskGiB)*gib, max(image.SizeBytes, image.VirtualBytes))
	case p.flavor.DiskGiB > 0 && image.MinDiskGiB > p.flavor.DiskGiB:
		return fault.Wrap(ErrInvalid, "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is %d bytes, minimum size is %d bytes.", int64(p.flavor.DiskGiB)*gib, int64(image.MinDiskGiB)*gib)
	}
	p.image = image
	return nil
}

// insertServers writes the servers down, with hosts, in one transaction: quota and resources are claimed with it.
func (s *Service) insertServers(ctx context.Context, scope Scope, p *plan) (servers []Server, err error) {
	reservation := "r-" + strings.ToLower(rand.Text()[:8])
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		servers = nil
		if err := s.checkMetadata(tx, scope.ProjectID, p.spec.Metadata); err != nil {
			return err
		}
		count, err := s.affordable(tx, scope.ProjectID, p.flavor, p.spec.MinCount, p.spec.MaxCount)
		if err != nil {
			return err
		}
		scheduler, err := s.scheduler(tx, scope, p)
		if err != nil {
			return err
		}
		for i := range count {
			v := p.server(s.now(), scope, i)
			v.ReservationID = reservation
			if v.Number, err = s.next(tx, "server"); err != nil {
				return err
			}
			if err := s.place(tx, scheduler, &v); err != nil {
				return err
			}
			if err := s.servers.Insert(tx, &v); err != nil {
				return err
			}
			if err := s.begin(tx, scope, &v, "create", "compute__do_build_and_run_instance"); err != nil {
				return err
			}
			if v.VMState == Errored {
				if err := s.finish(tx, &v, errors.New(v.Fault.Message)); err != nil {
					return err
				}
			}
			servers = append(servers, v)
		}
		return nil
	})
	return servers, err
}

// place chooses and claims a host; a server that none can take is in error.
func (s *Service) place(tx *record.Tx, scheduler *scheduler, v *Server) error {
	host, err := scheduler.pick(v)
	if err != nil {
		return err
	}
	if host == "" {
		v.VMState, v.TaskState, v.Running, v.Volumes = Errored, "", false, nil
		v.fail(s.now(), 500, "No valid host was found. There are not enough hosts available.")
		return nil
	}
	v.Host, v.TaskState = host, Networking
	return s.claim(tx, host, v.footprint(), 1)
}

func (p *plan) server(at time.Time, scope Scope, index int) Server {
	v := Server{
		ID: uuid.NewString(), Name: p.spec.Name, Description: p.spec.Description, Hostname: p.spec.Hostname,
		ProjectID: scope.ProjectID, UserID: scope.UserID, VMState: Building, TaskState: Scheduling,
		Flavor: *p.flavor, Image: p.image, Zone: p.spec.Zone, UserData: p.spec.UserData, AdminPassword: p.spec.AdminPassword,
		Metadata: p.spec.Metadata, Tags: p.spec.Tags, LaunchIndex: index, GroupID: p.spec.Hints.GroupID,
		AccessIPv4: p.spec.AccessIPv4, AccessIPv6: p.spec.AccessIPv6, DiskConfig: p.spec.DiskConfig,
		Running: true, Boots: 1, CreatedAt: at, UpdatedAt: at,
	}
	if p.spec.MaxCount > 1 {
		v.Name = fmt.Sprintf("%s-%d", p.spec.Name, index+1)
	}
	if v.Hostname == "" {
		v.Hostname = hostname(v.Name, v.ID)
	}
	for _, r := range p.networks {
		if r.PortID != "" {
			v.Ports = append(v.Ports, AttachedPort{ID: r.PortID, Tag: r.Tag})
		}
	}
	p.noteVolumes(&v)
	if p.key != nil {
		v.KeyName, v.PublicKey = p.key.Name, p.key.PublicKey
	}
	return v
}

var notInHostname = regexp.MustCompile(`[^a-z0-9.-]+`)

// hostname is what a guest is called, made from what its server is called as Nova makes it.
func hostname(name, id string) string {
	h := strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(name))
	h = strings.Trim(strings.ReplaceAll(notInHostname.ReplaceAllString(h, ""), ".", "-"), "-")
	if h == "" {
		return "server-" + id
	}
	return strings.TrimRight(h[:min(len(h), 63)], "-")
}

// release hands a server that has its ports over to its host's agent.
func (s *Service) release(ctx context.Context, v *Server) error {
	if v.VMState == Errored {
		return nil
	}
	ports, volumes := v.Ports, v.Volumes
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		current, err := s.servers.Get(tx, v.ID)
		if err != nil {
			return err
		}
		current.Ports, current.Networked, current.Volumes = ports, true, volumes
		if current.TaskState == Networking { // it may have been deleted meanwhile
			current.TaskState = Spawning
			if len(volumes) > 0 {
				current.TaskState = BlockDeviceMapping
			}
		}
		*v = *current
		return s.servers.Update(tx, v)
	})
	if err == nil && v.VMState == Deleted {
		return errors.Join(s.dropPorts(ctx, v), s.dropVolumes(ctx, v, true))
	}
	return err
}

// forget undoes a creation: the caller was told that nothing was made.
func (s *Service) forget(ctx context.Context, servers []Server) error {
	ctx = context.WithoutCancel(ctx)
	var failures []error
	for i := range servers {
		v := &servers[i]
		failures = append(failures, s.dropPorts(ctx, v), s.dropVolumes(ctx, v, true), s.store.Update(ctx, func(tx *record.Tx) error {
			if err := s.forgetActions(tx, v.ID); err != nil {
				return err
			}
			current, err := s.servers.Get(tx, v.ID)
			if err != nil {
				return err
			}
			if current.Host != "" && current.VMState != Deleted {
				if err := s.claim(tx, current.Host, current.footprint(), -1); err != nil {
					return err
				}
			}
			return s.servers.Delete(tx, v.ID)
		}))
	}
	return errors.Join(failures...)
}

func (s *Service) forgetActions(tx *record.Tx, serverID string) error {
	actions, err := s.actions.List(tx, record.Query{Where: []record.Condition{record.Eq("server", serverID)}})
	if err != nil {
		return err
	}
	for _, a := range actions {
		if err := s.actions.Delete(tx, serverID+"/"+a.RequestID); err != nil {
			return err
		}
	}
	return nil
}
