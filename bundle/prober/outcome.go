package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
)

// backend is who gave the answer: the pod's name in a mytest answer ("... | Running on: POD | v=1"), and of any other
// answer its first line.
func backend(answer string) string {
	line, _, _ := strings.Cut(answer, "\n")
	line = strings.TrimRight(line, "\r")
	if _, rest, found := strings.Cut(line, "Running on: "); found {
		if pod, _, found := strings.Cut(rest, " |"); found {
			return pod
		}
	}
	return line
}

// failure is the kind of an error: "refused", "timeout", "reset", or "other: " and the error in short.
func failure(err error) string {
	var timed net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	// ETIMEDOUT is the kernel giving up before our own bound.
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &timed) && timed.Timeout():
		return "timeout"
	}
	return "other: " + innermost(err).Error()
}

// innermost drops the addresses and ports that wrap an error: they differ from request to request, and what is
// counted together must read the same.
func innermost(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return errors.New(lookup.Err + ": " + lookup.Name)
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
