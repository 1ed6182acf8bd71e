package state

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-memdb"

	"github.com/weft-mesh/weft/tiering"
)

// A snapshot on disk is magic, then CBOR items: a header, one record for each
// object (tables in the order of the constants below, objects by key), and an
// end that holds the number of records and the CRC-32C of every item before it.
const (
	magic           = "WEFTSNAP"
	snapshotVersion = 1
)

// recordKind says what a record is. The numbers are on disk.
type recordKind uint8

const (
	recordEnd        recordKind = 0
	recordCluster    recordKind = 1
	recordNode       recordKind = 2
	recordWorkflow   recordKind = 3
	recordPlacement  recordKind = 4
	recordAdaptation recordKind = 5
	recordProfiles   recordKind = 6
	recordToken      recordKind = 20
)

type header struct {
	Version  int    `json:"version"`
	Index    uint64 `json:"index"`
	Revision uint64 `json:"revision"`
}

type record struct {
	_    struct{} `cbor:",toarray"`
	Kind recordKind
	Body cbor.RawMessage
}

type end struct {
	Records uint64 `json:"records"`
	CRC     uint32 `json:"crc"`
}

func checksum(crc uint32, item []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), item)
}

// Persist writes the snapshot. Equal states write equal bytes.
func (s *Snapshot) Persist(w io.Writer) error {
	p := &persister{codec: s.codec, w: w}
	p.write([]byte(magic))
	p.item(header{snapshotVersion, s.index, s.revision})
	for _, r := range list[cluster](s.txn(), tableMeta, byID) {
		p.record(recordCluster, r)
	}
	for _, r := range s.Nodes() {
		p.record(recordNode, r)
	}
	for _, r := range s.Workflows() {
		p.record(recordWorkflow, r)
	}
	for _, r := range list[tiering.Placement](s.txn(), tablePlacements, byID) {
		p.record(recordPlacement, r)
	}
	for _, r := range s.Adaptations() {
		p.record(recordAdaptation, r)
	}
	for _, r := range s.Profiles() {
		p.record(recordProfiles, r)
	}
	for _, r := range s.Tokens() {
		p.record(recordToken, r)
	}
	e := end{p.records, p.crc}
	p.record(recordEnd, &e)
	if p.err != nil {
		return fmt.Errorf("persist state at index %d: %w", s.index, p.err)
	}
	return nil
}

type persister struct {
	codec   codec
	w       io.Writer
	crc     uint32
	records uint64
	err     error // the first; later writes do nothing
}

func (p *persister) write(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
}

func (p *persister) marshal(v any) []byte {
	b, err := p.codec.enc.Marshal(v)
	p.err = errors.Join(p.err, err)
	return b
}

func (p *persister) item(v any) {
	b := p.marshal(v)
	p.crc = checksum(p.crc, b)
	p.write(b)
}

func (p *persister) record(k recordKind, v any) {
	p.item(record{Kind: k, Body: p.marshal(v)})
	p.records++
}

// Restore replaces the state by one that Persist wrote. On an error, which is
// ErrCorrupt, the state is as it was.
func (m *Machine) Restore(r io.Reader) error {
	db := newDB()
	into := &change{txn: db.Txn(true)}
	defer into.txn.Abort() // no effect after Commit
	h, err := m.codec.readSnapshot(r, into)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	into.txn.Commit()
	m.become(db, h.Index, h.Revision)
	return nil
}

// Become replaces the state by another machine's, as it is now.
func (m *Machine) Become(o *Machine) {
	s := o.Snapshot()
	m.become(s.db, s.index, s.revision)
}

func (m *Machine) become(db *memdb.MemDB, index, revision uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.db, m.index, m.revision = db, index, revision
	m.wake()
}

func (c codec) readSnapshot(r io.Reader, into *change) (header, error) {
	var (
		h   header
		crc uint32
		n   uint64
	)
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r, start); err != nil {
		return h, broken("no header", err)
	}
	if string(start) != magic {
		return h, fmt.Errorf("%w snapshot: does not start with %s", ErrCorrupt, magic)
	}
	dec := c.dec.NewDecoder(r)
	next := func() (cbor.RawMessage, error) {
		var raw cbor.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, broken("cut short or garbled", err)
		}
		return raw, nil
	}
	raw, err := next()
	if err != nil {
		return h, err
	}
	if err := c.dec.Unmarshal(raw, &h); err != nil {
		return h, broken("header", err)
	}
	if h.Version != snapshotVersion {
		return h, fmt.Errorf("%w snapshot: format version %d, this weftd reads %d", ErrCorrupt, h.Version, snapshotVersion)
	}
	for {
		crc = checksum(crc, raw)
		if raw, err = next(); err != nil {
			return h, err
		}
		var rec record
		if err := c.dec.Unmarshal(raw, &rec); err != nil {
			return h, broken("record", err)
		}
		if rec.Kind == recordEnd {
			return h, c.readEnd(rec.Body, end{n, crc}, dec)
		}
		if err := c.readRecord(rec, into); err != nil {
			return h, err
		}
		n++
	}
}

func (c codec) readEnd(body []byte, want end, dec *cbor.Decoder) error {
	var got end
	if err := c.dec.Unmarshal(body, &got); err != nil {
		return broken("end", err)
	}
	if got != want {
		return fmt.Errorf("%w snapshot: %d records with CRC %08x, expected %d with %08x", ErrCorrupt, want.Records, want.CRC, got.Records, got.CRC)
	}
	var more cbor.RawMessage
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w snapshot: data after the end", ErrCorrupt)
	}
	return nil
}

func (c codec) readRecord(r record, into *change) error {
	switch r.Kind {
	case recordCluster:
		return readInto(c, r.Body, into, tableMeta, func(v *cluster) bool { return v.Key == clusterKey })
	case recordNode:
		return readInto(c, r.Body, into, tableNodes, func(v *Node) bool { return v.ID != "" })
	case recordWorkflow:
		return readInto(c, r.Body, into, tableWorkflows, func(v *Workflow) bool {
			return v.Name != "" && v.Spec != nil && (v.Next == nil || v.Next.Spec != nil)
		})
	case recordPlacement:
		return readInto(c, r.Body, into, tablePlacements, func(v *tiering.Placement) bool {
			return v.ID != "" && v.Workflow != "" && v.Node != ""
		})
	case recordAdaptation:
		return readInto(c, r.Body, into, tableAdaptations, func(v *Adaptation) bool { return v.Workflow != "" })
	case recordProfiles:
		return readInto(c, r.Body, into, tableProfiles, func(v *Profiles) bool { return v.Node != "" })
	case recordToken:
		return readInto(c, r.Body, into, tableTokens, func(v *Token) bool { return v.ID != "" && v.Name != "" })
	}
	return fmt.Errorf("%w snapshot: unknown record type %d", ErrCorrupt, r.Kind)
}

func readInto[T any](c codec, body []byte, into *change, table string, valid func(*T) bool) error {
	v := new(T)
	if err := c.dec.Unmarshal(body, v); err != nil {
		return broken(table+" record", err)
	}
	if !valid(v) {
		return fmt.Errorf("%w snapshot: %s record without its key", ErrCorrupt, table)
	}
	into.insert(table, v)
	return nil
}

func broken(what string, err error) error {
	return fmt.Errorf("%w snapshot: %s: %w", ErrCorrupt, what, err)
}
