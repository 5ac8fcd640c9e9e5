package egress

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// inside holds the path of the binary in the process that runs in the namespace.
const inside = "CORDON_EGRESS_BINARY"

func TestEgress(t *testing.T) {
	t.Parallel()
	if binary := os.Getenv(inside); binary != "" {
		watch(t, binary)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root: run as root, or in a container where you are root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the command ip is missing: apt-get install iproute2")
	}
	built := filepath.Join(t.TempDir(), "cordon")
	if out, err := exec.Command("go", "build", "-o", built, "../../cmd/cordon").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestEgress$", "-test.v")
	c.Env = append(os.Environ(), inside+"="+built)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "operation not permitted") {
		t.Skipf("this root may not make network namespaces (%v): give the container CAP_SYS_ADMIN", err)
	}
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestEgress")) {
		t.Fatalf("in the namespace: %v", err)
	}
}

// watch runs Cordon on a simulated tenant in a namespace where everything but
// loopback goes into a device that swallows it, and looks at what was sent.
func watch(t *testing.T, binary string) {
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		// One end of a cable whose other end nobody listens at. Without ARP the
		// kernel sends at once instead of asking who is there.
		{"link", "add", "nowhere", "arp", "off", "type", "veth", "peer", "name", "swallow"},
		{"addr", "add", "198.51.100.2/24", "dev", "nowhere"},
		{"link", "set", "swallow", "up"},
		{"link", "set", "nowhere", "up"},
		{"route", "add", "default", "dev", "nowhere"},
		{"-6", "route", "add", "default", "dev", "nowhere"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			if args[0] == "-6" {
				t.Logf("without IPv6: %s", out) // the machine has none, so nothing can leave that way
				continue
			}
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rec := record(t)

	// The recorder must see what leaves, or it proves nothing.
	probes := []string{"tcp 203.0.113.7:443", "udp 203.0.113.53:53"}
	for _, p := range probes {
		network, address, _ := strings.Cut(p, " ")
		if c, err := net.DialTimeout(network, address, 200*time.Millisecond); err == nil {
			_, _ = c.Write([]byte("x")) // UDP is sent only now
			c.Close()
		}
	}
	for _, p := range probes {
		rec.wait(t, p)
	}
	rec.forget()

	graph, address := run(t, binary)
	got := rec.seen()
	if len(got) == 0 || !slices.Contains(got, "tcp "+graph) {
		t.Fatalf("nothing was recorded on the way to the tenant: %v", got)
	}
	for _, to := range got {
		// The other one is ours: the commands that look at the service.
		if to != "tcp "+graph && to != "tcp "+address {
			t.Errorf("something else was contacted: %s", to)
		}
	}
	t.Logf("contacted: %s", strings.Join(got, ", "))
}

// run plays a story until somebody is contained and returns the tenant's address
// and Cordon's.
func run(t *testing.T, binary string) (graph, address string) {
	dir := t.TempDir()
	graph, address = free(t), free(t)
	cordon := func(ctx context.Context, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, binary, args...)
		c.Dir = dir
		return c
	}
	var facts bytes.Buffer
	lab := cordon(t.Context(), "lab", "graph", "--listen", graph, "--ca-out", "ca.pem", "--users", "200", "--scenario", "leaked-credentials", "--json")
	lab.Stdout = &lockedWriter{w: &facts}
	start(t, lab)
	var tenant struct {
		TenantID string `json:"tenant_id"`
		ClientID string `json:"client_id"`
		Secret   string `json:"client_secret"`
	}
	until(t, "the tenant is up", func() bool { return json.Unmarshal(lab.Stdout.(*lockedWriter).bytes(), &tenant) == nil })
	if out, err := cordon(t.Context(), "audit", "keygen", "--out", "audit.key").CombinedOutput(); err != nil {
		t.Fatalf("keygen: %v\n%s", err, out)
	}
	token := strings.Repeat("0123456789abcdef", 3)
	for name, text := range map[string]string{"client.secret": tenant.Secret, "owner.token": token, "cordon.yaml": fmt.Sprintf(`store: sqlite:cordon.db
listen: %s
audit: {key: file:audit.key, checkpoint_file: checkpoint}
operators:
  - {id: owner, roles: [owner], groups: [identity-response], token: file:owner.token}
tenants:
  - tenant_id: %s
    client_id: %s
    graph_url: https://%s
    login_url: https://%s
    ca_file: ca.pem
    credential: {secret: file:client.secret}
    mode: act
    connectors: {risk_detections: 1s, alerts: 1s, risky_users: 3s, directory: 2s}
`, address, tenant.TenantID, tenant.ClientID, graph, graph)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := cordon(t.Context(), "doctor", "--config", "cordon.yaml").CombinedOutput(); err != nil {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	serve := cordon(t.Context(), "serve", "--config", "cordon.yaml")
	start(t, serve)
	until(t, "somebody is contained", func() bool {
		out, _ := cordon(t.Context(), "runs", "list", "--server", "http://"+address, "--token-file", "owner.token").Output() // it may not be up yet
		return bytes.Contains(out, []byte(" contained "))
	})
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	return graph, address
}

func start(t *testing.T, c *exec.Cmd) {
	t.Helper()
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()
	})
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 90 s: %s", what)
		case <-tick.C:
		}
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (l *lockedWriter) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.w.Bytes())
}

// A recorder keeps where packets were sent to, on all devices of the namespace.
type recorder struct {
	mu sync.Mutex
	to map[string]bool
}

func record(t *testing.T) *recorder {
	t.Helper()
	// AF_PACKET takes the protocol in network byte order.
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, int(htons(syscall.ETH_P_ALL)))
	if err != nil {
		t.Fatalf("record packets: %v", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 64<<20); err != nil {
		t.Fatalf("record packets: %v", err)
	}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 200_000}); err != nil {
		t.Fatalf("record packets: %v", err)
	}
	r := &recorder{to: map[string]bool{}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		packet := make([]byte, 65536)
		for {
			n, _, err := syscall.Recvfrom(fd, packet, 0)
			if err == nil {
				r.note(packet[:n])
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		_ = syscall.Close(fd)
	})
	return r
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// note keeps the destination of a TCP connection's first packet and of anything
// that is not TCP. What an IPv6 device says by itself (ICMPv6 to neighbours) is
// left out.
func (r *recorder) note(p []byte) {
	if len(p) < 20 {
		return
	}
	var to netip.Addr
	var proto byte
	var rest []byte
	switch p[0] >> 4 {
	case 4:
		header := int(p[0]&15) * 4
		if len(p) < header {
			return
		}
		to, proto, rest = netip.AddrFrom4([4]byte(p[16:20])), p[9], p[header:]
	case 6:
		if len(p) < 40 {
			return
		}
		to, proto, rest = netip.AddrFrom16([16]byte(p[24:40])), p[6], p[40:]
	default:
		return
	}
	var text string
	switch {
	case proto == syscall.IPPROTO_TCP && len(rest) >= 14:
		if rest[13]&0x12 != 0x02 { // SYN without ACK opens a connection
			return
		}
		text = fmt.Sprintf("tcp %s", netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:4])))
	case proto == syscall.IPPROTO_UDP && len(rest) >= 8:
		text = fmt.Sprintf("udp %s", netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2:4])))
	case to.Is6(): // neighbour discovery and multicast membership of the device
		return
	default:
		text = fmt.Sprintf("protocol %d %s", proto, to)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to[text] = true
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for to := range r.to {
		out = append(out, to)
	}
	slices.Sort(out)
	return out
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.to)
}

func (r *recorder) wait(t *testing.T, to string) {
	t.Helper()
	until(t, "the recorder sees "+to, func() bool { return slices.Contains(r.seen(), to) })
}
