package cef

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
)

func alert(n int) string {
	return fmt.Sprintf("<36>1 2026-11-03T01:19:27Z DC1 CEF 6076 X - 0|Microsoft|Azure ATP|2.1|X|T|5|start=2026-11-03T01:19:02Z externalId=2003 "+
		"cs1Label=url cs1=https\\://security.microsoft.com/alerts/aaeb6a35da-ff7f-4ab5-a1b5-%012d", n)
}

func id(n int) string { return fmt.Sprintf("aaeb6a35da-ff7f-4ab5-a1b5-%012d", n) }

func counted(s string) string { return fmt.Sprintf("%d %s", len(s), s) }

func TestFraming(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxFrame+10)
	for name, c := range map[string]struct {
		in            string
		want, reasons []string
		broken        bool
	}{
		"lines":                {in: "<1>a\n<2>b\r\n\n<3>c", want: []string{"<1>a", "<2>b", "<3>c"}},
		"octets":               {in: counted("<1>a\nb") + counted("<2>c\n"), want: []string{"<1>a\nb", "<2>c"}},
		"both":                 {in: counted("<1>a") + "<2>b\n" + counted("<3>c"), want: []string{"<1>a", "<2>b", "<3>c"}},
		"a line of digits":     {in: "02-21-2018 x\n1 2018 y\n7", want: []string{"02-21-2018 x", "1 2018 y", "7"}},
		"NUL":                  {in: "<1>a\x00\n", want: []string{"<1>a"}},
		"too long a line":      {in: long + "\n<1>a\n", want: []string{"<1>a"}, reasons: []string{"longer than 65536 octets"}},
		"cut short":            {in: "20 <1>a", reasons: []string{"the connection ended 16 octets before its message"}},
		"a count beyond bound": {in: "9999999 <1>a\n", reasons: []string{"a message of 9999999 octets; 65536 is the most"}, broken: true},
	} {
		f := newFramer(strings.NewReader(c.in))
		var got, reasons []string
		var err error
		for err == nil {
			var fr frame
			fr, err = f.next()
			switch {
			case fr.reason != "":
				reasons = append(reasons, fr.reason)
			case len(fr.text) > 0:
				got = append(got, string(fr.text))
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(c.reasons, reasons); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if errors.Is(err, errFraming) != c.broken || !c.broken && !errors.Is(err, io.EOF) {
			t.Errorf("%s ends with %v", name, err)
		}
	}
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte("<1>a\n" + counted("<2>b\nc") + "12 x\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		fr := newFramer(bytes.NewReader(in))
		for n := 0; ; n++ {
			m, err := fr.next()
			if len(m.text) > maxFrame {
				t.Fatalf("a message of %d octets", len(m.text))
			}
			if err != nil {
				return
			}
			if n > len(in) {
				t.Fatal("it never ends")
			}
		}
	})
}

// A house keeps what a listener gives it.
type house struct {
	mu      sync.Mutex
	ids     []string
	rejects []string
	fail    int // how many takes fail first
}

func (h *house) take(_ context.Context, p connector.Page) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail > 0 {
		h.fail--
		return errors.New("the store is away")
	}
	for _, r := range p.Records {
		h.ids = append(h.ids, r.ExternalID)
	}
	for _, r := range p.Rejects {
		h.rejects = append(h.rejects, r.Reason)
	}
	return nil
}

func (h *house) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids) + len(h.rejects)
}

// opened runs a listener until the test ends.
func opened(t *testing.T, h *house, o Options) *Listener {
	t.Helper()
	o.Tenant, o.Name, o.Address = "t", "syslog.test", "127.0.0.1:0"
	o.Now, o.Log = time.Now, slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx, h.take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the listener ended with %v", err)
		}
	})
	return l
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func send(t *testing.T, c net.Conn, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
}

func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestEveryMessageArrives(t *testing.T) {
	t.Parallel()
	pair := certificate(t)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	for _, protocol := range []string{"tcp", "tls", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			h := &house{fail: 2} // the store is away at first: nothing is lost
			l := opened(t, h, Options{Protocol: protocol, TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
			var want []string
			for n := range 30 {
				want = append(want, id(n))
			}
			switch protocol {
			case "udp":
				c := dial(t, "udp", l.Addr())
				for n := range 30 {
					send(t, c, alert(n))
				}
			default:
				open := func() net.Conn {
					if protocol == "tcp" {
						return dial(t, "tcp", l.Addr())
					}
					c, err := tls.Dial("tcp", l.Addr(), &tls.Config{RootCAs: pool})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = c.Close() })
					return c
				}
				one, two := open(), open()
				for n := range 15 {
					send(t, one, alert(n)+"\n")
					send(t, two, counted(alert(15+n)))
				}
				if err := one.Close(); err != nil {
					t.Error(err)
				}
			}
			wait(t, "30 messages", func() bool { return h.count() >= 30 })
			h.mu.Lock()
			defer h.mu.Unlock()
			slices.Sort(h.ids)
			if d := cmp.Diff(want, h.ids); d != "" || len(h.rejects) > 0 {
				t.Errorf("%s\nrejects %q", d, h.rejects)
			}
		})
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, protocol := range []string{"tcp", "udp"} {
		h := &house{}
		l := opened(t, h, Options{Protocol: protocol, Allow: allow})
		c := dial(t, protocol, l.Addr())
		_, _ = io.WriteString(c, alert(1)+"\n") // the far side may have hung up already
		wait(t, "the refusal", func() bool { return l.Refused() > 0 })
		if h.count() > 0 {
			t.Errorf("%s: a stranger's message was taken", protocol)
		}
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	h := &house{}
	l := opened(t, h, Options{Protocol: "tcp"})
	for range maxConnections + 5 {
		dial(t, "tcp", l.Addr())
	}
	wait(t, "five refusals", func() bool { return l.Refused() == 5 })
}

func TestWhatIsNoMessageIsRejected(t *testing.T) {
	t.Parallel()
	h := &house{}
	l := opened(t, h, Options{Protocol: "tcp"})
	c := dial(t, "tcp", l.Addr())
	send(t, c, "hello\n", strings.Repeat("x", maxFrame+1)+"\n", alert(1)+"\n", "9999999 <1>x")
	wait(t, "three rejects and a message", func() bool { return h.count() >= 4 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ids) != 1 || len(h.rejects) != 3 {
		t.Errorf("messages %q, rejects %q", h.ids, h.rejects)
	}
}
