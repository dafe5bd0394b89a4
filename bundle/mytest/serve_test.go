package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const line = "Hello Kubernetes bootcamp! | Running on: mytest-abc | v=1"

func TestAnswerIsTheWalksLine(t *testing.T) {
	if got := answer("mytest-abc"); got != line {
		t.Fatalf("got %q", got)
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(line)
	server.Start()
	defer server.Close()
	for path, want := range map[string]string{"/": line, "/any/path": line, "/healthz": "ok", "/clientip": "127.0.0.1:"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(body), want) || !strings.HasSuffix(string(body), "\n") {
			t.Errorf("%s: got %q, want %q", path, body, want)
		}
		if !response.Close {
			t.Errorf("%s: the connection is kept", path)
		}
	}
}

func TestUDP(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serveUDP(packets, line) }()

	connection, err := net.Dial("udp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := connection.Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 256)
	n, err := connection.Read(got)
	if err != nil || string(got[:n]) != line+"\n" {
		t.Errorf("got %q, %v", got[:n], err)
	}
	packets.Close()
	if err := <-ended; err != nil {
		t.Errorf("closing the socket is the normal end, got %v", err)
	}
}
