package compute

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Instance is what a server may learn about itself: what a metadata service needs.
type Instance struct {
	ID, Name, Hostname, ProjectID, UserID string
	FlavorName                            string
	ImageID, KernelID, RamdiskID          string
	KeyName, PublicKey                    string
	UserData                              []byte
	ReservationID                         string
	LaunchIndex                           int
	Metadata                              map[string]string
	AvailabilityZone                      string
	AdminPassword                         string
	Ports                                 []AttachedPort
	Volumes                               []AttachedVolume
	CreatedAt                             time.Time
	// Number is the small number that EC2 identifiers are made of.
	Number int64
}

// Instance returns what a server may learn about itself. Whoever asks has proved to be that server.
func (s *Service) Instance(ctx context.Context, serverID string) (*Instance, error) {
	v, err := s.Server(ctx, Scope{Admin: true}, serverID)
	if err != nil {
		return nil, err
	}
	zone, err := s.ZoneOf(ctx, v)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(strings.Map(dropSpace, v.UserData))
	if err != nil {
		return nil, err
	}
	image := v.Image
	if v.VolumeBacked() {
		image = v.VolumeImage
	}
	return &Instance{
		ID: v.ID, Name: v.Name, Hostname: v.Hostname, ProjectID: v.ProjectID, UserID: v.UserID, FlavorName: v.Flavor.Name,
		ImageID: v.Image.ID, KernelID: image.KernelID, RamdiskID: image.RamdiskID,
		KeyName: v.KeyName, PublicKey: v.PublicKey, UserData: data,
		ReservationID: v.ReservationID, LaunchIndex: v.LaunchIndex, Metadata: v.Metadata,
		AvailabilityZone: zone, AdminPassword: v.AdminPassword, Ports: v.Ports, Volumes: v.AttachedVolumes(), CreatedAt: v.CreatedAt, Number: v.Number,
	}, nil
}

// ZoneOf returns the availability zone that a server is in; empty while it has no host.
func (s *Service) ZoneOf(ctx context.Context, v *Server) (string, error) {
	if v.Host == "" {
		return v.Zone, nil
	}
	zones, err := s.Zones(ctx)
	if err != nil {
		return "", err
	}
	if zone := zones[v.Host]; zone != "" {
		return zone, nil
	}
	return DefaultZone, nil
}

// SetPassword keeps the encrypted password that a guest reports; empty forgets it.
func (s *Service) SetPassword(ctx context.Context, serverID, encrypted string) error {
	_, err := s.modify(ctx, Scope{Admin: true}, serverID, func(_ *record.Tx, v *Server) error {
		v.Password = encrypted
		return nil
	})
	return err
}
