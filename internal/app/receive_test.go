package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/record"
)

const hubConnection = "Endpoint=sb://127.0.0.1/;SharedAccessKeyName=listen;SharedAccessKey=c2VjcmV0LWtleQ=="

// A running process takes what an event hub and a sensor send, and knows that it heard
// them.
func TestRunningProcessReceives(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "hub"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "$ConnectionString", hubConnection),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := house{t: t, folder: t.TempDir()}
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	h.write("audit.key", private)
	h.write("hub", hubConnection)
	h.write("ca.pem", ca)
	h.write("books/stop.yaml", book)
	h.write("cordon.yaml", fmt.Sprintf(`store: sqlite:cordon.db
listen: 127.0.0.1:0
playbooks: [books]
audit: {key: file:audit.key}
tenants:
  - tenant_id: %s
    client_id: 22222222-2222-4222-8222-222222222222
    graph_url: https://127.0.0.1:1
    login_url: https://127.0.0.1:1
    credential: {secret: file:hub}
    connectors: {risk_detections: -1s, workload_detections: -1s, risky_users: -1s, alerts: -1s, directory: -1s, registration: -1s, open_cases: -1s}
    event_hubs: [{connection_string: "file:hub", hubs: [hub], brokers: [%q], ca_file: ca.pem}]
    syslog: [{listen: "127.0.0.1:0", name: sensors}]
`, channelTenant, cluster.ListenAddrs()[0]))
	c, err := config.Load(filepath.Join(h.folder, "cordon.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler), Lease: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the process ended with %v", err)
		}
	})

	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("hub"),
		kgo.DialTLSConfig(&tls.Config{RootCAs: pool(t, ca)}), kgo.SASL(plain.Auth{User: "$ConnectionString", Pass: hubConnection}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	one := objects(1)[0]
	message := fmt.Sprintf(`{"records":[{"time":"8/22/2022 6:07:16 PM","tenantId":%q,"category":%q,"properties":%s}]}`, channelTenant, one.category, one.json)
	if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(message)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	sensor, err := net.Dial("tcp", a.SyslogAddrs()["syslog.sensors"])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sensor.Close() }()
	if _, err := fmt.Fprintln(sensor, alertBySyslog); err != nil {
		t.Fatal(err)
	}

	await(t, "the signal from the hub", func() bool {
		_, text := canonical(t, a)
		return strings.Contains(text, `"externalId":"d0000"`)
	})
	await(t, "the line of the sensor", func() bool {
		p, err := a.Store().Records().Records(t.Context(), record.Query{Tenant: channelTenant, Sources: []record.Source{record.AlertNotice}})
		return err == nil && len(p.Records) == 1
	})
	await(t, "both feeds", func() bool {
		list, err := a.Store().Desk().Feeds(t.Context(), channelTenant)
		heard := map[connector.Name]bool{}
		for _, f := range list {
			heard[f.Stream] = !f.Success.IsZero() && f.Interval > 0
		}
		return err == nil && heard["eventhub.hub"] && heard["syslog.sensors"]
	})
}

func pool(t *testing.T, text string) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM([]byte(text)) {
		t.Fatal("no certificate")
	}
	return p
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}
