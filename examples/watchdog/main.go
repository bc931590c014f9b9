// Command watchdog keeps a server running in any OpenStack cloud: it starts the server again whenever it is found
// stopped. It is an ordinary program that uses gophercloud and knows nothing of this module. How such a program is tested
// against a cloud that has a bad day, its test shows: package cloudtest gives it the cloud, package inject the bad day.
//
//	source openrc
//	watchdog web
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "watchdog:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: watchdog SERVER-ID")
	}
	options, err := openstack.AuthOptionsFromEnv()
	if err != nil {
		return err
	}
	options.AllowReauth = true
	return watch(ctx, options, args[0], 10*time.Second)
}

// watch looks after the server until ctx ends or the server is gone.
func watch(ctx context.Context, options gophercloud.AuthOptions, id string, every time.Duration) error {
	provider, err := openstack.AuthenticatedClient(ctx, options)
	if err != nil {
		return err
	}
	compute, err := openstack.NewComputeV2(provider, gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		server, err := servers.Get(ctx, compute, id).Extract()
		if gophercloud.ResponseCodeIs(err, 404) {
			return fmt.Errorf("server %s is gone: %w", id, err)
		}
		if err == nil && server.Status == "SHUTOFF" {
			err = servers.Start(ctx, compute, id).ExtractErr()
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "watchdog: will try again:", err)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
	}
	return nil
}
