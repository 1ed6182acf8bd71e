package vision

import (
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/models/catalog"
)

// The backends by their names in workflows and reports.
const (
	backendCPU  = "cpu"
	backendCUDA = "cuda"
)

// checkBackend refuses a backend that no build has; none asked for is the CPU.
func checkBackend(name string) error {
	switch name {
	case "", backendCPU, backendCUDA:
		return nil
	}
	return fmt.Errorf("%w: unknown backend %q: use cpu or cuda", ErrBackend, name)
}

// cudaUnusable says why a detector of the format can't run on CUDA here; nil:
// it may. OpenCV itself would fall back to the CPU without a word.
func cudaUnusable(format catalog.Format) error {
	if format == catalog.HOG {
		return errors.New("the HOG detector runs on the CPU only")
	}
	if CUDADevices() == 0 {
		return fmt.Errorf("this OpenCV (%s) was built without CUDA or finds no device", OpenCVVersion())
	}
	return nil
}
