package vision

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/models/catalog"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering"
)

// testData is the path of a file or directory of the shared test data; without
// them the test is skipped.
func testData(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("WEFT_TEST_DATA")
	if dir == "" {
		// The package is two levels below the repository's root.
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no test data: %v; set WEFT_TEST_DATA to their directory", err)
	}
	return path
}

// picture reads a file of the shared test data as it is.
func picture(t testing.TB, elem ...string) pipeline.Image {
	t.Helper()
	data, err := os.ReadFile(testData(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return pipeline.Image{Format: pipeline.JPEG, Data: data}
}

// pixelsOf decodes a picture.
func pixelsOf(t testing.TB, img pipeline.Image) pipeline.Image {
	t.Helper()
	out, err := Codec{}.Decode(img)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// config is that of a built-in detector on the CPU.
func config(t testing.TB, model string, resolution int) DetectorConfig {
	t.Helper()
	m, ok := catalog.Builtin().Lookup(model)
	if !ok {
		t.Fatalf("no built-in model %s", model)
	}
	dir := ""
	if len(m.Files) > 0 {
		dir = testData(t, "detectors")
	}
	return DetectorConfig{
		Model: *m, Dir: dir, Resolution: resolution,
		Backend: tiering.Backend{Name: backendCPU}, Log: slog.New(slog.DiscardHandler),
	}
}

func open(t testing.TB, cfg DetectorConfig) *Detector {
	t.Helper()
	d, err := NewDetector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
