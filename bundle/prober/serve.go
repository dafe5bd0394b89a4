package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// asked is a line of --serve's input: the command line's target and options by the same names and with the same
// defaults, times in seconds.
//
//	{"target": "http://10.96.12.34/", "count": 300}
//	{"target": "10.96.0.10:53", "udp": true, "count": 3, "timeout": 1.5, "pause": 0.1}
type asked struct {
	Target      string  `json:"target"`
	Count       int     `json:"count"`
	Concurrency int     `json:"concurrency"`
	Timeout     float64 `json:"timeout"`
	Pause       float64 `json:"pause"`
	Duration    float64 `json:"duration"`
	UDP         bool    `json:"udp"`
}

// serve makes one run after another, for each line of the input, and answers each with one line: the run's report, or
// {"error": "..."} for a line that can't be run. It returns when the input ends. A process that stays for all the runs
// of one place spares a busy machine what starting one costs: on a user-mode node more than the requests.
func serve(in io.Reader, out io.Writer) error {
	lines, answers := bufio.NewScanner(in), encoder(out)
	for lines.Scan() {
		var answer any
		if p, err := read(lines.Bytes()); err != nil {
			answer = map[string]string{"error": err.Error()}
		} else {
			answer = p.run()
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// read is the plan in a line of the input.
func read(line []byte) (plan, error) {
	a := asked{Count: 1, Concurrency: 1, Timeout: 2}
	fields := json.NewDecoder(bytes.NewReader(line))
	fields.DisallowUnknownFields()
	if err := fields.Decode(&a); err != nil {
		return plan{}, fmt.Errorf("%w in the line %q", err, line)
	}
	return plan{
		target: a.Target, count: a.Count, concurrency: a.Concurrency, udp: a.UDP,
		timeout: duration(a.Timeout), pause: duration(a.Pause), duration: duration(a.Duration),
	}.checked()
}

// encoder writes JSON in lines; "->" in a socket error stays readable.
func encoder(out io.Writer) *json.Encoder {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	return lines
}

// duration is a number of seconds.
func duration(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}
