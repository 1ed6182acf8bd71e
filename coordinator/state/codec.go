package state

import (
	"bytes"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// codec is how records and commands become bytes: CBOR in the core
// deterministic encoding (RFC 8949, section 4.2.1), so that equal values are
// equal bytes. Decoding is strict: a field that this version does not know
// would be lost on one replica and kept on another.
type codec struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

func newCodec() codec {
	e := cbor.CoreDetEncOptions()
	e.Time = cbor.TimeRFC3339NanoUTC
	enc, err := e.EncMode()
	must(err)
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	must(err)
	return codec{enc, dec}
}

// Same reports whether two values of one type are equal once they are stored:
// a nil and an empty list are.
func Same[T any](a, b T) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	enc := newCodec().enc
	x, err := enc.Marshal(a)
	if err != nil {
		return false
	}
	y, err := enc.Marshal(b)
	return err == nil && bytes.Equal(x, y)
}
