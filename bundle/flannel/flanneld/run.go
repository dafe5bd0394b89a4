package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw" // registers itself as "host-gw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"  // registers itself as "vxlan"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	log "k8s.io/klog/v2"
)

// run sets the node's pod network up and keeps it until ctx is done. What it set up stays: pods go on talking while
// flanneld is restarted.
func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	var ready readiness
	if o.healthzPort > 0 {
		if err := serveHealth(ctx, &running, o.healthzIP, o.healthzPort, &ready); err != nil {
			return err
		}
	}

	subnets, err := kube.NewSubnetManager(
		ctx, o.kubeAPIURL, o.kubeconfig, o.annotationPrefix, o.netConfPath, o.setNetworkUnavailable)
	if err != nil {
		return fmt.Errorf("create the subnet manager: %w", err)
	}
	log.Infof("Created subnet manager: %s", subnets.Name())
	config, err := subnets.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("read the network config: %w", err)
	}
	if err := checkBridgeFilter(config); err != nil {
		return err
	}

	iface, err := findInterface(ctx, o, subnets, config)
	if err != nil {
		return err
	}
	network, err := joinNetwork(ctx, &running, subnets, iface, config)
	if err != nil {
		return err
	}
	if err := setUpTraffic(ctx, o, config, network.Lease()); err != nil {
		return err
	}

	lease := network.Lease()
	err = subnets.HandleSubnetFile(o.subnetFile, config, o.ipMasq, lease.Subnet, lease.IPv6Subnet, network.MTU())
	if err != nil {
		return fmt.Errorf("write %s: %w", o.subnetFile, err)
	}
	log.Infof("Wrote subnet file to %s", o.subnetFile)

	running.Go(func() { network.Run(ctx) })
	if err := subnets.CompleteLease(ctx, lease, &running); err != nil {
		return fmt.Errorf("tell the node that its network is up: %w", err)
	}
	ready.Store(true)
	log.Info("flannel is ready")
	<-ctx.Done()
	return nil
}

// joinNetwork takes this node's lease and makes its end of the network, by the backend that the config names.
func joinNetwork(
	ctx context.Context, running *sync.WaitGroup, subnets subnet.Manager, iface *backend.ExternalInterface,
	config *subnet.Config,
) (backend.Network, error) {
	chosen, err := backend.NewManager(ctx, subnets, iface).GetBackend(config.BackendType)
	if err != nil {
		return nil, fmt.Errorf("backend %q (this flanneld has vxlan and host-gw): %w", config.BackendType, err)
	}
	network, err := chosen.RegisterNetwork(ctx, running, config)
	if err != nil {
		return nil, fmt.Errorf("register the network: %w", err)
	}
	return network, nil
}

// checkBridgeFilter fails where bridged packets bypass iptables: flannel would seem to work, and traffic from a pod to
// a Service whose endpoint is on the same node would not.
func checkBridgeFilter(config *subnet.Config) error {
	if config.EnableNFTables {
		return nil
	}
	for file, needed := range map[string]bool{
		"/proc/sys/net/bridge/bridge-nf-call-iptables":  config.EnableIPv4,
		"/proc/sys/net/bridge/bridge-nf-call-ip6tables": config.EnableIPv6,
	} {
		if !needed {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("the kernel's br_netfilter is not there: %w", err)
		}
	}
	return nil
}
