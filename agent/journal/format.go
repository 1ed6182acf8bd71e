package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/tiering"
)

// Why a journal cannot be used.
var (
	ErrDamaged = errors.New("damaged journal")
	ErrVersion = errors.New("journal of another version")
	ErrForeign = errors.New("journal of another node or mesh")
)

const (
	magic   = "weft-assignments"
	version = 1
)

// content is the JSON of a journal.
type content struct {
	Mesh        string               `json:"mesh"`
	Node        string               `json:"node"`
	Index       uint64               `json:"index"`
	Assignments []tiering.Assignment `json:"assignments"`
}

func checksum(body []byte) uint32 {
	return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
}

func encode(c content) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode assignments: %w", err)
	}
	return append(fmt.Appendf(nil, "%s %d %08x\n", magic, version, checksum(body)), body...), nil
}

// decode is the inverse of encode. Its errors are ErrDamaged and ErrVersion.
func decode(b []byte) (content, error) {
	line, body, _ := bytes.Cut(b, []byte("\n"))
	words := strings.Split(string(line), " ")
	if words[0] != magic || len(words) < 2 {
		return content{}, fmt.Errorf("%w: it does not start with %q", ErrDamaged, magic)
	}
	// What follows the version is the version's own business.
	switch v, err := strconv.ParseUint(words[1], 10, 32); {
	case err != nil:
		return content{}, fmt.Errorf("%w: version %.20q", ErrDamaged, words[1])
	case v != version:
		return content{}, fmt.Errorf("%w: version %d, this weftd reads %d", ErrVersion, v, version)
	case len(words) != 3 || words[2] != fmt.Sprintf("%08x", checksum(body)):
		return content{}, fmt.Errorf("%w: the checksum does not match: it was cut short or changed", ErrDamaged)
	}
	var c content
	if err := json.Unmarshal(body, &c); err != nil {
		return content{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if c.Index == 0 {
		return content{}, fmt.Errorf("%w: no index", ErrDamaged)
	}
	for i, a := range c.Assignments {
		if a.Placement.ID == "" || a.Placement.Node != c.Node {
			return content{}, fmt.Errorf("%w: assignments[%d] places %q on node %q, the journal is of %q",
				ErrDamaged, i, a.Placement.ID, a.Placement.Node, c.Node)
		}
	}
	return c, nil
}
