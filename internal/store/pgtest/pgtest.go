// Package pgtest gives tests a real PostgreSQL. The server is the one that
// CORDON_TEST_POSTGRES names (a postgres:// URL whose user may create databases)
// or a scratch one started from Debian's binaries, once for each test binary,
// without fsync. Each call of New makes a database of its own.
//
// Without either, tests are skipped with a message; with CI=true that is a
// failure. CORDON_TEST_POSTGRES=skip skips on purpose.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A server is what New makes databases on.
type server struct {
	base   *url.URL // of a database that exists
	err    error    // why there is none
	absent bool     // err says that no PostgreSQL is installed
	stop   func()   // of a scratch server; nil for one that is not ours
	count  atomic.Int64

	mu       sync.Mutex
	template string // the database that Prepared copies; empty: none yet
}

// shared is the one server of this test binary.
var shared = sync.OnceValue(start)

// started says that shared was called, so that Run knows whether to stop it.
var started atomic.Bool

// Run runs the package's tests and stops the scratch server, if one was started.
// Use it in TestMain: os.Exit(pgtest.Run(m)).
func Run(m *testing.M) int {
	code := m.Run()
	if started.Load() {
		s := shared()
		switch {
		case s.stop != nil:
			s.stop()
		case s.template != "":
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := s.do(ctx, "DROP DATABASE IF EXISTS "+s.template+" WITH (FORCE)"); err != nil {
				fmt.Fprintln(os.Stderr, "pgtest: drop the template:", err)
			}
		}
	}
	return code
}

// New returns the URL of a fresh, empty database of the test's own.
func New(t testing.TB) string {
	t.Helper()
	return find(t).create(t, "")
}

// Prepared is New with what prepare did to another database in it. prepare is
// called once for each test binary, and must be the same each time; copying is
// several times faster than preparing.
func Prepared(t testing.TB, prepare func(dsn string) error) string {
	t.Helper()
	s := find(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.template == "" {
		name := fmt.Sprintf("cordon_test_%d_template", os.Getpid())
		if err := s.do(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatalf("pgtest: create database: %v", err)
		}
		if err := prepare(s.url(name)); err != nil {
			t.Fatalf("pgtest: prepare: %v", err)
		}
		s.template = name
	}
	return s.create(t, s.template)
}

// find returns the server or ends the test.
func find(t testing.TB) *server {
	t.Helper()
	if os.Getenv("CORDON_TEST_POSTGRES") == "skip" {
		t.Skip("CORDON_TEST_POSTGRES is skip")
	}
	started.Store(true)
	s := shared()
	switch {
	case s.absent && os.Getenv("CI") != "true":
		t.Skipf("no PostgreSQL: %v; install Debian's postgresql or set CORDON_TEST_POSTGRES to a postgres:// URL", s.err)
	case s.err != nil:
		t.Fatalf("pgtest: %v", s.err)
	}
	return s
}

// create makes a database, a copy of the template when one is named. It is
// dropped when the test ends, unless the whole server goes anyway.
func (s *server) create(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("cordon_test_%d_%d", os.Getpid(), s.count.Add(1))
	q := "CREATE DATABASE " + name
	if template != "" {
		q += " TEMPLATE " + template
	}
	if err := s.do(t.Context(), q); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	if s.stop == nil {
		t.Cleanup(func() { s.drop(t, name) })
	}
	return s.url(name)
}

func (s *server) drop(t testing.TB, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.do(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		t.Errorf("pgtest: drop database: %v", err)
	}
}

// url returns the URL of a database.
func (s *server) url(name string) string {
	u := *s.base
	u.Path = "/" + name
	return u.String()
}

// do runs one statement on the base database.
func (s *server) do(ctx context.Context, q string) error {
	c, err := pgx.Connect(ctx, s.base.String())
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, q)
	return errors.Join(err, c.Close(ctx))
}

func start() *server {
	if dsn := os.Getenv("CORDON_TEST_POSTGRES"); dsn != "" {
		u, err := url.Parse(dsn)
		if err != nil || u.Host == "" && u.Query().Get("host") == "" {
			return &server{err: errors.New("CORDON_TEST_POSTGRES is not a postgres:// URL")}
		}
		return &server{base: u}
	}
	bin, err := binaries()
	if err != nil {
		return &server{err: err, absent: true}
	}
	s, err := scratch(bin)
	if err != nil {
		return &server{err: fmt.Errorf("start a scratch server from %s: %w", bin, err)}
	}
	return s
}

// binaries returns the folder with the newest version of initdb and postgres.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("no /usr/lib/postgresql/*/bin/initdb")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// scratch makes a cluster in a temporary folder and starts it on a Unix socket
// and a free loopback port.
func scratch(bin string) (*server, error) {
	dir, err := os.MkdirTemp("", "cordon-pg")
	if err != nil {
		return nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	attr, err := owner(dir)
	if err != nil {
		remove()
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "app",
		"--no-sync", "--encoding=UTF8", "--locale=C")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		remove()
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		remove()
		return nil, err
	}
	s := &server{base: &url.URL{
		Scheme: "postgres", User: url.User("app"), Host: net.JoinHostPort("127.0.0.1", port),
		Path: "/postgres", RawQuery: "sslmode=disable",
	}}
	postgres := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-p", port,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "shared_buffers=64MB",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	postgres.SysProcAttr, postgres.Dir, postgres.Stdout, postgres.Stderr = attr, dir, log, log
	exited, err := run(postgres)
	if err != nil {
		remove()
		return nil, err
	}
	s.stop = func() {
		_ = postgres.Process.Signal(os.Interrupt) // fast shutdown
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = postgres.Process.Kill()
			<-exited
		}
		_ = log.Close()
		remove()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.do(ctx, "SELECT 1")
		cancel()
		if err == nil {
			return s, nil
		}
		select {
		case <-exited:
			text, _ := os.ReadFile(log.Name())
			remove()
			return nil, fmt.Errorf("postgres ended at once:\n%s", text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("postgres is not ready: %w", err)
		}
	}
}

// run starts the command and returns a channel that is closed when it has ended.
func run(c *exec.Cmd) (<-chan struct{}, error) {
	exited := make(chan struct{})
	begun := make(chan error)
	go func() { // ends with the server, which stop ends
		defer close(exited)
		hold() // the child is bound to the thread that starts it
		err := c.Start()
		begun <- err
		if err == nil {
			_ = c.Wait()
		}
	}()
	return exited, <-begun
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// lookup returns the ids of the user postgres.
func lookup() (uid, gid int, err error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}
