package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// keptFailures is how many failures are told in full.
const keptFailures = 5

// plan is what the command line asks for.
type plan struct {
	target                   string
	count, concurrency       int
	timeout, pause, duration time.Duration
	udp, serve, version      bool
	ask                      ask
}

// checked is the plan, ready to run; its errors say what to write instead.
func (p plan) checked() (plan, error) {
	switch {
	case p.count < 1:
		return p, fmt.Errorf("count must be at least 1, got %d", p.count)
	case p.concurrency < 1:
		return p, fmt.Errorf("concurrency must be at least 1, got %d", p.concurrency)
	case p.timeout <= 0:
		return p, fmt.Errorf("timeout must be more than 0, got %s", p.timeout)
	case p.pause < 0 || p.duration < 0:
		return p, fmt.Errorf("pause and duration can't be negative")
	}
	var err error
	p.ask, err = asker(p.target, p.udp)
	return p, err
}

// report is what came of it. Answers by backend and failures by kind hold only what occurred; together they add up to
// Count. Resent counts UDP datagrams that were sent once more. Times are in seconds; Slowest is the longest single
// request, answered or not.
type report struct {
	Target        string         `json:"target"`
	Count         int            `json:"count"`
	Answers       map[string]int `json:"answers"`
	Failures      map[string]int `json:"failures"`
	Resent        int            `json:"resent"`
	Seconds       float64        `json:"seconds"`
	Slowest       float64        `json:"slowest"`
	FirstFailures []string       `json:"first_failures"`
}

// run makes all requests and returns the report. It takes at most about count × (timeout + pause) / concurrency.
func (p plan) run() report {
	result := report{
		Target: p.target, Answers: map[string]int{}, Failures: map[string]int{}, FirstFailures: []string{},
	}
	start := time.Now()
	var lock sync.Mutex
	begun := 0
	next := func() (number int, more bool) {
		lock.Lock()
		defer lock.Unlock()
		if begun == p.count || (p.duration > 0 && time.Since(start) >= p.duration) {
			return 0, false
		}
		begun++
		return begun, true
	}

	var workers sync.WaitGroup
	for range min(p.concurrency, p.count) {
		workers.Go(func() {
			for number, more := next(); more; number, more = next() {
				asked := time.Now()
				answer, resent, err := p.once()
				took := time.Since(asked)
				lock.Lock()
				result.Resent += resent
				result.add(number, answer, err, asked.Sub(start), took)
				lock.Unlock()
				time.Sleep(p.pause)
			}
		})
	}
	workers.Wait()
	result.Seconds = seconds(time.Since(start))
	return result
}

// once makes one request within the timeout.
func (p plan) once() (answer string, resent int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	return p.ask(ctx)
}

// add accounts for one request.
func (r *report) add(number int, answer string, err error, at, took time.Duration) {
	r.Count++
	r.Slowest = max(r.Slowest, seconds(took))
	if err == nil {
		r.Answers[backend(answer)]++
		return
	}
	kind := failure(err)
	r.Failures[kind]++
	if len(r.FirstFailures) < keptFailures {
		told := fmt.Sprintf("request %d at %.3f s: %s: %v", number, at.Seconds(), kind, err)
		r.FirstFailures = append(r.FirstFailures, told)
	}
}

// seconds rounds to microseconds, so that the report reads well.
func seconds(d time.Duration) float64 {
	return math.Round(d.Seconds()*1e6) / 1e6
}
