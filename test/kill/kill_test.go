// Package kill ends cordon serve with SIGKILL at random moments, again and again,
// while a simulated tenant breaks one request in ten, and then compares what
// Cordon says happened with what the tenant saw. Whatever the moment: everybody
// who should be contained is, or waits for a person who is told why; nobody gets a
// second password; nothing is done unrecorded; the trail verifies; and no password is
// left behind in the store, the logs or the dumps of those that crashed.
//
//	go test ./test/kill -kills 200 -seed 7 -store sqlite
package kill

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"fmt"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/store/pgtest"
	"github.com/seed-f47efad2/cordon/lab/world"
)

var (
	kills  = flag.Int("kills", 20, "how often the server is killed, on each store")
	seed   = flag.Uint64("seed", 1, "seed of the tenant, the faults and the moments")
	stores = flag.String("store", "both", "sqlite, postgres or both")
	binary = flag.String("bin", "", "kill this binary; empty builds one")
	keep   = flag.String("keep", "", "keep the files of the run in this folder")
)

const (
	speed    = 20 // the tenant's limits and delays run this much faster
	lease    = time.Second
	perLife  = 5 // people to whom something happens in each life of the server
	shortest = 50 * time.Millisecond
	longest  = 3 * time.Second
	stormy   = 5 * time.Second // how long after the last kill the tenant still breaks requests
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(pgtest.Run(m))
}

func TestKill(t *testing.T) {
	bin := *binary
	if bin == "" {
		bin = build(t)
	}
	for _, name := range []string{"sqlite", "postgres"} {
		if *stores != "both" && *stores != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := "sqlite:cordon.db"
			if name == "postgres" {
				url = pgtest.New(t)
			}
			newScene(t, bin, name, url).play(t)
		})
	}
}

// A scene is one run of the test on one store.
type scene struct {
	name, bin, dir, config, log string
	store                       string
	addr, token                 string
	lab                         *lab
	cast                        *cast
	rng                         *randv2.Rand
	http                        *http.Client
	people                      []person
	kept                        [][]byte // checkpoints kept on the way
	lives                       int
	began                       time.Time

	mu     sync.Mutex
	kindOf map[string]kind // by object id; for the goroutine that answers approvals
}

func newScene(t *testing.T, bin, name, store string) *scene {
	t.Helper()
	dir := t.TempDir()
	if *keep != "" {
		dir = filepath.Join(*keep, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := &scene{
		name: name, bin: bin, dir: dir, config: filepath.Join(dir, "cordon.yaml"), log: filepath.Join(dir, "serve.log"),
		addr: freePort(t), http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		kindOf: map[string]kind{}, rng: randv2.New(randv2.NewPCG(*seed, uint64(len(name)))),
	}
	users := 600 + 4*perLife**kills // enough people of each kind
	s.lab = startLab(t, bin, dir, *seed, users)
	s.cast = pickCast(t, s.lab, *seed, users, s.rng)
	t.Logf("seed %d, %d kills on %s, a tenant of %d people: %d cloud, %d synced, %d administrators", *seed, *kills, name, users, len(s.cast.cloud), len(s.cast.synced), len(s.cast.admins))
	s.configure(t, store)
	s.store = store
	return s
}

func (s *scene) configure(t *testing.T, store string) {
	t.Helper()
	if _, err := run(t, s.bin, "audit", "keygen", "--out", filepath.Join(s.dir, "audit.key")); err != nil {
		t.Fatal(err)
	}
	playbooks, err := filepath.Abs("playbooks")
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		t.Fatal(err)
	}
	s.token = hex.EncodeToString(secret)
	var b strings.Builder
	fmt.Fprintf(&b, "store: %s\nlisten: %s\nlog:\n  level: info\naudit:\n  key: file:audit.key\n  checkpoint_file: checkpoint\nplaybooks: [%q]\n", store, s.addr, playbooks)
	b.WriteString("operators:\n  - id: responder\n    name: Responder\n    roles: [owner]\n    groups: [responders]\n    token: file:token\n")
	fmt.Fprintf(&b, "tenants:\n  - name: lab\n    tenant_id: %s\n    client_id: %s\n    graph_url: %s\n    login_url: %s\n    ca_file: %s\n    credential:\n      secret: file:secret\n    mode: act\n",
		s.lab.TenantID, s.lab.ClientID, s.lab.URL, s.lab.URL, s.lab.CAFile)
	b.WriteString("    connectors:\n      risk_detections: 1s\n      risky_users: 1s\n      alerts: 1s\n      directory: 20s\n      registration: 10m\n      open_cases: 2s\n")
	b.WriteString("    limits:\n      accounts_per_hour: 100000\n      accounts_per_minute: 100000\n      playbook_accounts_per_hour: 100000\n      global_accounts_per_hour: 100000\n    protected:\n")
	for _, id := range s.cast.protected {
		fmt.Fprintf(&b, "      - id: %s\n        reason: listed by the operator\n", id)
	}
	for name, text := range map[string]string{"cordon.yaml": b.String(), "token": s.token, "secret": s.lab.Secret} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run(t, s.bin, "check", "--config", s.config); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) play(t *testing.T) {
	defer func() {
		if t.Failed() {
			t.Logf("to repeat: go test ./test/kill -run 'TestKill/%s' -kills %d -seed %d -store %s", s.name, *kills, *seed, s.name)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan int)
	go func() { answered <- s.answer(ctx) }()
	s.began = time.Now()
	for n := range *kills {
		s.life(t, n)
	}
	t.Logf("%d kills in %v; %d things happened", *kills, time.Since(s.began).Round(time.Second), len(s.people))
	last := s.start(t)
	end := s.settle(t, last)
	cancel()
	t.Logf("everything settled %v after the start; %d approvals given", time.Since(s.began).Round(time.Second), <-answered)
	if err := last.stop(); err != nil {
		t.Errorf("the last server does not stop cleanly: %v\n%s", err, s.tail())
	}
	s.judge(t, end)
}

// life lets the server live for a while, makes something happen meanwhile, and
// kills it.
func (s *scene) life(t *testing.T, n int) {
	t.Helper()
	span := shortest + time.Duration(s.rng.Int64N(int64(longest-shortest)))
	before := time.Duration(s.rng.Int64N(int64(span)))
	wave := s.cast.wave(t, perLife)
	p := s.start(t)
	if s.rest(t, p, before) {
		s.happen(t, wave)
		s.rest(t, p, span-before)
	}
	if n%5 == 2 {
		p.crash()
	} else {
		p.kill()
	}
	if n%5 == 4 {
		if b, err := os.ReadFile(filepath.Join(s.dir, "checkpoint")); err == nil {
			s.kept = append(s.kept, b)
		}
	}
}

// rest waits; a server that ends by itself is a failure.
func (s *scene) rest(t *testing.T, p *server, d time.Duration) bool {
	t.Helper()
	select {
	case <-p.done:
		t.Fatalf("life %d ended by itself: %v\n%s", s.lives-1, p.err, s.tail())
	case <-time.After(d):
	}
	return true
}

func (s *scene) happen(t *testing.T, wave []person) {
	t.Helper()
	s.people = append(s.people, wave...)
	var events []world.Event
	s.mu.Lock()
	for _, p := range wave {
		s.kindOf[p.id] = p.kind
		events = append(events, p.kind.event(p.id))
	}
	s.mu.Unlock()
	s.lab.happen(t, events)
}
