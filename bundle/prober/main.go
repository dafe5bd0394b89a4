// Command prober asks one address many times and reports who answered how often, as one JSON object on stdout.
//
//	$ prober --count 300 http://10.96.12.34/
//	{"target":"http://10.96.12.34/","count":300,"answers":{"mytest-a":97,"mytest-b":104,"mytest-c":99},
//	 "failures":{},"seconds":0.41,"slowest":0.009,"first_failures":[]}
//
// Every request is a fresh connection (TCP: a new socket, closed after the answer; UDP: a new source port), because
// kube-proxy's rules choose once a connection. Every request is accounted for: the answers and the failures add up to
// count. The exit code is 0 when the run finished, whatever came of it; 2 on bad arguments.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// release is set by the builder to the version in component.yaml.
var release = "1"

func main() {
	plan, err := parse(os.Args[1:])
	if err == flag.ErrHelp {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "prober:", err)
		os.Exit(2)
	}
	if plan.version {
		fmt.Println("prober v" + release)
		return
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false) // "->" in a socket error stays readable
	if err := out.Encode(plan.run()); err != nil {
		fmt.Fprintln(os.Stderr, "prober:", err)
		os.Exit(1)
	}
}

// parse reads the command line; its errors say what to write instead.
func parse(arguments []string) (plan, error) {
	var p plan
	flags := flag.NewFlagSet("prober", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: prober [OPTIONS] URL|HOST:PORT")
		flags.PrintDefaults()
	}
	flags.IntVar(&p.count, "count", 1, "how many requests")
	flags.BoolVar(&p.udp, "udp", false, "ask over UDP; the target is HOST:PORT")
	flags.DurationVar(&p.timeout, "timeout", 2*time.Second, "the longest a request may take, from name look-up to answer")
	flags.DurationVar(&p.pause, "pause", 0, "wait so long after each request")
	flags.DurationVar(&p.duration, "duration", 0, "start no request after so long; count then says how many were made")
	flags.IntVar(&p.concurrency, "concurrency", 1, "how many requests at once")
	flags.BoolVar(&p.version, "version", false, "print the version and exit")
	if err := flags.Parse(arguments); err != nil {
		return p, err
	}
	if p.version {
		return p, nil
	}
	if flags.NArg() != 1 {
		return p, fmt.Errorf("give one target (after the options), got %d", flags.NArg())
	}
	p.target = flags.Arg(0)
	switch {
	case p.count < 1:
		return p, fmt.Errorf("--count must be at least 1, got %d", p.count)
	case p.concurrency < 1:
		return p, fmt.Errorf("--concurrency must be at least 1, got %d", p.concurrency)
	case p.timeout <= 0:
		return p, fmt.Errorf("--timeout must be more than 0, got %s", p.timeout)
	case p.pause < 0 || p.duration < 0:
		return p, fmt.Errorf("--pause and --duration can't be negative")
	}
	var err error
	p.ask, err = asker(p.target, p.udp)
	return p, err
}
