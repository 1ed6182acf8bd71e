//go:build !unix

package main

import "io"

// terminalWidth is not known here: output is as for a file.
func terminalWidth(io.Writer) int { return 0 }
