// Package volume keeps volumes, disks that outlive servers: volumes from nothing, images, snapshots and other volumes, their
// snapshots and attachments, types, quotas, backups, groups and transfers, with the meaning that OpenStack's Block Storage API
// gives them.
//
// A [Service] validates, schedules and records what is wanted, and returns; an [Agent] for each pool follows the records,
// makes the pool match through a [driver.Volumes], and reports what it observes:
//
//	service, err := volume.New(ctx, db, nil)
//	agent := volume.NewAgent(service, volume.Backend{Host: "host1", Name: "memory"}, memvolume.New(memvolume.NewPool(64<<30), nil), nil)
//	go func() { stopped <- agent.Run(ctx) }()
//	v, err := service.CreateVolume(ctx, demo, volume.VolumeSpec{Name: "data", SizeGiB: 10})
//	v, err = service.Await(ctx, demo, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Creating })
//	a, err := service.CreateAttachment(ctx, demo, volume.AttachmentSpec{
//		VolumeID: v.ID, ServerID: serverID, Connector: &volume.Connector{Host: "host1"},
//	})
//	disk := a.Target // how host1 reaches the volume
//
// A whole program is the package's example; with servers that use the volumes, examples/allinone.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "volume_" it makes and migrates. What
// else it can do depends on what it is given in [Options]: [Images], a [BackupStore], [Servers] that hear of growth, a
// [SecretSource] for the keys of encrypted volumes: small interfaces, to be filled by adapters. Of the host it needs nothing
// itself; what drivers need, their packages say.
//
// # Scheduling
//
// A volume comes to the best pool among those whose agents are alive and enabled, that are in its zone, can do what its
// type's extra specs ask for ("volume_backend_name", "multiattach": "<is> True", any of [AgentOptions].Capabilities), have
// room, and let it pass by their own FilterFunction. The best is the one whose GoodnessFunction says so, and among equals the
// one with the most free room; a thin pool's room is promised [AgentOptions].Oversubscription times. A volume that is made
// from a snapshot or a volume comes to where that is. One whose pool turns out to be full is made in another, three in all.
// Where no pool will do, the volume's status is error, and a [Message] says so.
//
// # Attaching
//
// Of several who want to attach a volume that cannot be shared, one wins: a constraint in the database sees to that. A call
// that gives a [Connector] returns when the pool's agent has made the connection, or could not; one that ends a connection,
// when it has ended. What a host had flushed by then is durable.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. It touches no server: whoever runs servers attaches and detaches.
// It does not replicate volumes, and a volume's pool is one that its agent can reach.
//
// # Errors
//
// Every error wraps one of the kinds below, found with errors.Is, with what and which in Cinder's words. Bad input is refused
// before anything is written. What goes wrong in a pool is no error of a call: the status becomes error, error_extending or
// error_deleting, and a [Message] tells the project why.
//
// # Concurrency
//
// All methods are safe for concurrent use. Several services and agents, in one process or many, may share one database; a
// pool has one agent at a time.
//
// # When the process ends
//
// Volumes and their connections stay. What was wanted is in the database, and an agent that starts again does it: a volume
// whose image was being copied begins anew, one that was being deleted is deleted, connections are mended. What a pool holds
// is taken away only if it was deleted before, or if its making was cut short; what nobody knows is left alone.
package volume
