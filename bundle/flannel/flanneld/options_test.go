package main

import (
	"strings"
	"testing"
)

func none(string) (string, bool) { return "", false }

func TestFlagsOfTheUpstreamManifest(t *testing.T) {
	o, err := parse([]string{"--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081", "--iface=eth0", "--iface=192.168.1.201"}, none)
	if err != nil {
		t.Fatal(err)
	}
	if !o.ipMasq || !o.kubeSubnetMgr || o.healthzPort != 8081 || o.ifaces.String() != "eth0,192.168.1.201" {
		t.Errorf("%+v", o)
	}
	if o.subnetFile != "/run/flannel/subnet.env" || !o.forwardRules || o.rulesResyncSeconds != 5 {
		t.Errorf("defaults: %+v", o)
	}
}

func TestTheEnvironmentFillsInWhatWasNotGiven(t *testing.T) {
	env := map[string]string{"FLANNELD_IFACE": "eth1", "FLANNELD_KUBE_SUBNET_MGR": "true", "FLANNELD_PUBLIC_IP": "1.2.3.4"}
	lookup := func(name string) (string, bool) { value, found := env[name]; return value, found }
	o, err := parse([]string{"--public-ip=5.6.7.8"}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	if o.ifaces.String() != "eth1" || !o.kubeSubnetMgr || o.publicIP != "5.6.7.8" {
		t.Errorf("%+v", o)
	}
	env["FLANNELD_HEALTHZ_PORT"] = "many"
	if _, err := parse(nil, lookup); err == nil || !strings.Contains(err.Error(), "FLANNELD_HEALTHZ_PORT") {
		t.Errorf("got %v", err)
	}
}

func TestBadFlags(t *testing.T) {
	for _, arguments := range [][]string{{}, {"--kube-subnet-mgr", "extra"}, {"--kube-subnet-mgr", "--iptables-resync=0"}} {
		if _, err := parse(arguments, none); err == nil {
			t.Errorf("%v is taken", arguments)
		}
	}
}
