package experiment

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
)

// table is a CSV file that grows row by row. Rows reach the file before add
// returns: they outlive the process. After an error it takes no more rows, for
// a table with a hole misleads.
type table struct {
	path  string
	file  *os.File
	bytes int64 // written, in whole rows
	rows  int   // written, without the header
	err   error
}

func newTable(path string, header []string) (*table, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	t := &table{path: path, file: f, rows: -1}
	if err := t.add([][]string{header}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// add appends rows: all of them, or with an error none.
func (t *table) add(rows [][]string) error {
	if t.err != nil || len(rows) == 0 {
		return t.err
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		t.err = fmt.Errorf("%s: %w", t.path, err)
		return t.err
	}
	if _, err := t.file.Write(b.Bytes()); err != nil {
		t.err = fmt.Errorf("%s: %w after %d rows (%d bytes), which are kept", t.path, cause(err), max(t.rows, 0), t.bytes)
		// A row that was written in part is no row.
		if short := t.file.Truncate(t.bytes); short != nil {
			t.err = errors.Join(t.err, fmt.Errorf("%s: its last row is not whole: %w", t.path, cause(short)))
		}
		return t.err
	}
	t.rows += len(rows)
	t.bytes += int64(b.Len())
	return nil
}

func (t *table) close() error {
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	if t.err == nil {
		t.err = fmt.Errorf("%s: %w", t.path, os.ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", t.path, cause(err))
	}
	return nil
}
