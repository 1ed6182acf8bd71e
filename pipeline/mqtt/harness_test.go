package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/weft-mesh/weft/internal/pki"
	"github.com/weft-mesh/weft/internal/pki/pkitest"
	"github.com/weft-mesh/weft/pipeline"
	"github.com/weft-mesh/weft/pipeline/mqtt/broker"
)

const patience = 20 * time.Second

// eventually polls until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// run runs fn until the test ends, or until the function it returns is called,
// and waits for it.
func run(t *testing.T, fn func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// startBroker starts the embedded broker and returns its address.
func startBroker(t *testing.T, conf broker.Config) (b *broker.Broker, stop func()) {
	t.Helper()
	if conf.Listen == "" {
		conf.Listen = "127.0.0.1:0"
	}
	if conf.Plaintext = conf.TLS == nil; !conf.Plaintext {
		conf.Allow = Allowed
	}
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	b, err := broker.New(conf)
	if err != nil {
		t.Fatal(err)
	}
	return b, run(t, b.Run)
}

// startMosquitto starts Debian's broker with further settings and returns its
// address.
func startMosquitto(t *testing.T, settings ...string) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // which is on root's path only
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("no mosquitto here: apt-get install mosquitto (make test does)")
	}
	for range 5 { // another process may take the port first
		addr := freeAddr(t)
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "mosquitto.conf")
		conf := append([]string{"listener " + port + " 127.0.0.1", "allow_anonymous true", "persistence false"}, settings...)
		if os.Getuid() == 0 {
			conf = append(conf, "user root") // it would not be let into t.TempDir
		}
		if err := os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		cmd := exec.Command(path, "-c", file)
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait()
			close(exited)
		}()
		up := false
		eventually(t, "mosquitto to listen", func() bool {
			select {
			case <-exited:
				return true
			default:
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return false
			}
			up = true
			return c.Close() == nil
		})
		if up {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-exited
			})
			return addr
		}
		t.Logf("mosquitto at %s: %s", addr, said.String())
	}
	t.Fatal("mosquitto does not start")
	return ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startLink starts a link and waits until it is connected.
func startLink(t *testing.T, conf Config, recv pipeline.Receiver) (l *Link, stop func()) {
	t.Helper()
	conf.Plaintext = conf.TLS == nil
	if conf.Log == nil {
		conf.Log = slog.New(slog.DiscardHandler)
	}
	l, err := New(conf, recv)
	if err != nil {
		t.Fatal(err)
	}
	stop = run(t, l.Run)
	eventually(t, conf.Node+" to be connected", func() bool { return l.Stats().Connected })
	return l, stop
}

// client connects an independent paho client.
func client(t *testing.T, url string, conf *tls.Config) paho.Client {
	t.Helper()
	o := paho.NewClientOptions().AddBroker(url).SetTLSConfig(conf).SetAutoReconnect(false).SetClientID("test-" + t.Name())
	c := paho.NewClient(o)
	tok := c.Connect()
	tok.Wait()
	if err := tok.Error(); err != nil {
		t.Fatalf("connect to %s: %v", url, err)
	}
	t.Cleanup(func() { c.Disconnect(250) })
	return c
}

// done waits for a paho token.
func done(t *testing.T, tok paho.Token) {
	t.Helper()
	if !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("paho: %v", tok.Error())
	}
}

// proxy stands between a client and a broker and can be cut.
type proxy struct {
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	tcp   net.Listener
	addr  string
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{target: target, addr: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	p.heal(t)
	t.Cleanup(func() {
		p.cut()
		p.wg.Wait()
	})
	return p
}

// cut closes every connection and takes no more.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.tcp.Close()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

// heal takes connections again, at the same address.
func (p *proxy) heal(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.tcp, p.addr = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
}

func (p *proxy) accept(l net.Listener) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		if p.tcp != l { // cut and healed meanwhile
			p.mu.Unlock()
			_, _ = near.Close(), far.Close()
			return
		}
		p.conns[near], p.conns[far] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { pump(near, far) })
		p.wg.Go(func() { pump(far, near) })
	}
}

// pump copies until either side is closed, and closes both.
func pump(dst, src net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_, _ = dst.Close(), src.Close()
}

func identity(t *testing.T, ca *pki.CA, name string) *pki.Identity {
	t.Helper()
	return pkitest.Issue(t, ca, pki.Agent, name)
}

// newFrame makes a frame with a deadline of that time from now.
func newFrame(seq uint64, left time.Duration) *pipeline.Frame {
	now := time.Now()
	return &pipeline.Frame{
		ID:       pipeline.FrameID{Workflow: "people", Source: "gate", Epoch: 1, Seq: seq},
		Captured: now, Deadline: now.Add(left), Quality: 512, SourceWidth: 768, SourceHeight: 576,
		Image: pipeline.Image{Format: pipeline.JPEG, Width: 8, Height: 8, Data: []byte(fmt.Sprintf("picture %d", seq))},
	}
}

var ignore = pipeline.ReceiverFunc(func(_ string, f *pipeline.Frame) { f.Settle(pipeline.Outcome{}) })
