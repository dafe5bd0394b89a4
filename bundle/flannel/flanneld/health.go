package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	log "k8s.io/klog/v2"
)

// readiness becomes true once the subnet file is written and the rules are in place.
type readiness struct{ atomic.Bool }

// ServeHTTP is /readyz.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.Load() {
		http.Error(w, "flanneld is not ready yet", http.StatusServiceUnavailable)
		return
	}
	tell(w, "flanneld is ready")
}

// serveHealth serves /healthz and /readyz until ctx is done. It fails at once if the port is taken.
func serveHealth(ctx context.Context, running *sync.WaitGroup, address string, port int, ready *readiness) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("serve health: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/readyz", ready)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { tell(w, "flanneld is running") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}

	running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Errorf("The health server ended: %v", err)
		}
	})
	running.Go(func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := server.Shutdown(last); err != nil {
			log.Errorf("The health server did not end in time: %v", err)
		}
	})
	return nil
}

func tell(w io.Writer, line string) {
	if _, err := io.WriteString(w, line); err != nil {
		log.Errorf("Health answer not sent: %v", err)
	}
}
