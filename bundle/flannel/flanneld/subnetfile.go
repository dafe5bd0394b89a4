package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"

	log "k8s.io/klog/v2"
)

// subnetFile is what flanneld wrote for the CNI plugin when it last ran: FLANNEL_NETWORK=10.244.0.0/16 and so on, one a
// line. Empty if it never ran.
type subnetFile map[string]string

// readSubnetFile never fails: what can't be read counts as never written, and is told in the log.
func readSubnetFile(path string) subnetFile {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Errorf("Couldn't read the previous subnets from %s: %v", path, err)
	}
	values := subnetFile{}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			values[key] = value
		}
	}
	return values
}

// network is the CIDR under a key with its host bits cleared, or nil if there is none.
func (f subnetFile) network(key string) *net.IPNet {
	value, found := f[key]
	if !found {
		return nil
	}
	_, network, err := net.ParseCIDR(value)
	if err != nil {
		log.Errorf("Couldn't read the previous %s: %v", key, err)
		return nil
	}
	return network
}
