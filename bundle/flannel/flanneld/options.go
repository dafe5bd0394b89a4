package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	log "k8s.io/klog/v2"
)

// options are the flags, under upstream's names.
type options struct {
	version bool

	// Where the subnet comes from.
	kubeSubnetMgr         bool
	kubeAPIURL            string
	kubeconfig            string
	annotationPrefix      string
	netConfPath           string
	setNetworkUnavailable bool

	// Which interface the nodes reach each other by.
	ifaces        list
	ifaceRegexes  list
	ifaceCanReach string
	publicIP      string
	publicIPv6    string

	// What is set up on the node.
	subnetFile         string
	ipMasq             bool
	noRandomFully      bool
	forwardRules       bool
	rulesResyncSeconds int

	healthzIP   string
	healthzPort int
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, ",") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

// parse reads the flags, then the environment for those not given, and checks them.
func parse(arguments []string, env func(string) (string, bool)) (options, error) {
	var o options
	flags := flag.NewFlagSet("flanneld", flag.ExitOnError)
	flags.BoolVar(&o.version, "version", false, "print version and exit")
	flags.BoolVar(&o.kubeSubnetMgr, "kube-subnet-mgr", false, "take the subnet from the Kubernetes API; required, there is no other source here")
	flags.StringVar(&o.kubeAPIURL, "kube-api-url", "", "Kubernetes API server URL; not needed in a pod")
	flags.StringVar(&o.kubeconfig, "kubeconfig-file", "", "kubeconfig file; not needed in a pod")
	flags.StringVar(&o.annotationPrefix, "kube-annotation-prefix", "flannel.alpha.coreos.com", "prefix of the node annotations")
	flags.StringVar(&o.netConfPath, "net-config-path", "/etc/kube-flannel/net-conf.json", "the network configuration file")
	flags.BoolVar(&o.setNetworkUnavailable, "set-node-network-unavailable", true, "set the node condition NetworkUnavailable to false once ready")
	flags.Var(&o.ifaces, "iface", "interface (name or IP) to reach the other nodes by; the first of several that exists is used")
	flags.Var(&o.ifaceRegexes, "iface-regex", "the same by regular expression; tried after --iface")
	flags.StringVar(&o.ifaceCanReach, "iface-can-reach", "", "the same by the route to this IP; tried last")
	flags.StringVar(&o.publicIP, "public-ip", "", "IP by which other nodes reach this one")
	flags.StringVar(&o.publicIPv6, "public-ipv6", "", "IPv6 by which other nodes reach this one")
	flags.StringVar(&o.subnetFile, "subnet-file", "/run/flannel/subnet.env", "file written for the CNI plugin")
	flags.BoolVar(&o.ipMasq, "ip-masq", false, "masquerade traffic that leaves the pod network")
	flags.BoolVar(&o.noRandomFully, "ip-masq-fully-random-disable", false, "masquerade without --random-fully")
	flags.BoolVar(&o.forwardRules, "iptables-forward-rules", true, "accept forwarding from and to the pod network")
	flags.IntVar(&o.rulesResyncSeconds, "iptables-resync", 5, "seconds between two looks after the iptables rules")
	flags.StringVar(&o.healthzIP, "healthz-ip", "0.0.0.0", "IP to serve /healthz and /readyz on")
	flags.IntVar(&o.healthzPort, "healthz-port", 0, "port to serve /healthz and /readyz on (0: not at all)")
	if err := addLogFlags(flags); err != nil {
		return o, err
	}
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if err := fromEnvironment(flags, env); err != nil {
		return o, err
	}
	switch {
	case o.version:
		return o, nil
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected arguments: %q", flags.Args())
	case !o.kubeSubnetMgr:
		return o, errors.New("this flanneld has no etcd subnet manager: give --kube-subnet-mgr")
	case o.rulesResyncSeconds < 1:
		return o, fmt.Errorf("--iptables-resync must be at least 1 second, got %d", o.rulesResyncSeconds)
	}
	return o, nil
}

// addLogFlags takes klog's flags that are not about files, and sends every log line to stderr.
func addLogFlags(flags *flag.FlagSet) error {
	klog := flag.NewFlagSet("klog", flag.ContinueOnError)
	log.InitFlags(klog)
	if err := klog.Set("logtostderr", "true"); err != nil {
		return err
	}
	log.SetOutput(os.Stderr)
	for _, name := range []string{"v", "vmodule", "log_backtrace_at"} {
		f := klog.Lookup(name)
		flags.Var(f.Value, f.Name, f.Usage)
	}
	return nil
}

// fromEnvironment sets each flag that was not given from FLANNELD_NAME, dashes as underscores.
func fromEnvironment(flags *flag.FlagSet, env func(string) (string, bool)) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var faults []error
	flags.VisitAll(func(f *flag.Flag) {
		name := "FLANNELD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, found := env(name)
		if !found || value == "" || given[f.Name] {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			faults = append(faults, fmt.Errorf("%s=%q: %w", name, value, err))
		}
	})
	return errors.Join(faults...)
}
