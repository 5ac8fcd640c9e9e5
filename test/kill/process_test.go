package kill

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// faults are injected into every kind of request but the listing of roles, which
// is many requests and whole or nothing: one in ten requests meets one.
func faults() []string {
	var out []string
	for _, scope := range []string{"PATCH /users", "POST /users", "GET /users", "POST /identityProtection", "GET /identityProtection", "GET /security", "POST /$batch"} {
		for _, kind := range []string{"reset-before:4%", "reset-after:4%", "503:1%", "504-after:1%"} {
			out = append(out, kind+"@"+scope)
		}
	}
	return out
}

// build makes the binary that is killed.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "cordon")
	c := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../cmd/cordon")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// run runs a command of the binary to its end.
func run(t testing.TB, bin string, args ...string) (stdout []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, bin, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if stdout, err = c.Output(); err != nil {
		err = fmt.Errorf("cordon %s: %w\n%s%s", strings.Join(args, " "), err, stdout, stderr.Bytes())
	}
	return stdout, err
}

// A lab is a simulated tenant in a process of its own, with what it said of
// itself.
type lab struct {
	URL       string   `json:"url"`
	TenantID  string   `json:"tenant_id"`
	ClientID  string   `json:"client_id"`
	Secret    string   `json:"client_secret"`
	CAFile    string   `json:"ca_file"`
	Protected []string `json:"protected"`

	http *http.Client
}

func startLab(t testing.TB, bin, dir string, seed uint64, users int) *lab {
	t.Helper()
	args := []string{"lab", "graph", "--json", "--listen", "127.0.0.1:0", "--ca-out", filepath.Join(dir, "ca.pem"),
		"--seed", fmt.Sprint(seed), "--users", fmt.Sprint(users), "--speed", fmt.Sprint(speed), "--passwords-out", filepath.Join(dir, passwords)}
	for _, f := range faults() {
		args = append(args, "--fault", f)
	}
	c := exec.CommandContext(context.Background(), bin, args...)
	log, err := os.Create(filepath.Join(dir, "lab.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stderr = log
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended already
		_ = c.Wait()         // the exit code of a killed process says nothing
	})
	line, err := bufio.NewReader(pipe).ReadBytes('\n')
	l := &lab{}
	if err != nil || json.Unmarshal(line, l) != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("the lab does not start: %v\n%s", err, text)
	}
	pem, err := os.ReadFile(l.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	l.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return l
}

func (l *lab) get(t testing.TB, path string, v any) {
	t.Helper()
	res, err := l.http.Get(l.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(v); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("lab: GET %s: %s, %v", path, res.Status, err)
	}
}

// happen makes events happen in the tenant.
func (l *lab) happen(t testing.TB, events []world.Event) {
	t.Helper()
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	res, err := l.http.Post(l.URL+"/_lab/event", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("lab: events: %s %s", res.Status, text)
	}
}

// calm lets the tenant break no further request.
func (l *lab) calm(t testing.TB) {
	t.Helper()
	res, err := l.http.Post(l.URL+"/_lab/faults", "application/json", strings.NewReader(`{"faults":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("lab: faults: %s", res.Status)
	}
}

func (l *lab) users(t testing.TB) map[string]world.UserState {
	t.Helper()
	var v struct {
		Users        []world.UserState `json:"users"`
		FailedEvents []string          `json:"failedEvents"`
	}
	l.get(t, "/_lab/state", &v)
	if len(v.FailedEvents) > 0 {
		t.Fatalf("the lab could not do: %q", v.FailedEvents)
	}
	out := make(map[string]world.UserState, len(v.Users))
	for _, u := range v.Users {
		out[u.ID] = u
	}
	return out
}

func (l *lab) ledger(t testing.TB) []graphsim.Entry {
	t.Helper()
	var v struct {
		Entries []graphsim.Entry `json:"entries"`
	}
	l.get(t, "/_lab/ledger", &v)
	return v.Entries
}

// A server is one life of cordon serve.
type server struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once it has
}

func (s *scene) start(t testing.TB) *server {
	t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprintf(log, "=== life %d\n", s.lives)
	c := exec.CommandContext(context.Background(), s.bin, "serve", "--config", s.config, "--speed", fmt.Sprint(speed), "--lease", lease.String())
	c.Stderr, c.Stdout = log, log
	c.Env = append(os.Environ(), "GOTRACEBACK=all")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.lives++
	p := &server{cmd: c, done: make(chan struct{})}
	go func() {
		p.err = c.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// kill ends it as a power cut would, and waits until the kernel has.
func (p *server) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// crash ends it as an unrecovered panic would: with what every goroutine does in its
// log.
func (p *server) crash() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

// stop asks it to end and returns how it did.
func (p *server) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-time.After(30 * time.Second):
		p.kill()
		return errors.New("it did not stop within 30 s")
	}
}

// tail is the end of the server's log.
func (s *scene) tail() string {
	b, _ := os.ReadFile(s.log)
	if len(b) > 8000 {
		b = b[len(b)-8000:]
	}
	return string(b)
}

// freePort finds a port for the server; it stays the same over all its lives.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// api calls the server's API as the operator.
func (s *scene) api(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+"/api"+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s", method, path, res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// list reads all pages of a list.
func list[T any](ctx context.Context, s *scene, path string) ([]T, error) {
	var all []T
	for after := ""; ; {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		p := path + sep + "limit=500"
		if after != "" {
			p += "&after=" + after
		}
		if err := s.api(ctx, http.MethodGet, p, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}
