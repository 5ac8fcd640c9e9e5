package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/kafka"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

const tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"

const (
	hub        = "insights-logs-userriskevents"
	connection = "Endpoint=sb://127.0.0.1/;SharedAccessKeyName=listen;SharedAccessKey=c2VjcmV0LWtleQ=="
)

// A namespace is a server of the Kafka protocol that asks for TLS and the connection
// string, as the service does.
type namespace struct {
	brokers []string
	ca      string // file
	pool    *x509.CertPool
}

func newNamespace(t *testing.T) namespace {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, hub), kfake.EnableSASL(), kfake.Superuser("PLAIN", "$ConnectionString", connection),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	n := namespace{brokers: cluster.ListenAddrs(), ca: filepath.Join(t.TempDir(), "ca.pem"), pool: x509.NewCertPool()}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(n.ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	n.pool.AppendCertsFromPEM(text)
	return n
}

// send puts messages into the hub, over its partitions.
func (n namespace) send(t *testing.T, messages ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.brokers...), kgo.DialTLSConfig(&tls.Config{RootCAs: n.pool}), kgo.DefaultProduceTopic(hub),
		kgo.SASL(plain.Auth{User: "$ConnectionString", Pass: connection}.AsMechanism()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, m := range messages {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(m)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (n namespace) config(t *testing.T, connection string) kafka.Config {
	t.Helper()
	f := filepath.Join(t.TempDir(), "connection")
	if err := os.WriteFile(f, []byte(connection), 0o600); err != nil {
		t.Fatal(err)
	}
	c := kafka.Config{ConnectionString: secret.Ref("file:" + f), Hubs: []string{hub}, Brokers: n.brokers, CAFile: n.ca}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

func event(n int) string {
	return fmt.Sprintf(`{"records":[{"time":"8/22/2022 6:07:16 PM","tenantId":%q,"category":"UserRiskEvents","properties":{"id":"d%04d","riskEventType":"passwordSpray","riskState":"atRisk",`+
		`"riskLevel":"high","userId":"aaaaaaaa-0000-4000-8000-000000000001","lastUpdatedDateTime":"2026-11-03T9:02:03.5Z"}}]}`, tenant, n)
}

// A house keeps what receivers give it, and may be away.
type house struct {
	mu      sync.Mutex
	got     map[string]int // how often each signal came
	rejects int
	away    int // how many pages it does not take first
	heard   int
	failed  []error
}

func (h *house) take(_ context.Context, p connector.Page) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away > 0 {
		h.away--
		return errors.New("the store is away")
	}
	for _, s := range p.Signals {
		h.got[s.ExternalID]++
	}
	h.rejects += len(p.Rejects)
	return nil
}

func (h *house) see(what func() bool) func() bool {
	return func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return what()
	}
}

func newHouse() *house { return &house{got: map[string]int{}} }

// run starts a receiver and returns what stops it and waits for it.
func run(t *testing.T, c kafka.Config, h *house) (stop func()) {
	t.Helper()
	r := kafka.NewReceiver(c, kafka.Options{
		Tenant: tenant, Take: h.take, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Heard:  func() { h.mu.Lock(); h.heard++; h.mu.Unlock() },
		Failed: func(err error) { h.mu.Lock(); h.failed = append(h.failed, err); h.mu.Unlock() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// What is sent is stored at least once: over a store that is away, a receiver that
// stops and another that takes over. What was stored and committed does not come
// again.
func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	h := newHouse()
	h.away = 2
	stop := run(t, n.config(t, connection), h)
	var first []string
	for k := range 20 {
		first = append(first, event(k))
	}
	n.send(t, append(first, "this is no message")...)
	wait(t, "20 signals", h.see(func() bool { return len(h.got) == 20 && h.rejects >= 1 }))
	if ok := h.see(func() bool { return len(h.failed) >= 2 && h.heard > 0 }); !ok() {
		t.Errorf("%d failures and %d signs of life were told", len(h.failed), h.heard)
	}
	stop()
	for k := 20; k < 30; k++ {
		n.send(t, event(k))
	}
	next := newHouse()
	run(t, n.config(t, connection), next)
	wait(t, "10 more", next.see(func() bool { return len(next.got) >= 10 }))
	next.mu.Lock()
	defer next.mu.Unlock()
	for k := 20; k < 30; k++ {
		if next.got[fmt.Sprintf("d%04d", k)] == 0 {
			t.Errorf("signal %d was lost between two receivers", k)
		}
	}
	if next.got["d0000"] > 0 {
		t.Error("what was stored and committed came again")
	}
}

// A page that was not stored when the receiver died comes again.
func TestNotStoredIsNotCommitted(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	h := newHouse()
	h.away = 1 << 30
	stop := run(t, n.config(t, connection), h)
	n.send(t, event(1), event(2))
	wait(t, "an attempt", h.see(func() bool { return len(h.failed) > 0 }))
	stop()
	next := newHouse()
	run(t, n.config(t, connection), next)
	wait(t, "both", next.see(func() bool { return len(next.got) == 2 }))
}

// A wrong connection string is told, without the key, and a rotated one is taken.
func TestWrongKeyIsToldAndRotated(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	c := n.config(t, strings.Replace(connection, "c2VjcmV0LWtleQ==", "b2xkLWtleQ==", 1))
	h := newHouse()
	run(t, c, h)
	n.send(t, event(1))
	wait(t, "a failure", h.see(func() bool { return len(h.failed) > 0 }))
	h.mu.Lock()
	if err := h.failed[0]; !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "b2xk") || !strings.Contains(err.Error(), "connection string") {
		t.Errorf("told %v", err)
	}
	if h.heard > 0 {
		t.Error("it was heard")
	}
	h.mu.Unlock()
	if err := os.WriteFile(strings.TrimPrefix(string(c.ConnectionString), "file:"), []byte(connection), 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "the message after the rotation", h.see(func() bool { return len(h.got) == 1 && h.heard > 0 }))
}

// A hub that is not there is told by its name, and not waited for in silence.
func TestMissingHubIsTold(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	c := n.config(t, connection)
	if err := c.Reach(t.Context()); err != nil {
		t.Errorf("a namespace that is there: %v", err)
	}
	c.Hubs = append(c.Hubs, "insights-logs-typo")
	if err := c.Reach(t.Context()); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "insights-logs-typo") {
		t.Errorf("a hub that is not there: %v", err)
	}
	h := newHouse()
	run(t, c, h)
	wait(t, "the failure", h.see(func() bool { return len(h.failed) > 0 }))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heard > 0 || !strings.Contains(h.failed[0].Error(), "insights-logs-typo") {
		t.Errorf("heard %d times, told %v", h.heard, h.failed[0])
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := kafka.Config{ConnectionString: "Endpoint=sb://x;SharedAccessKey=abc", Brokers: []string{"x"}, Expect: -1}.Check()
	if !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "abc") {
		t.Errorf("%v", err)
	}
	for _, key := range []string{"connection_string: ", "hubs: ", "brokers: ", "expect: "} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("no word of %s in %v", key, err)
		}
	}
	if got := (kafka.Config{Hubs: []string{"Insights-Logs-AuditLogs"}}).Feed(); got != "eventhub.insights-logs-auditlogs" {
		t.Errorf("feed %s", got)
	}
}
