package memcloud

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/memnet"
	"github.com/kintoun/kintoun/objectstore/memobjects"
)

// template is the databases of a cloud that was just made: copying them is ten times faster than making the tables and
// what a new cloud has in them. They are never changed.
type template struct {
	templates
	admin, demo string
	secret      []byte
	imageRef    string
	seed        Seed
	// host says that the first host is known already, and has the router and the DHCP server of what a new cloud has.
	host bool
}

// imageContent is the seed image's: there is no guest in it.
var imageContent = bytes.Repeat([]byte("kintoun "), 128)

// shared is the template that clouds with a random password are copies of. It is made once in a process, when the first
// of them starts.
var shared = sync.OnceValues(func() (*template, error) { return newTemplate(context.Background(), rand.Text(), true) })

func newTemplate(ctx context.Context, password string, host bool) (*template, error) {
	t := &template{admin: password, demo: rand.Text(), secret: []byte(rand.Text()), host: host}
	var err error
	if t.templates, err = newTemplates(ctx); err == nil {
		err = t.make(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a cloud in memory: %w", err), t.Close())
	}
	return t, nil
}

func (t *template) make(ctx context.Context) (err error) {
	c, err := cloud.Start(ctx, cloud.Options{
		DBs: t.databases(), Images: memstore.New(nil), Objects: memobjects.New(nil), Ports: map[cloud.Service]int{}, AdminPassword: t.admin, AdminPasswordRandom: true, MetadataSecret: t.secret,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := t.people(ctx, c.Identity); err != nil {
		return err
	}
	if err := t.image(ctx, c.Image); err != nil {
		return err
	}
	if err := t.networks(ctx, c.Network); err != nil || !t.host {
		return err
	}
	inside := &Cloud{Cloud: c, underlay: memnet.NewUnderlay(), hosts: map[string]*Host{}}
	host, err := inside.AddHost(firstHost, nil)
	if err != nil {
		return err
	}
	return host.settle(ctx)
}

// people makes the ordinary user and its project.
func (t *template) people(ctx context.Context, s *identity.Service) error {
	project, err := s.CreateProject(ctx, identity.ProjectSpec{Name: DemoUser, DomainID: identity.DefaultDomainID})
	if err != nil {
		return err
	}
	user, err := s.CreateUser(ctx, identity.UserSpec{Name: DemoUser, Password: t.demo, PasswordRandom: true, DefaultProjectID: project.ID})
	if err != nil {
		return err
	}
	member, err := s.Roles(ctx, identity.RoleFilter{Name: identity.RoleMember})
	if err != nil {
		return err
	}
	t.seed.ProjectID, t.seed.UserID = project.ID, user.ID
	return s.Assign(ctx, identity.Assignment{UserID: user.ID, RoleID: member[0].ID, ProjectID: project.ID})
}

func (t *template) image(ctx context.Context, s *image.Service) error {
	admin := image.Scope{Admin: true}
	made, err := s.Create(ctx, admin, image.Spec{Name: ImageName, Visibility: image.Public, DiskFormat: "raw", ContainerFormat: "bare"}, nil)
	if err != nil {
		return err
	}
	if made, err = s.Upload(ctx, admin, made.ID, bytes.NewReader(imageContent), int64(len(imageContent))); err != nil {
		return err
	}
	t.imageRef, t.seed.ImageID = made.Data.Ref, made.ID
	return nil
}

// networks makes the external network and the demo project's own, with a router between them.
func (t *template) networks(ctx context.Context, s *network.Service) (err error) {
	demo, seed := network.Scope{ProjectID: t.seed.ProjectID}, &t.seed
	make := func(scope network.Scope, spec network.NetworkSpec, cidr string) (networkID, subnetID string, err error) {
		made, err := s.CreateNetwork(ctx, scope, spec)
		if err != nil {
			return "", "", err
		}
		dhcp := spec.External == nil
		subnet, err := s.CreateSubnet(ctx, scope, network.SubnetSpec{NetworkID: made.ID, Name: spec.Name, CIDR: netip.MustParsePrefix(cidr), EnableDHCP: &dhcp})
		if err != nil {
			return "", "", err
		}
		return made.ID, subnet.ID, nil
	}
	seed.ExternalID, _, err = make(network.System, network.NetworkSpec{Name: new(ExternalName), External: new(true), Type: new("flat"), Physical: new(cloud.PhysicalNetwork)}, "172.24.4.0/24")
	if err != nil {
		return err
	}
	seed.NetworkID, seed.SubnetID, err = make(demo, network.NetworkSpec{Name: new(NetworkName)}, "10.0.0.0/24")
	if err != nil {
		return err
	}
	router, err := s.CreateRouter(ctx, demo, network.RouterSpec{Name: new("router1"), Gateway: &network.GatewaySpec{NetworkID: seed.ExternalID}})
	if err != nil {
		return err
	}
	seed.RouterID = router.ID
	_, err = s.AddRouterInterface(ctx, demo, router.ID, seed.SubnetID, "")
	return err
}

// fill puts the seed image's content into a copy's store.
func (t *template) fill(ctx context.Context, images *memstore.Store) error {
	_, err := images.Put(ctx, t.imageRef, bytes.NewReader(imageContent))
	return err
}
