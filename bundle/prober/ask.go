package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// longestAnswer is how much of an answer is read, in bytes; more than a UDP datagram can hold.
const longestAnswer = 64 << 10

// resendAfter is how long a datagram goes unanswered until it is sent again, as whoever uses UDP does: the network may
// lose one, conntrack too where two packets' entries clash. TCP sends its SYN again by itself.
const resendAfter = 2 * time.Second

// ask makes one request over a connection of its own and returns the answer's text, and how often a datagram was sent
// again for it.
type ask func(ctx context.Context) (answer string, resent int, err error)

// asker returns the way to ask the target: a URL or HOST:PORT for HTTP, HOST:PORT for UDP.
func asker(target string, udp bool) (ask, error) {
	if udp {
		if host, port, err := net.SplitHostPort(target); err != nil || host == "" || strings.Contains(port, "/") {
			return nil, fmt.Errorf("with --udp the target is HOST:PORT, got %q", target)
		}
		return udpAsker(target), nil
	}
	if !strings.Contains(target, "://") {
		target = "http://" + target
	}
	parsed, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Hostname() == "" {
		return nil, fmt.Errorf("the target is an http or https URL or HOST:PORT, got %q", target)
	}
	return httpAsker(parsed.String()), nil
}

// httpAsker uses no proxy, follows nothing, and trusts any certificate: the question is who answers, and the cluster's
// own authority is not known everywhere the prober runs.
func httpAsker(target string) ask {
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, // a new socket for each request; also sends "Connection: close"
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) (string, int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return "", 0, err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", 0, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
		if err != nil {
			return "", 0, err
		}
		if response.StatusCode != http.StatusOK {
			return "", 0, fmt.Errorf("HTTP %s", response.Status)
		}
		return string(body), 0, nil
	}
}

// udpAsker sends a datagram, again after a while, and takes the first that comes back. The socket is connected, so
// that a refusal (ICMP port unreachable) is seen and an answer from another address than the one asked is not taken.
func udpAsker(target string) ask {
	return func(ctx context.Context) (string, int, error) {
		connection, err := new(net.Dialer).DialContext(ctx, "udp", target)
		if err != nil {
			return "", 0, err
		}
		defer connection.Close()
		answer := make([]byte, longestAnswer)
		for resent := 0; ; resent++ {
			if _, err := connection.Write([]byte("who answers?\n")); err != nil {
				return "", resent, err
			}
			until := time.Now().Add(resendAfter)
			deadline, bounded := ctx.Deadline()
			last := bounded && !until.Before(deadline)
			if last {
				until = deadline
			}
			if err := connection.SetReadDeadline(until); err != nil {
				return "", resent, err
			}
			n, err := connection.Read(answer)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded) && !last:
			case err != nil:
				return "", resent, err
			case n == 0:
				return "", resent, errors.New("an empty datagram")
			default:
				return string(bytes.TrimRight(answer[:n], "\r\n")), resent, nil
			}
		}
	}
}
