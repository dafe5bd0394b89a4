package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestServeAnswersLineByLine(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "x") }))
	defer server.Close()
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(in, out) }()
	lines := json.NewDecoder(answers)
	for _, test := range []struct {
		line  string
		count int // 0: an error
	}{
		{fmt.Sprintf(`{"target": %q, "count": 5}`, server.URL), 5},
		{`{"target": "ftp://a/"}`, 0},
		{`{"target": "a:1", "cuont": 3}`, 0},
		{`{"target": "a:1", "count": "3"}`, 0},
		{`not JSON`, 0},
		{fmt.Sprintf(`{"target": %q}`, server.URL), 1},
	} {
		fmt.Fprintln(ask, test.line)
		var answer struct {
			report
			Error string `json:"error"`
		}
		if err := lines.Decode(&answer); err != nil { // before the next line is written
			t.Fatal(err)
		}
		if answer.Answers["x"] != test.count || (answer.Error == "") != (test.count > 0) {
			t.Errorf("%s: %+v", test.line, answer)
		}
	}
	ask.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeTakesTheCommandLinesOptions(t *testing.T) {
	p, err := read([]byte(`{"target": "a:1", "udp": true, "count": 3, "concurrency": 2, "timeout": 1.5, "pause": 0.25, "duration": 9}`))
	if err != nil {
		t.Fatal(err)
	}
	same, err := parse(strings.Fields("--udp --count 3 --concurrency 2 --timeout 1500ms --pause 250ms --duration 9s a:1"))
	if err != nil {
		t.Fatal(err)
	}
	p.ask, same.ask = nil, nil
	if fmt.Sprint(p) != fmt.Sprint(same) {
		t.Errorf("%+v is not %+v", p, same)
	}
	if p, err = read([]byte(`{"target": "a:1"}`)); err != nil || p.count != 1 || p.timeout.Seconds() != 2 {
		t.Errorf("defaults: %+v, %v", p, err)
	}
}
