package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/flannel-io/flannel/pkg/backend"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
)

// findInterface picks the interface that the other nodes are reached by: the first match of --iface, --iface-regex and
// --iface-can-reach in this order, or without any of them the one with the public IP, or else the default route's. A
// public IP in the node's annotations beats the flag.
func findInterface(
	ctx context.Context, o options, subnets subnet.Manager, config *subnet.Config,
) (*backend.ExternalInterface, error) {
	family, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return nil, err
	}
	public := ipmatch.PublicIPOpts{PublicIP: o.publicIP, PublicIPv6: o.publicIPv6}
	annotated, annotatedIPv6 := subnets.GetStoredPublicIP(ctx)
	if annotated != "" {
		public.PublicIP = annotated
	}
	if annotatedIPv6 != "" {
		public.PublicIPv6 = annotatedIPv6
	}

	var faults []error
	for _, c := range candidates(o, public) {
		iface, err := ipmatch.LookupExtIface(c.name, c.regex, c.canReach, family, public)
		if err == nil {
			return iface, nil
		}
		faults = append(faults, err)
	}
	return nil, fmt.Errorf("no interface to reach the other nodes by: %w", errors.Join(faults...))
}

// candidate is one way to look an interface up; exactly one field is set, or none for the default route's.
type candidate struct{ name, regex, canReach string }

func candidates(o options, public ipmatch.PublicIPOpts) []candidate {
	var all []candidate
	for _, name := range o.ifaces {
		all = append(all, candidate{name: name})
	}
	for _, regex := range o.ifaceRegexes {
		all = append(all, candidate{regex: regex})
	}
	if o.ifaceCanReach != "" {
		all = append(all, candidate{canReach: o.ifaceCanReach})
	}
	if len(all) > 0 {
		return all
	}
	if public.PublicIP != "" {
		return []candidate{{name: public.PublicIP}}
	}
	return []candidate{{name: public.PublicIPv6}}
}
