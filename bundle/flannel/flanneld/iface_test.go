package main

import (
	"slices"
	"testing"

	"github.com/flannel-io/flannel/pkg/ipmatch"
)

func TestCandidatesInUpstreamsOrder(t *testing.T) {
	public := ipmatch.PublicIPOpts{PublicIP: "192.168.1.201", PublicIPv6: "fd00::201"}
	o := options{ifaces: list{"eth0", "eth1"}, ifaceRegexes: list{"^ens"}, ifaceCanReach: "192.168.1.200"}
	want := []candidate{{name: "eth0"}, {name: "eth1"}, {regex: "^ens"}, {canReach: "192.168.1.200"}}
	if got := candidates(o, public); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := candidates(options{}, public); !slices.Equal(got, []candidate{{name: "192.168.1.201"}}) {
		t.Errorf("by public IP: got %v", got)
	}
	if got := candidates(options{}, ipmatch.PublicIPOpts{}); !slices.Equal(got, []candidate{{}}) {
		t.Errorf("the default route's: got %v", got)
	}
}
