package fetch

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// BlobPath is where nodes hand out files by digest: BlobPath + "sha256:" + the
// digest in hexadecimal.
const BlobPath = "/v1/blobs/"

// digestPrefix says which digest it is.
const digestPrefix = "sha256:"

// ParseDigest reads "sha256:HEX".
func ParseDigest(s string) (hex string, ok bool) {
	hex, ok = strings.CutPrefix(s, digestPrefix)
	return hex, ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// chunkTime is how long a caller may take for what is written at a time.
const chunkTime = 30 * time.Second

// Serve answers with a file, or the part that is asked for. A caller that takes
// nothing for a while is given up.
func Serve(w http.ResponseWriter, r *http.Request, hex string, file io.ReadSeeker) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "private, immutable")
	h.Set("ETag", `"`+digestPrefix+hex+`"`)
	http.ServeContent(&patient{ResponseWriter: w}, r, "", time.Time{}, file)
}

// patient gives the caller time for each part of an answer.
type patient struct{ http.ResponseWriter }

func (p *patient) Write(b []byte) (int, error) {
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(chunkTime)) // every server's writer has it
	return p.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
