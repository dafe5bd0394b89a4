// Command mytest is the application behind the lab's Service: it says which pod answered.
//
// Over HTTP and over UDP, both on port 8080, the answer is one line:
//
//	Hello Kubernetes bootcamp! | Running on: mytest-6f9c7d-x2x8q | v=1
//
// GET /healthz answers "ok" for as long as the pod serves; GET /clientip answers the address the request
// came from, as the pod sees it, which tells masqueraded traffic from the rest.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// release is the "v=" of the answer. The builder sets it to the version in component.yaml.
var release = "1"

func main() {
	listen := flag.String("listen", ":8080", "address to serve on, HTTP (TCP) and UDP")
	drain := flag.Duration("drain", 3*time.Second, "how long to go on answering after SIGTERM")
	version := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *version {
		fmt.Println("mytest v" + release)
		return
	}
	// A pod's hostname is its name.
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	if err := run(*listen, *drain, answer(name)); err != nil {
		log.Fatal(err)
	}
}

// run serves until SIGTERM or SIGINT, then for the time of drain on top: the nodes' rules lose a pod a moment after
// it is told to stop, and a connection that they still send here must not be refused.
func run(listen string, drain time.Duration, line string) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	packets, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	defer packets.Close()
	streams, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}

	server := newServer(line)
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(streams) }()
	go func() { failed <- serveUDP(packets, line) }()
	log.Printf("serving on %s: %s", listen, line)

	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	log.Printf("told to stop: answering for %s more", drain)
	time.Sleep(drain)

	ctx, cancelShutdown := context.WithTimeout(context.Background(), time.Second)
	defer cancelShutdown()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
