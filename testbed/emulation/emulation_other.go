//go:build !linux

package emulation

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/testbed"
)

// Testbed is an emulated continuum. Here there is none.
type Testbed struct{}

// New returns ErrUnsupported, or what is wrong with the configuration.
func New(cfg Config, s *testbed.Scenario) (*Testbed, error) {
	if err := cfg.withDefaults(s).check(s); err != nil {
		return nil, err
	}
	return nil, ErrUnsupported
}

// Missing returns ErrUnsupported.
func Missing(Config) error { return ErrUnsupported }

// Run returns ErrUnsupported.
func (t *Testbed) Run(context.Context, func(context.Context) error) error { return ErrUnsupported }

// Apply returns ErrUnsupported.
func (t *Testbed) Apply(context.Context, testbed.Event) error { return ErrUnsupported }

// Limit returns ErrUnsupported.
func (t *Testbed) Limit(bool) error { return ErrUnsupported }

// Nodes returns nothing.
func (t *Testbed) Nodes() []NodeState { return nil }

// Fill returns ErrUnsupported.
func (t *Testbed) Fill(string) error { return ErrUnsupported }

// Free returns ErrUnsupported.
func (t *Testbed) Free(string) error { return ErrUnsupported }

// SetClock returns ErrUnsupported.
func (t *Testbed) SetClock(string, time.Duration) error { return ErrUnsupported }

// Usage returns ErrUnsupported.
func (t *Testbed) Usage() ([]testbed.NodeSample, error) { return nil, ErrUnsupported }

// Dial returns a function that returns ErrUnsupported.
func (t *Testbed) Dial(string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) { return nil, ErrUnsupported }
}

// Operator returns nothing.
func (t *Testbed) Operator() (*pki.Identity, []string) { return nil, nil }

// Shaping returns nothing.
func (t *Testbed) Shaping() string { return "" }

// Link returns nothing.
func (t *Testbed) Link(string, string) (testbed.Link, bool) { return testbed.Link{}, false }

// Links returns ErrUnsupported.
func (t *Testbed) Links() ([]LinkState, error) { return nil, ErrUnsupported }

// Check returns ErrUnsupported.
func (t *Testbed) Check(context.Context) ([]testbed.LinkCheck, error) { return nil, ErrUnsupported }

// Exec returns ErrUnsupported.
func Exec(context.Context, *State, string, []string, io.Reader, io.Writer, io.Writer) (int, error) {
	return 0, ErrUnsupported
}

// List returns nothing: no testbed can be up.
func (p Place) List() ([]State, error) { return nil, nil }

// Find returns ErrUnsupported.
func (p Place) Find(string) (*State, error) { return nil, ErrUnsupported }

// Down returns ErrUnsupported.
func (p Place) Down(context.Context, string) error { return ErrUnsupported }

// DownAll returns ErrUnsupported.
func (p Place) DownAll(context.Context) error { return ErrUnsupported }
