package driver

// RBD is an image of a Ceph cluster (https://docs.ceph.com/en/latest/rbd/), which the connecting host reaches by itself.
type RBD struct {
	// Monitors are the cluster's, "host:port" each.
	Monitors []string
	// Namespace is the one of the pool's in which the image is; empty is the unnamed.
	Pool, Namespace, Image string
	// User is the cephx user, without "client."; Key is its secret key in base 64. Both are empty where the cluster asks
	// nobody who they are.
	User, Key string
}
