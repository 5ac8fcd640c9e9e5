package activedirectory_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/lab/addc"
)

var rateAccounts = flag.Int("accounts", 1000, "how many accounts a side of the benchmark changes")

const (
	rateRounds = 4 // the sides take turns, so that neither has the controller at its best
	rateConns  = 8
	// patience is for a busy machine: an unknown outcome would be somebody else's.
	patience = 40 * time.Second
)

// BenchmarkDirectory disables 1,000 accounts and resets their passwords twice through
// dispatch, with everything that it does besides (looks, gate, intents, outcomes,
// audit, read-backs; SQLite on disk), beside a bare loop of the same three
// modifications over the same number of connections to the same controller. It takes
// a domain of its own and some minutes:
//
//	go test ./internal/action/activedirectory -run '^$' -bench Directory -benchtime 1x
func BenchmarkDirectory(b *testing.B) {
	d := addc.Start(b, addc.Options{People: 2 * *rateAccounts})
	x := newRace(b, d)
	var bare, sent, proven time.Duration
	var use usage
	if b.N != 1 {
		b.Fatal("the accounts are there once: run it with -benchtime 1x")
	}
	for range rateRounds {
		n := *rateAccounts / rateRounds
		bare += x.bare(b, x.take(b, n))
		before := x.usage(b)
		s, p := x.dispatched(b, x.take(b, n))
		sent, proven, use = sent+s, proven+p, use.plus(x.usage(b).minus(before))
	}
	writes := 3 * (*rateAccounts / rateRounds * rateRounds)
	per := func(d time.Duration) float64 { return float64(writes) / d.Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(per(bare), "bare-writes/s")
	b.ReportMetric(per(sent), "sent-writes/s")
	b.ReportMetric(per(proven), "proven-writes/s")
	b.ReportMetric(per(sent)/per(bare), "ratio-sent")
	b.ReportMetric(per(proven)/per(bare), "ratio-proven")
	b.Logf("%d accounts, %d modifications a side over %d connections: bare %v, through dispatch %v until the last was accepted and %v until the last was verified",
		writes/3, writes, rateConns, bare.Round(time.Millisecond), sent.Round(time.Millisecond), proven.Round(time.Millisecond))
	b.Logf("what bounds it: while dispatch worked the controller used %.1f s and this process %.1f s of a processor in %.1f s", use.controller, use.own, proven.Seconds())
	if per(proven) < 0.8*per(bare) {
		b.Errorf("through dispatch %.2f of the bare rate; want 0.8", per(proven)/per(bare))
	}
}

// A race is one domain and both sides.
type race struct {
	*addc.Domain
	client *directory.Client
	desk   *desk
	sent   *counter
	next   int
	conns  []*ldap.Conn
}

func newRace(b *testing.B, d *addc.Domain) *race {
	b.Helper()
	x := &race{Domain: d, sent: &counter{}}
	dir := b.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(d.Containment.Password), 0o600); err != nil {
		b.Fatal(err)
	}
	wire := &addc.Wire{Domain: d}
	var err error
	if x.client, err = directory.New(directory.Config{Domain: d.Name, DCs: []string{d.Controllers[0].Host}, CAFile: d.CAFile,
		Bind: directory.Bind{UPN: d.Containment.UPN, Password: secret.Ref("file:" + file)}}, directory.Options{Dial: wire.Dial, Pool: rateConns, Timeout: patience}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { x.client.Close() })
	x.desk = onDisk(b, filepath.Join(dir, "cordon.db"), activedirectory.Types(x.client, nil), x.sent, rateConns)
	pem, err := os.ReadFile(d.CAFile)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for range rateConns {
		raw, err := wire.Dial(b.Context(), "tcp", net.JoinHostPort(d.Controllers[0].Host, "636"))
		if err != nil {
			b.Fatal(err)
		}
		l := ldap.NewConn(tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: d.Controllers[0].Host}), true)
		l.Start()
		if err := l.Bind(d.Containment.UPN, d.Containment.Password); err != nil {
			b.Fatal(err)
		}
		x.conns = append(x.conns, l)
		b.Cleanup(func() { l.Close() })
	}
	return x
}

func (x *race) take(b *testing.B, n int) []addc.Account {
	b.Helper()
	if x.next+n > len(x.People) {
		b.Fatalf("the domain has only %d accounts", len(x.People))
	}
	x.next += n
	return x.People[x.next-n : x.next]
}

// bare makes the three modifications of each account and nothing else.
func (x *race) bare(b *testing.B, list []addc.Account) time.Duration {
	b.Helper()
	todo := make(chan addc.Account, len(list))
	for _, a := range list {
		todo <- a
	}
	close(todo)
	began := time.Now()
	var all sync.WaitGroup
	for _, l := range x.conns {
		all.Go(func() {
			for a := range todo {
				disable := ldap.NewModifyRequest("<GUID="+a.GUID+">", nil)
				disable.Delete("userAccountControl", []string{"512"})
				disable.Add("userAccountControl", []string{"514"})
				first := ldap.NewModifyRequest("<GUID="+a.GUID+">", nil)
				first.Replace("unicodePwd", []string{directory.Password([]byte("Aa1!" + rand.Text()))})
				first.Replace("pwdLastSet", []string{"0"})
				second := ldap.NewModifyRequest("<GUID="+a.GUID+">", nil)
				second.Replace("unicodePwd", []string{directory.Password([]byte("Aa1!" + rand.Text()))})
				for _, m := range []*ldap.ModifyRequest{disable, first, second} {
					if err := l.Modify(m); err != nil {
						b.Errorf("%s: %v", a.SAM, err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// dispatched has dispatch do the same, and returns how long it took until the last
// change was accepted and until the last was verified.
func (x *race) dispatched(b *testing.B, list []addc.Account) (sent, proven time.Duration) {
	b.Helper()
	x.desk.halt(true) // the clock starts with all of them there
	for _, a := range list {
		x.desk.ask(a, activedirectory.Disable, activedirectory.ResetPassword)
	}
	x.sent.begin(2 * len(list))
	x.desk.halt(false)
	began := time.Now()
	x.desk.d.Nudge()
	select {
	case <-x.sent.done:
	case <-time.After(5 * time.Minute):
		b.Fatalf("only %d of %d actions were proven", x.sent.verified, 2*len(list))
	}
	return x.sent.accepted.Sub(began), x.sent.proven.Sub(began)
}

// usage is time on a processor, in seconds.
type usage struct{ controller, own float64 }

func (u usage) plus(o usage) usage  { return usage{u.controller + o.controller, u.own + o.own} }
func (u usage) minus(o usage) usage { return usage{u.controller - o.controller, u.own - o.own} }

// usage reads what the controller's living processes and this one have used.
func (x *race) usage(b *testing.B) usage {
	b.Helper()
	text, err := x.Script(context.Background(), x.Controllers[0], "cat /proc/[0-9]*/stat 2>/dev/null")
	if err != nil && text == "" {
		b.Fatal(err)
	}
	var u usage
	for line := range strings.Lines(text) {
		_, rest, ok := strings.Cut(line, ") ")
		if f := strings.Fields(rest); ok && len(f) > 14 { // utime, stime and those of children that ended (proc(5))
			for _, v := range f[11:15] {
				var ticks float64
				if _, err := fmt.Sscan(v, &ticks); err == nil {
					u.controller += ticks / 100
				}
			}
		}
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	u.own = time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()
	return u
}
