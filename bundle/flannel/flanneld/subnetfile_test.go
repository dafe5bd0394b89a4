package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSubnetFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subnet.env")
	if f := readSubnetFile(path); len(f) != 0 {
		t.Errorf("a file never written has %v", f)
	}
	text := "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_IPV6_NETWORK=fd00:1::/48\n" +
		"FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := readSubnetFile(path)
	if got := f.v4("FLANNEL_SUBNET").String(); got != "10.244.1.0/24" {
		t.Errorf("subnet %s", got) // the file has the gateway's address, the rules have the network's
	}
	if got := f.v4("FLANNEL_NETWORK").String(); got != "10.244.0.0/16" {
		t.Errorf("network %s", got)
	}
	if got := f.v6("FLANNEL_IPV6_NETWORK").String(); got != "fd00:1::/48" {
		t.Errorf("IPv6 network %s", got)
	}
	// Missing, or of the other family, or no CIDR at all: the zero network, never a failure.
	if !f.v4("FLANNEL_IPV6_NETWORK").Empty() || !f.v6("FLANNEL_IPV6_SUBNET").Empty() || !f.v4("FLANNEL_MTU").Empty() {
		t.Error("a network out of nothing")
	}
}
