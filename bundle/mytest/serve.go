package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// answer is the line the pod of that name gives to everyone, without the line's end.
func answer(pod string) string {
	return fmt.Sprintf("Hello Kubernetes bootcamp! | Running on: %s | v=%s", pod, release)
}

// newServer answers every path with the line, each answer closing its connection: a kept connection stays with
// its pod, and only a new one makes kube-proxy's rules choose again.
func newServer(line string) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { say(w, line) })
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	mux.HandleFunc("/clientip", func(w http.ResponseWriter, r *http.Request) { say(w, r.RemoteAddr) })
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	server.SetKeepAlivesEnabled(false) // also sends "Connection: close"
	return server
}

func say(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := io.WriteString(w, line+"\n"); err != nil {
		log.Printf("answer not sent: %v", err)
	}
}

// serveUDP answers every datagram, whatever it says, until the socket is closed.
func serveUDP(packets net.PacketConn, line string) error {
	reply := []byte(line + "\n")
	ignored := make([]byte, 2048)
	for {
		_, from, err := packets.ReadFrom(ignored)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := packets.WriteTo(reply, from); err != nil {
			log.Printf("answer to %s not sent: %v", from, err)
		}
	}
}
