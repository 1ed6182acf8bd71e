package emulation

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

const (
	journalBytes = 8 << 20 // of a log; as much again is kept of what came before
	tailLines    = 12
	tailBytes    = 1 << 10 // of a line
)

// journal is the log of one node: a file that does not grow without bounds,
// and its last lines. Writing never fails, so that a full disk does not stop
// the node that logs; what was not written is the error of Close.
type journal struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
	err  error // the first
	tail [][]byte
	part []byte // of a line
}

// openJournal appends to what is there.
func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of a node: %w", err)
	}
	return &journal{path: path, file: f}, nil
}

// Write is given what the node writes to its standard output and error.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.remember(p)
	if j.err == nil {
		j.err = j.write(p)
	}
	return len(p), nil
}

func (j *journal) write(p []byte) error {
	if j.size+int64(len(p)) > journalBytes && j.size > 0 {
		if err := errors.Join(j.file.Close(), os.Rename(j.path, j.path+".1")); err != nil {
			return err
		}
		f, err := os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		j.file, j.size = f, 0
	}
	n, err := j.file.Write(p)
	j.size += int64(n)
	return err
}

func (j *journal) remember(p []byte) {
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if room := tailBytes - len(j.part); len(line) > room {
			line = line[:room]
		}
		j.part = append(j.part, line...)
		if !whole {
			return
		}
		if len(j.tail) == tailLines {
			j.tail = slices.Delete(j.tail, 0, 1)
		}
		j.tail = append(j.tail, j.part)
		j.part, p = nil, rest
	}
}

// last returns the last lines.
func (j *journal) last() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, l := range j.tail {
		out = append(out, string(l))
	}
	if len(j.part) > 0 {
		out = append(out, string(j.part))
	}
	return out
}

// forget drops the last lines: those to come are of another process.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tail, j.part = nil, nil
}

// Close reports what could not be written.
func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.file.Close()
	if j.err != nil {
		err = j.err
	}
	if err != nil {
		return fmt.Errorf("the log %s is incomplete: %w", j.path, err)
	}
	return nil
}
