package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

func sum(counts map[string]int) (total int) {
	for _, n := range counts {
		total += n
	}
	return total
}

// probe runs the command line as main would.
func probe(t *testing.T, arguments ...string) report {
	t.Helper()
	p, err := parse(arguments)
	if err != nil {
		t.Fatal(err)
	}
	result := p.run()
	if sum(result.Answers)+sum(result.Failures) != result.Count {
		t.Errorf("requests unaccounted for: %+v", result)
	}
	return result
}

func TestEveryHTTPRequestIsAFreshConnection(t *testing.T) {
	var lock sync.Mutex
	sources := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		sources[r.RemoteAddr] = true
		fmt.Fprintf(w, "Hello Kubernetes bootcamp! | Running on: pod-%d | v=1\n", len(sources)%3)
	}))
	defer server.Close()
	result := probe(t, "--count", "30", "--concurrency", "4", server.URL)
	if len(sources) != 30 {
		t.Errorf("30 requests came over %d connections", len(sources))
	}
	for pod, n := range result.Answers {
		if n != 10 {
			t.Errorf("%s: %d", pod, n)
		}
	}
}

// packetServer answers every datagram but the first few, and tells where each of up to 20 came from.
func packetServer(t *testing.T, silent int) (address string, sources <-chan string) {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	seen := make(chan string, 20)
	go func() {
		buffer := make([]byte, 100)
		for number := 0; ; number++ {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			seen <- from.String()
			if number >= silent {
				packets.WriteTo([]byte("Running on: pod | v=1\n"), from)
			}
		}
	}()
	return packets.LocalAddr().String(), seen
}

func TestEveryUDPRequestHasANewSourcePort(t *testing.T) {
	address, sources := packetServer(t, 0)
	result := probe(t, "--udp", "--count", "20", address)
	if result.Answers["pod"] != 20 {
		t.Errorf("%+v", result)
	}
	distinct := map[string]bool{}
	for range 20 {
		distinct[<-sources] = true
	}
	// The kernel picks source ports at random and may pick one twice; one port for all would be one conntrack entry.
	if len(distinct) < 15 {
		t.Errorf("20 requests came from %d ports", len(distinct))
	}
}

func TestALostDatagramIsSentAgainFromTheSamePort(t *testing.T) {
	address, sources := packetServer(t, 1)
	result := probe(t, "--udp", "--timeout", "5s", address)
	if result.Answers["pod"] != 1 || result.Resent != 1 {
		t.Fatalf("%+v", result)
	}
	if first, second := <-sources, <-sources; first != second {
		t.Errorf("sent from %s, again from %s", first, second)
	}
}

func TestADatagramIsNotSentAgainInAShortTime(t *testing.T) {
	address, _ := packetServer(t, 1)
	result := probe(t, "--udp", "--timeout", "300ms", address)
	if result.Failures["timeout"] != 1 || result.Resent != 0 {
		t.Errorf("%+v", result)
	}
}

func TestRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close() // now nobody listens there
	for _, arguments := range [][]string{{address}, {"--udp", address}} {
		result := probe(t, append([]string{"--count", "7"}, arguments...)...)
		if result.Failures["refused"] != 7 || len(result.FirstFailures) != keptFailures {
			t.Errorf("%v: %+v", arguments, result)
		}
	}
}

func TestTimeoutAndReset(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent := probe(t, "--count", "2", "--timeout", "50ms", listener.Addr().String())
	if silent.Failures["timeout"] != 2 || silent.Slowest < 0.05 {
		t.Errorf("%+v", silent)
	}

	resetting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer resetting.Close()
	go func() {
		for {
			connection, err := resetting.Accept()
			if err != nil {
				return
			}
			// Take the request first, so that it is the reading of the answer that is reset.
			connection.Read(make([]byte, 1))
			connection.(*net.TCPConn).SetLinger(0)
			connection.Close()
		}
	}()
	result := probe(t, "--count", "3", resetting.Addr().String())
	if result.Failures["reset"] != 3 {
		t.Errorf("%+v", result)
	}
}

func TestDurationEndsTheRunEarly(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "x") }))
	defer server.Close()
	result := probe(t, "--count", "1000000", "--pause", "10ms", "--duration", "100ms", server.URL)
	if result.Count < 1 || result.Count > 20 || result.Answers["x"] != result.Count {
		t.Errorf("%+v", result)
	}
}

func TestAStatusOtherThan200IsAFailure(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	result := probe(t, server.URL)
	if result.Failures["other: HTTP 404 Not Found"] != 1 {
		t.Errorf("%+v", result)
	}
}

func TestBadArguments(t *testing.T) {
	for _, arguments := range [][]string{
		{}, {"a:1", "b:2"}, {"--count", "0", "a:1"}, {"--concurrency", "0", "a:1"}, {"--timeout", "0s", "a:1"},
		{"--pause", "-1s", "a:1"}, {"--udp", "http://a/"}, {"ftp://a/"}, {"http://"}, {":8080"},
		{"--udp", ":8080"}, {"--serve", "a:1"}, {"--serve", "--count", "2"},
	} {
		if _, err := parse(arguments); err == nil {
			t.Errorf("%v is taken", arguments)
		}
	}
}

func TestSecondsAreRounded(t *testing.T) {
	if got := seconds(1234567899 * time.Nanosecond); got != 1.234568 {
		t.Error(got)
	}
}
