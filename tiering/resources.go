package tiering

import "fmt"

// Resources is an amount of what a node has and a task asks for.
type Resources struct {
	CPU    int64 `json:"cpu_m"`  // thousandths of a core
	Memory int64 `json:"memory"` // bytes
	Disk   int64 `json:"disk"`   // bytes
}

// Add returns r + s.
func (r Resources) Add(s Resources) Resources {
	return Resources{r.CPU + s.CPU, r.Memory + s.Memory, r.Disk + s.Disk}
}

// Sub returns r - s; components may become negative.
func (r Resources) Sub(s Resources) Resources {
	return Resources{r.CPU - s.CPU, r.Memory - s.Memory, r.Disk - s.Disk}
}

// Fits reports whether r is available within free, component by component.
func (r Resources) Fits(free Resources) bool {
	return r.CPU <= free.CPU && r.Memory <= free.Memory && r.Disk <= free.Disk
}

// Max returns the component-wise maximum.
func (r Resources) Max(s Resources) Resources {
	return Resources{max(r.CPU, s.CPU), max(r.Memory, s.Memory), max(r.Disk, s.Disk)}
}

// Min returns the component-wise minimum.
func (r Resources) Min(s Resources) Resources {
	return Resources{min(r.CPU, s.CPU), min(r.Memory, s.Memory), min(r.Disk, s.Disk)}
}

// Half returns half of r, rounded up: the least that an adjusted reservation
// may keep (Houmani et al., section VI-C).
func (r Resources) Half() Resources {
	return Resources{(r.CPU + 1) / 2, (r.Memory + 1) / 2, (r.Disk + 1) / 2}
}

// IsZero reports whether nothing is asked for.
func (r Resources) IsZero() bool { return r == Resources{} }

// String formats r for people: "1.5 cores, 512 MiB, 2 GiB disk".
func (r Resources) String() string {
	return fmt.Sprintf("%s, %s memory, %s disk", FormatCPU(r.CPU), FormatBytes(r.Memory), FormatBytes(r.Disk))
}

// FormatCPU formats thousandths of a core: "1.5 cores".
func FormatCPU(milli int64) string {
	if milli == 1000 {
		return "1 core"
	}
	return fmt.Sprintf("%g cores", float64(milli)/1000)
}

// FormatBytes formats bytes with a binary unit: "1.5 GiB".
func FormatBytes(n int64) string {
	const units = "KMGTPE"
	if n < 0 {
		return "-" + FormatBytes(-n)
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.4g %ciB", v, units[i])
}
