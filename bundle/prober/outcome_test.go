package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"testing"
)

func TestBackend(t *testing.T) {
	for answer, want := range map[string]string{
		"Hello Kubernetes bootcamp! | Running on: mytest-6f9-x2 | v=1\n": "mytest-6f9-x2",
		"Hello Kubernetes bootcamp! | Running on: mytest-6f9-x2 | v=1":   "mytest-6f9-x2",
		"ok\r\nsecond line\n":                "ok",
		"Running on: without the bar\nmore":  "Running on: without the bar",
		"first\nRunning on: pod | is no pod": "first",
		"":                                   "",
	} {
		if got := backend(answer); got != want {
			t.Errorf("%q: got %q, want %q", answer, got, want)
		}
	}
}

func TestFailure(t *testing.T) {
	wrapped := func(err error) error {
		return &url.Error{Op: "Get", URL: "http://10.96.0.1/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{wrapped(syscall.ECONNREFUSED), "refused"},
		{wrapped(syscall.ECONNRESET), "reset"},
		{wrapped(syscall.EPIPE), "reset"},
		{wrapped(syscall.ETIMEDOUT), "timeout"},
		{wrapped(context.DeadlineExceeded), "timeout"},
		{&net.DNSError{Err: "i/o timeout", Name: "mytest-svc", IsTimeout: true}, "timeout"},
		{&net.DNSError{Err: "no such host", Name: "mytest-svc", IsNotFound: true}, "other: no such host: mytest-svc"},
		{wrapped(syscall.EHOSTUNREACH), "other: no route to host"},
		{fmt.Errorf("a: %w", errors.New("b")), "other: b"},
	} {
		if got := failure(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
}
