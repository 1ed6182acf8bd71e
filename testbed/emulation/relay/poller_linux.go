package relay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for devices to have packets, or to be woken.
type poller struct {
	epoll  int
	wakeup int // an eventfd
	events []unix.EpollEvent
}

// woken is the poller's token for the eventfd.
const woken = -1

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	wakeup, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	p := &poller{epoll: epoll, wakeup: wakeup}
	if err := p.add(wakeup, woken); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// add watches a file descriptor; ready returns the token when it has something
// to read.
func (p *poller) add(fd, token int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(token)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("watch file descriptor %d: %w", fd, err)
	}
	p.events = append(p.events, unix.EpollEvent{})
	return nil
}

// forever is longer than any wait.
const forever = time.Duration(math.MaxInt64)

// sleep blocks until something can be read, it is woken, or the time is over.
//
// ppoll on the epoll descriptor has the nanoseconds that epoll_wait lacks and
// is in kernels older than epoll_pwait2.
func (p *poller) sleep(timeout time.Duration) error {
	if timeout <= briefly {
		await(p.epoll, timeout)
		return nil
	}
	fds := [1]unix.PollFd{{Fd: int32(p.epoll), Events: unix.POLLIN}}
	var ts *unix.Timespec
	if timeout < forever {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	if _, err := unix.Ppoll(fds[:], ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets: %w", err)
	}
	return nil
}

// ready returns the tokens of what can be read, until the next call.
func (p *poller) ready() ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.epoll, p.events, 0)
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wait for packets: %w", err)
	}
	return p.events[:n], nil
}

// wake makes sleep return, now or when it is called next.
func (p *poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.wakeup, one[:]) // fails only where it is awake anyway
}

// awake ends the effect of wake.
func (p *poller) awake() {
	var b [8]byte
	_, _ = unix.Read(p.wakeup, b[:])
}

func (p *poller) close() error {
	return errors.Join(unix.Close(p.epoll), unix.Close(p.wakeup))
}
