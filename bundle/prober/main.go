// Command prober asks one address many times and reports who answered how often, as one JSON object on stdout.
//
//	$ prober --count 300 http://10.96.12.34/
//	{"target":"http://10.96.12.34/","count":300,"answers":{"mytest-a":97,"mytest-b":104,"mytest-c":99},
//	 "failures":{},"seconds":0.41,"slowest":0.009,"first_failures":[]}
//
// Every request is a fresh connection (TCP: a new socket, closed after the answer; UDP: a new source port), because
// kube-proxy's rules choose once a connection. Every request is accounted for: the answers and the failures add up to
// count. The exit code is 0 when the run finished, whatever came of it; 2 on bad arguments.
//
// With --serve it stays, and makes a run for each line on its input: see serve.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// release is set by the builder to the version in component.yaml.
var release = "2"

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
	if plan.serve {
		err = serve(os.Stdin, os.Stdout)
	} else {
		err = encoder(os.Stdout).Encode(plan.run())
	}
	if err != nil {
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
	flags.BoolVar(&p.serve, "serve", false, "make a run for each line of JSON on the input, until it ends")
	flags.BoolVar(&p.version, "version", false, "print the version and exit")
	if err := flags.Parse(arguments); err != nil {
		return p, err
	}
	if p.version {
		return p, nil
	}
	if p.serve {
		if flags.NFlag() != 1 || flags.NArg() != 0 {
			return p, fmt.Errorf("--serve goes alone: what to ask comes on the input")
		}
		return p, nil
	}
	if flags.NArg() != 1 {
		return p, fmt.Errorf("give one target (after the options), got %d", flags.NArg())
	}
	p.target = flags.Arg(0)
	return p.checked()
}
