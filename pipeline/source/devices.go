package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/mediadevices/pkg/driver"
	mediavideo "github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"

	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/tiering/sourceuri"
)

const (
	// maxBadReads is how many reads in a row may fail before the device is
	// given up: USB cameras send a damaged picture now and then.
	maxBadReads = 10
	// slowRead is a failed read after which another is pointless.
	slowRead = time.Second
)

// Devices are the cameras of this machine. mediadevices has one registry of
// them for the process, and a camera has one reader: Devices reads it once for
// all sources that want its pictures. There should be one per process.
type Devices struct {
	log *slog.Logger

	mu   sync.Mutex
	open map[string]*device // by name
}

// NewDevices returns the cameras of this machine. None is opened yet.
func NewDevices(log *slog.Logger) *Devices {
	return &Devices{log: log, open: map[string]*device{}}
}

// device is a camera that is open. Its goroutine lives as long as it has
// watchers and the camera delivers.
type device struct {
	name   string
	driver driver.Driver
	reader mediavideo.Reader
	mode   prop.Media

	stop  chan struct{} // closed when the last watcher has left
	ended chan struct{} // closed when the camera is closed again
	err   error         // why it failed, to be read once ended

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	stopping bool
}

// watcher is one source.
type watcher struct {
	sample *sampler
	next   chan *pipeline.Frame // holds the newest
}

// watch emits the camera's pictures until ctx ends or the camera fails.
func (d *Devices) watch(ctx context.Context, spec sourceuri.Spec, fps float64, emit func(*pipeline.Frame)) error {
	w := &watcher{sample: newSampler(fps, jittery), next: make(chan *pipeline.Frame, 1)}
	dev, err := d.join(spec, w)
	if err != nil {
		return err
	}
	defer d.leave(dev, w)
	for {
		select {
		case f := <-w.next:
			emit(f)
		case <-dev.ended:
			return dev.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// join opens the camera unless it is open.
func (d *Devices) join(spec sourceuri.Spec, w *watcher) (*device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	drv, name, err := find(spec)
	if err != nil {
		return nil, err
	}
	if dev, ok := d.open[name]; ok {
		return dev, dev.add(spec, w)
	}
	dev, err := openDevice(drv, name, spec)
	if err != nil {
		return nil, err
	}
	dev.watchers[w] = struct{}{}
	d.open[name] = dev
	go func() {
		dev.err = errors.Join(dev.read(), drv.Close())
		d.mu.Lock()
		delete(d.open, name)
		d.mu.Unlock()
		close(dev.ended)
	}()
	return dev, nil
}

// leave closes the camera after its last watcher. Like that of a stream, a
// read can't be interrupted, and is not waited for longer than endGrace.
func (d *Devices) leave(dev *device, w *watcher) {
	if !dev.remove(w) {
		return
	}
	grace := time.NewTimer(endGrace)
	defer grace.Stop()
	select {
	case <-dev.ended:
	case <-grace.C:
		d.log.Warn("the camera is silent; it is closed when its driver gives up", "camera", dev.name)
	}
}

// openDevice starts the camera in the mode that suits the source.
func openDevice(drv driver.Driver, name string, spec sourceuri.Spec) (*device, error) {
	if err := drv.Open(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	mode, err := chooseMode(drv.Properties(), spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), drv.Close())
	}
	recorder, ok := drv.(driver.VideoRecorder)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s records no video", name), drv.Close())
	}
	reader, err := recorder.VideoRecord(mode) // closes the driver when it fails
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &device{
		name: name, driver: drv, reader: reader, mode: mode, watchers: map[*watcher]struct{}{},
		stop: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// add lets w watch a camera that is open already.
func (dev *device) add(spec sourceuri.Spec, w *watcher) error {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.stopping {
		return fmt.Errorf("%s is being closed", dev.name)
	}
	if m := dev.mode; spec.Width != 0 && (m.Width != spec.Width || m.Height != spec.Height) {
		return fmt.Errorf("another source reads %s at %d×%d; ask for the same size, or for none", dev.name, m.Width, m.Height)
	}
	dev.watchers[w] = struct{}{}
	return nil
}

// remove reports whether w was the last to watch, and then stops the camera.
func (dev *device) remove(w *watcher) (last bool) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	delete(dev.watchers, w)
	if len(dev.watchers) > 0 || dev.stopping {
		return false
	}
	dev.stopping = true
	close(dev.stop)
	return true
}

// read hands out pictures until it is stopped or the camera fails.
func (dev *device) read() error {
	begin, bad := time.Now(), 0
	for {
		select {
		case <-dev.stop:
			return nil
		default:
		}
		asked := time.Now()
		img, release, err := dev.reader.Read()
		captured := time.Now()
		if err != nil {
			if bad++; bad < maxBadReads && captured.Sub(asked) < slowRead && !errors.Is(err, io.EOF) {
				continue
			}
			return fmt.Errorf("%s: %w: %w", dev.name, ErrLost, err)
		}
		bad = 0
		if wanted := dev.wanted(captured.Sub(begin)); len(wanted) > 0 {
			bgr := toBGR(img)
			for _, w := range wanted {
				w.offer(newFrame(bgr, captured))
			}
		}
		release()
	}
}

// wanted are the watchers that take the picture of this time.
func (dev *device) wanted(at time.Duration) []*watcher {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	var out []*watcher
	for w := range dev.watchers {
		if w.sample.take(at) {
			out = append(out, w)
		}
	}
	return out
}

// offer puts f in the place of one that was not taken yet.
func (w *watcher) offer(f *pipeline.Frame) {
	select {
	case <-w.next:
	default:
	}
	w.next <- f // the only sender: there is room
}
