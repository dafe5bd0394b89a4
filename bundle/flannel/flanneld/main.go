// Command flanneld is flannel's daemon for a Kubernetes node: it takes the node's pod subnet from the API server, joins it
// to the other nodes' subnets over vxlan or host routes, and writes the file that the flannel CNI plugin reads.
//
// The packages are upstream's; this main is ours and follows upstream's main.go (v0.28.10) in what it does and in which
// order. It leaves out what a lab has no use for: the etcd subnet manager and the cloud, tunnel and userspace backends,
// one of which needs a module that is not served everywhere. Flags have upstream's names, meanings and defaults, and can
// be given as FLANNELD_NAME in the environment, as there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/flannel-io/flannel/pkg/version"
	log "k8s.io/klog/v2"
)

func main() {
	o, err := parse(os.Args[1:], os.LookupEnv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "flanneld:", err)
		os.Exit(2)
	}
	if o.version {
		fmt.Fprintln(os.Stderr, version.Version) // to stderr, as upstream
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil && !errors.Is(err, context.Canceled) {
		log.Error(err)
		log.Flush()
		os.Exit(1)
	}
	log.Info("Exiting cleanly...")
	log.Flush()
}
