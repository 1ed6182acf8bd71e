// Package mininet writes the topology of a scenario as a script for Mininet
// (https://mininet.org), for those who have it: [Script] returns a Python
// program that needs Mininet 2.3 or later (Debian's package mininet) and
// nothing else.
//
// Each two nodes have a link of their own, shaped by tc as the scenario's path
// between them is; there are no switches, so no Open vSwitch and no controller.
//
// The package is pure. cmd/weft calls it.
package mininet
