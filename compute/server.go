package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// VMState is a server's stable state.
type VMState string

// The stable states.
const (
	Building VMState = "building"
	Active   VMState = "active"
	Stopped  VMState = "stopped"
	Errored  VMState = "error"
	Deleted  VMState = "deleted"
)

// TaskState is what is being done with a server; empty for nothing.
type TaskState string

// The tasks.
const (
	Scheduling TaskState = "scheduling"
	Networking TaskState = "networking"
	// BlockDeviceMapping is the building of a server that has volumes, from the wait for them on.
	BlockDeviceMapping TaskState = "block_device_mapping"
	Spawning           TaskState = "spawning"
	PoweringOn         TaskState = "powering-on"
	PoweringOff        TaskState = "powering-off"
	Rebooting          TaskState = "rebooting"
	RebootingHard      TaskState = "rebooting_hard"
	Deleting           TaskState = "deleting"

	// An image of the server is being made, the last of them of either kind. The server goes on as it is.
	ImageSnapshotPending TaskState = "image_snapshot_pending"
	ImageSnapshot        TaskState = "image_snapshot"
	ImageBackup          TaskState = "image_backup"
	ImageUploading       TaskState = "image_uploading"
)

// imaging says that an image of the server is being made, which asks nothing of the server itself.
func (t TaskState) imaging() bool {
	switch t {
	case ImageSnapshotPending, ImageSnapshot, ImageBackup, ImageUploading:
		return true
	}
	return false
}

// asked is what is being done with the server itself.
func (t TaskState) asked() TaskState {
	if t.imaging() {
		return ""
	}
	return t
}

// PowerState is what the host last saw.
type PowerState int

// The power states, with Nova's numbers.
const (
	NoPowerState PowerState = 0
	PowerRunning PowerState = 1
	PowerOff     PowerState = 4
	PowerCrashed PowerState = 6
)

// Server is a virtual machine: what is wanted of it and what is known of it.
type Server struct {
	ID string
	// Number is the small number in the name that a host knows the server by.
	Number            int64
	Name, Hostname    string
	Description       *string
	ProjectID, UserID string

	VMState    VMState
	TaskState  TaskState
	PowerState PowerState
	Fault      *Fault `json:",omitempty"`

	// Flavor and Image are as they were when the server was made. A server that boots from a volume has an empty Image, and
	// VolumeImage says what that volume came from.
	Flavor      Flavor
	Image       Image
	VolumeImage Image `json:",omitzero"`

	// Host is where the server is or will be; empty while none is chosen.
	Host string
	// Zone is the availability zone that was asked for; empty for any.
	Zone string

	KeyName, PublicKey string
	// UserData is base64, as the user gave it.
	UserData      string `json:",omitempty"`
	AdminPassword string `json:",omitempty"`
	// Password is what the guest says its password is, encrypted.
	Password      string            `json:",omitempty"`
	Metadata      map[string]string `json:",omitempty"`
	Tags          []string          `json:",omitempty"`
	ReservationID string
	LaunchIndex   int
	// GroupID is the server group that it was made in; empty for none.
	GroupID                string
	AccessIPv4, AccessIPv6 string
	DiskConfig             string // "AUTO" or "MANUAL"
	Locked                 bool
	LockedReason           *string
	// LockedByAdmin says that only an admin unlocks it.
	LockedByAdmin bool

	// Ports are the server's ports in order; Owned says which are deleted with it.
	Ports []AttachedPort `json:",omitempty"`
	// Networked says that Ports is complete: until then only the ports that the user named are in it.
	Networked bool

	// Volumes are the server's volumes, without those that it is not to have any more.
	Volumes []AttachedVolume `json:",omitempty"`

	// Running, Boots and Hard are what is wanted of the host: see driver.Server.
	Running bool
	Boots   int
	Hard    bool

	CreatedAt, UpdatedAt     time.Time
	LaunchedAt, TerminatedAt *time.Time `json:",omitempty"`
	Revision                 int64
}

// AttachedPort is a port of a server.
type AttachedPort struct {
	ID string
	// Owned ports were made for the server and are deleted with it.
	Owned bool
	// Tag is the user's name for the device.
	Tag string `json:",omitempty"`
}

// Fault is why a server is in error.
type Fault struct {
	// Code is an HTTP status: 500 where the cloud is to blame.
	Code    int
	Message string
	// Details are for admins.
	Details string
	Created time.Time
}

// InstanceName is the name that a host knows the server by.
func (v *Server) InstanceName() string { return fmt.Sprintf("instance-%08x", v.Number) }

// Status is the server's state in one word, as the API shows it.
func (v *Server) Status() string {
	switch v.TaskState {
	case Rebooting:
		if v.VMState == Active {
			return "REBOOT"
		}
	case RebootingHard:
		if v.VMState != Building {
			return "HARD_REBOOT"
		}
	}
	switch v.VMState {
	case Building:
		return "BUILD"
	case Active:
		return "ACTIVE"
	case Stopped:
		return "SHUTOFF"
	case Deleted:
		return "DELETED"
	}
	return "ERROR"
}

// settled says that nothing is being done with the server and that it should be as its state says.
func (v *Server) settled() bool { return v.TaskState.asked() == "" }

func (v *Server) power(state driver.State) {
	switch state {
	case driver.Running:
		v.PowerState = PowerRunning
	case driver.Stopped:
		v.PowerState = PowerOff
	case driver.Crashed:
		v.PowerState = PowerCrashed
	}
}

func (v *Server) fail(at time.Time, code int, format string, args ...any) {
	v.Fault = &Fault{Code: code, Message: fmt.Sprintf(format, args...), Created: at}
}

const serversKind = "servers"

var serverSpec = record.Spec[Server]{
	Key:      func(v *Server) string { return v.ID },
	Revision: func(v *Server) *int64 { return &v.Revision },
	Host:     "host",
	// As servers are listed: latest first, the project's or all; those of a host and of a group; and those that a task is
	// under way with, as each heartbeat looks for what was cut short. Other filters only narrow these, and an index that
	// nothing is found by is a price that every write pays.
	Indexes: [][]string{{"project", "deleted", "created"}, {"deleted", "created"}, {"host", "deleted"}, {"groupid", "deleted"}, {"task", "created"}},
	Unindexed: []string{
		"project", "owner", "name", "hostname", "host", "zone", "state", "task", "power", "status", "deleted", "locked", "flavor", "image", "keyname",
		"groupid", "reservation", "created", "launched", "terminated", "vcpus", "memory",
	},
	Event: func(v *Server) record.Event {
		return record.Event{Type: "server", Project: v.ProjectID, Status: v.Status(), Gone: v.VMState == Deleted}
	},
	Columns: []record.Column[Server]{
		{Name: "project", Value: func(v *Server) any { return v.ProjectID }},
		{Name: "owner", Value: func(v *Server) any { return v.UserID }},
		{Name: "name", Value: func(v *Server) any { return v.Name }},
		{Name: "hostname", Value: func(v *Server) any { return v.Hostname }},
		{Name: "host", Value: func(v *Server) any { return v.Host }},
		{Name: "zone", Value: func(v *Server) any { return v.Zone }},
		{Name: "state", Value: func(v *Server) any { return string(v.VMState) }},
		{Name: "task", Value: func(v *Server) any { return string(v.TaskState) }},
		{Name: "power", Value: func(v *Server) any { return int64(v.PowerState) }},
		{Name: "status", Value: func(v *Server) any { return v.Status() }},
		{Name: "deleted", Value: func(v *Server) any { return v.VMState == Deleted }},
		{Name: "locked", Value: func(v *Server) any { return v.Locked }},
		{Name: "flavor", Value: func(v *Server) any { return v.Flavor.ID }},
		{Name: "image", Value: func(v *Server) any { return v.Image.ID }},
		{Name: "keyname", Value: func(v *Server) any { return v.KeyName }},
		{Name: "groupid", Value: func(v *Server) any { return v.GroupID }},
		{Name: "reservation", Value: func(v *Server) any { return v.ReservationID }},
		{Name: "created", Value: func(v *Server) any { return v.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(v *Server) any { return v.UpdatedAt.UnixMicro() }},
		{Name: "launched", Value: func(v *Server) any { return micros(v.LaunchedAt) }},
		{Name: "terminated", Value: func(v *Server) any { return micros(v.TerminatedAt) }},
		{Name: "vcpus", Value: func(v *Server) any { return v.Flavor.VCPUs }},
		{Name: "memory", Value: func(v *Server) any { return v.Flavor.MemoryMiB }},
	},
}

func micros(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UnixMicro()
}

// Server returns a server that the scope may see. Deleted ones are not found.
func (s *Service) Server(ctx context.Context, scope Scope, id string) (*Server, error) {
	return s.server(s.store.Read(ctx), scope, id)
}

func (s *Service) server(tx *record.Tx, scope Scope, id string) (*Server, error) {
	v, err := s.servers.Get(tx, id)
	if err == nil && (v.VMState == Deleted || !scope.sees(v.ProjectID)) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Instance %s could not be found.", id)
	}
	return v, nil
}

// modify changes a server that the scope may change, and notes when.
func (s *Service) modify(ctx context.Context, scope Scope, id string, fn func(tx *record.Tx, v *Server) error) (v *Server, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if v, err = s.server(tx, scope, id); err != nil {
			return err
		}
		if err := fn(tx, v); err != nil {
			return err
		}
		v.UpdatedAt = s.now()
		return s.servers.Update(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

var errNothing = errors.New("nothing to change")

// ServerUpdate is what may be changed about a server; nil leaves it.
type ServerUpdate struct {
	Name, Hostname, AccessIPv4, AccessIPv6, DiskConfig *string
	// Description is set when SetDescription is.
	Description    *string
	SetDescription bool
}

// UpdateServer renames a server or changes what it says of itself.
func (s *Service) UpdateServer(ctx context.Context, scope Scope, id string, u ServerUpdate) (*Server, error) {
	return s.modify(ctx, scope, id, func(_ *record.Tx, v *Server) error {
		set := func(field, value *string) {
			if value != nil {
				*field = *value
			}
		}
		set(&v.Name, u.Name)
		set(&v.Hostname, u.Hostname)
		set(&v.AccessIPv4, u.AccessIPv4)
		set(&v.AccessIPv6, u.AccessIPv6)
		set(&v.DiskConfig, u.DiskConfig)
		if u.SetDescription {
			v.Description = u.Description
		}
		return nil
	})
}

// SetMetadata replaces a server's metadata, or merges values into it.
func (s *Service) SetMetadata(ctx context.Context, scope Scope, id string, values map[string]string, replace bool) (map[string]string, error) {
	v, err := s.modify(ctx, scope, id, func(tx *record.Tx, v *Server) error {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if replace || v.Metadata == nil {
			v.Metadata = map[string]string{}
		}
		for key, value := range values {
			v.Metadata[key] = value
		}
		return s.checkMetadata(tx, v.ProjectID, v.Metadata)
	})
	if err != nil {
		return nil, err
	}
	return v.Metadata, nil
}

// DeleteMetadata takes one item away.
func (s *Service) DeleteMetadata(ctx context.Context, scope Scope, id, key string) error {
	_, err := s.modify(ctx, scope, id, func(_ *record.Tx, v *Server) error {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if _, ok := v.Metadata[key]; !ok {
			return fault.Wrap(ErrNotFound, "Metadata item was not found")
		}
		delete(v.Metadata, key)
		return nil
	})
	return err
}

func (s *Service) checkMetadata(tx *record.Tx, projectID string, metadata map[string]string) error {
	quota, err := s.quota(tx, projectID)
	if err != nil {
		return err
	}
	if quota.MetadataItems >= 0 && len(metadata) > quota.MetadataItems {
		return fault.Wrap(ErrQuota, "Maximum number of metadata items exceeds %d", quota.MetadataItems)
	}
	for key, value := range metadata {
		if key == "" || len(key) > 255 || len(value) > 255 {
			return fault.Wrap(ErrInvalid, "Invalid metadata: key and value have at most 255 characters, and a key at least one")
		}
	}
	return nil
}

// maxTags is how many tags a server may have.
const maxTags = 50

// SetTags replaces a server's tags.
func (s *Service) SetTags(ctx context.Context, scope Scope, id string, tags []string) ([]string, error) {
	tags = distinct(tags)
	for _, tag := range tags {
		if err := checkTag(tag); err != nil {
			return nil, err
		}
	}
	if len(tags) > maxTags {
		return nil, fault.Wrap(ErrInvalid, "The number of tags exceeded the per-server limit %d", maxTags)
	}
	_, err := s.modify(ctx, scope, id, func(_ *record.Tx, v *Server) error { v.Tags = tags; return nil })
	return tags, err
}

// AddTag gives a server a tag, and says whether it was new.
func (s *Service) AddTag(ctx context.Context, scope Scope, id, tag string) (added bool, err error) {
	if err := checkTag(tag); err != nil {
		return false, err
	}
	_, err = s.modify(ctx, scope, id, func(_ *record.Tx, v *Server) error {
		if slices.Contains(v.Tags, tag) {
			return errNothing
		}
		if len(v.Tags) == maxTags {
			return fault.Wrap(ErrInvalid, "The number of tags exceeded the per-server limit %d", maxTags)
		}
		v.Tags = append(v.Tags, tag)
		slices.Sort(v.Tags)
		return nil
	})
	if errors.Is(err, errNothing) {
		return false, nil
	}
	return err == nil, err
}

// DeleteTag takes a tag away.
func (s *Service) DeleteTag(ctx context.Context, scope Scope, id, tag string) error {
	_, err := s.modify(ctx, scope, id, func(_ *record.Tx, v *Server) error {
		i := slices.Index(v.Tags, tag)
		if i < 0 {
			return fault.Wrap(ErrNotFound, "Instance %s has no tag '%s'", id, tag)
		}
		v.Tags = slices.Delete(v.Tags, i, i+1)
		return nil
	})
	return err
}

func checkTag(tag string) error {
	if tag == "" || len([]rune(tag)) > 60 || strings.ContainsAny(tag, ",/") {
		return fault.Wrap(ErrInvalid, "Tag '%s' is invalid. It must be a non-empty string without characters '/' and ',', of at most 60 characters.", tag)
	}
	return nil
}

func distinct(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
