//go:build tools

// Package tools names the programs that component.yaml builds, so that go.mod keeps what they need.
package tools

import (
	_ "go.universe.tf/metallb/controller"
	_ "go.universe.tf/metallb/speaker"
)
