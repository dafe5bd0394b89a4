package main

import (
	"context"
	"fmt"
	"math/big"

	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/trafficmngr"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
	log "k8s.io/klog/v2"
)

// setUpTraffic writes flannel's own masquerading and forwarding rules, which are looked after until ctx is done, and
// takes away those of the other kind: EnableNFTables may have changed since flanneld last ran.
func setUpTraffic(ctx context.Context, o options, config *subnet.Config, held *lease.Lease) error {
	log.Info("Cleaning-up unused traffic manager rules")
	if err := trafficManager(!config.EnableNFTables).CleanUp(ctx); err != nil {
		return fmt.Errorf("clean up the rules of the kind not in use: %w", err)
	}
	manager := trafficManager(config.EnableNFTables)
	if err := manager.Init(ctx); err != nil {
		return fmt.Errorf("start the traffic manager: %w", err)
	}
	if o.ipMasq {
		// The subnets of flanneld's last run, so that their rules are replaced and not added to.
		before := readSubnetFile(o.subnetFile)
		err := manager.SetupAndEnsureMasqRules(ctx,
			config.Network, before.v4("FLANNEL_SUBNET"), before.v4("FLANNEL_NETWORK"),
			config.IPv6Network, before.v6("FLANNEL_IPV6_SUBNET"), before.v6("FLANNEL_IPV6_NETWORK"),
			held, o.rulesResyncSeconds, o.noRandomFully)
		if err != nil {
			return fmt.Errorf("set up masquerading: %w", err)
		}
	}
	if o.forwardRules {
		manager.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, o.rulesResyncSeconds)
	}
	return nil
}

func trafficManager(useNFTables bool) trafficmngr.TrafficManager {
	if useNFTables {
		return &nftables.NFTablesManager{}
	}
	return &iptables.IPTablesManager{}
}

// v4 is the one IPv4 network under a key, or the zero network, which no rule has.
func (f subnetFile) v4(key string) ip.IP4Net {
	if network := f.network(key); network != nil && network.IP.To4() != nil {
		return ip.FromIPNet(network)
	}
	return ip.IP4Net{}
}

// v6 is the same for IPv6; its zero value needs a number, upstream compares it.
func (f subnetFile) v6(key string) ip.IP6Net {
	if network := f.network(key); network != nil && network.IP.To4() == nil {
		return ip.FromIP6Net(network)
	}
	return ip.IP6Net{IP: (*ip.IP6)(big.NewInt(0))}
}
