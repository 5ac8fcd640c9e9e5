package hybrid

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/lab/addc"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const (
	speed  = 20
	client = "c0e5d0a1-1ab0-4c0d-8000-00000000c0de"
)

// A hybrid is one account of the domain, and of the tenant where id is set.
type hybrid struct {
	addc.Account
	id, name string // in the tenant: object id and display name
}

// A scene is a domain, a tenant that mirrors it, and cordon serve on both.
type scene struct {
	*addc.Domain
	world *world.World
	url   string
	dir   string
	bin   string
	addr  string
	token string
	http  *http.Client

	people                  chan hybrid // synchronised, nobody's yet
	service, synchroniser   hybrid      // on premises alone
	lone                    hybrid      // the only member of Enterprise Admins that can sign in, on premises alone
	last                    [2]hybrid   // the only members of Domain Admins for a while, synchronised
	tier0, stranger, victim hybrid
	krbtgt, controller      string // SIDs
}

func newScene(t *testing.T, d *addc.Domain) *scene {
	t.Helper()
	s := &scene{Domain: d, dir: t.TempDir(), token: strings.Repeat("0123456789abcdef", 4), http: &http.Client{Timeout: 10 * time.Second}, people: make(chan hybrid, 20)}
	s.bin = filepath.Join(s.dir, "cordon")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", s.bin, "../../cmd/cordon").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s.cast(t)
	s.tenant(t)
	s.configure(t)
	return s
}

// cast makes the tenant and lets its synchronised people come from the domain.
func (s *scene) cast(t *testing.T) {
	t.Helper()
	var err error
	// Synchronisation runs when the test says so.
	if s.world, err = world.New(world.Options{Seed: 7, Users: 400, Delays: world.Delays{SyncCycle: 1000 * time.Hour}.Faster(speed)}); err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	used := 0
	mirror := func(a addc.Account, guid string) hybrid {
		p, err := s.world.Pick(world.Pick{Kind: world.KindMember, Synced: &yes, Privileged: &no, Eligible: &no, Index: used})
		used++
		if err == nil {
			_, err = s.world.Mirror(p.UserID, world.Names{SID: a.SID, GUID: guid, SAM: a.SAM, Domain: s.Name, DN: a.DN})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.happen(t, world.Event{Type: world.EventOnPremisesChange, User: p.UserID, AccountEnabled: &yes})
		return hybrid{a, p.UserID, p.DisplayName}
	}
	take := func() addc.Account {
		a, err := s.Take()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for range 8 {
		a := take()
		s.people <- mirror(a, a.GUID)
	}
	s.tier0 = mirror(s.Tier0, s.Tier0.GUID)
	for n := range s.last {
		a := take()
		s.last[n] = mirror(a, a.GUID)
	}
	s.victim = hybrid{Account: take()}
	a := take()
	s.stranger = mirror(a, s.victim.GUID) // its immutable id stands for the victim
	s.service, s.synchroniser = hybrid{Account: take()}, hybrid{Account: take()}
	s.lone = hybrid{Account: take()}
	gone := take() // expired: nobody to rely on
	for _, p := range []*hybrid{&s.service, &s.lone} {
		p.name = strings.TrimPrefix(strings.Split(p.DN, ",")[0], "CN=")
	}
	msol := "MSOL_" + s.synchroniser.GUID[24:] // as Entra Connect calls its account
	t.Cleanup(func() {                         // the domain may be used again
		if err := s.Modify(context.Background(), s.Controllers[0], fmt.Sprintf("dn: CN=Enterprise Admins,CN=Users,%s\nchangetype: modify\nreplace: member\nmember: %s\n", s.BaseDN, s.Admin.DN)); err != nil {
			t.Error(err)
		}
	})
	ctx := context.Background()
	if err := s.Modify(ctx, s.Controllers[0], fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: servicePrincipalName\nservicePrincipalName: backup/%s.corp.example\n\ndn: %s\nchangetype: modify\nreplace: sAMAccountName\nsAMAccountName: %s\n\ndn: %s\nchangetype: modify\nreplace: accountExpires\naccountExpires: 133500000000000000\n\ndn: CN=Enterprise Admins,CN=Users,%s\nchangetype: modify\nreplace: member\nmember: %s\nmember: %[5]s\n",
		s.service.DN, s.service.SAM, s.synchroniser.DN, msol, gone.DN, s.BaseDN, s.lone.DN)); err != nil {
		t.Fatal(err)
	}
	s.krbtgt, s.controller = s.sid(t, "CN=krbtgt,CN=Users,"+s.BaseDN), s.sid(t, "CN=DC1,OU=Domain Controllers,"+s.BaseDN)
	// Accounts on premises alone, so that alerts may name them.
	for n, x := range []world.Names{
		{SID: s.service.SID, GUID: s.service.GUID, SAM: s.service.SAM, DN: s.service.DN}, {SID: s.synchroniser.SID, GUID: s.synchroniser.GUID, SAM: msol, DN: s.synchroniser.DN},
		{SID: s.Containment.SID, GUID: s.Containment.GUID, SAM: s.Containment.SAM, DN: s.Containment.DN}, {SID: s.Admin.SID, GUID: s.Admin.GUID, SAM: s.Admin.SAM, DN: s.Admin.DN},
		{SID: s.lone.SID, GUID: s.lone.GUID, SAM: s.lone.SAM, DN: s.lone.DN},
		{SID: s.krbtgt, SAM: "krbtgt2"}, {SID: s.controller, SAM: "DC1$"},
	} {
		p, err := s.world.Pick(world.Pick{Kind: world.KindOnPremisesOnly, Index: n})
		if err == nil {
			x.Domain = s.Name
			_, err = s.world.Mirror(p.SID, x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *scene) sid(t *testing.T, dn string) string {
	t.Helper()
	sid, err := directory.SIDText([]byte(s.read(t, dn, "objectSid")))
	if err != nil {
		t.Fatal(err)
	}
	return sid
}

// read is what the controller shows to the domain's administrator.
func (s *scene) read(t *testing.T, dn, attribute string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	e, err := s.Read(ctx, s.Controllers[0], dn, attribute)
	if err != nil {
		t.Fatal(err)
	}
	return e[attribute]
}

func (s *scene) tenant(t *testing.T) {
	t.Helper()
	app := graphsim.Responder(client, "lab")
	app.Roles = append(app.Roles, "RoleEligibilitySchedule.Read.Directory")
	tenant, err := graphsim.New(s.world, graphsim.Options{Speed: speed, Apps: []graphsim.App{app}})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := graphsim.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = ca.WriteFile(filepath.Join(s.dir, "graph-ca.pem"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tenant.Serve(ctx, l, ca) }()
	t.Cleanup(func() { cancel(); <-done })
}

func (s *scene) configure(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Abs("playbooks")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := filepath.Abs("../../playbooks")
	if err != nil {
		t.Fatal(err)
	}
	dc, other := s.Controllers[0], s.Controllers[1]
	text := fmt.Sprintf(`store: sqlite:cordon.db
listen: %s
audit: { key: file:audit.key }
playbooks: [%q, %q]
operators:
  - { id: owner, name: Owner, roles: [owner], groups: [identity-response], token: file:token }
tenants:
  - name: lab
    tenant_id: %s
    client_id: %s
    graph_url: %s
    login_url: %[6]s
    ca_file: graph-ca.pem
    credential: { secret: file:secret }
    mode: act
    connectors: { risk_detections: 1s, risky_users: 2s, alerts: 1s, directory: 20s, registration: 10m, open_cases: 2s }
    limits: { accounts_per_hour: 1000, accounts_per_minute: 1000, playbook_accounts_per_hour: 1000, global_accounts_per_hour: 1000 }
    senders: [{ name: controllers, secret: file:sender }]
    directories:
      - domain: %[7]s
        dcs: [%[8]s, %[12]s]
        addresses: { %[8]s: %[9]s, %[12]s: %[13]s }
        ca_file: %[10]q
        bind: { upn: %[11]s, password: file:ad-password }
`, s.addr, own, shipped, s.world.TenantID(), client, s.url, s.Name, dc.Host, dc.Addr, s.CAFile, s.Containment.UPN, other.Host, other.Addr)
	for name, text := range map[string]string{"cordon.yaml": text, "token": s.token, "secret": "lab", "sender": s.token, "ad-password": s.Containment.Password} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, "audit", "keygen", "--out", filepath.Join(s.dir, "audit.key"))
	s.run(t, "check", "--config", filepath.Join(s.dir, "cordon.yaml"))
}

// run runs a command of the program to its end.
func (s *scene) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.bin, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("cordon %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// doctor: with the least rights there is nothing missing on premises, and each
// right is named.
func (s *scene) doctor(t *testing.T) {
	t.Helper()
	c := exec.CommandContext(t.Context(), s.bin, "doctor", "--config", filepath.Join(s.dir, "cordon.yaml"))
	b, err := c.CombinedOutput()
	out := string(b)
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	for _, want := range []string{
		"corp.example controllers: dc1.corp.example (PDC emulator, written to first)",
		"corp.example controller dc1.corp.example: reached; its certificate proves its name",
		"corp.example right to write userAccountControl: on ",
		"corp.example account: ", "is in no sensitive group", "corp.example password policy: ", "corp.example krbtgt: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the doctor does not say %q:\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "corp.example") && (strings.HasPrefix(line, "missing") || strings.HasPrefix(line, "failed")) {
			t.Errorf("the doctor finds fault: %s", line)
		}
	}
}

// doctorNames: what is wrong on the way to a domain is told apart, with what helps.
func (s *scene) doctorNames(t *testing.T) {
	t.Helper()
	whole, err := os.ReadFile(filepath.Join(s.dir, "cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"untrusted":      {fmt.Sprintf("        ca_file: %q\n", s.CAFile), "", "give the issuer of the controllers' certificates in ca_file"},
		"another name":   {s.Controllers[0].Host, "dc9." + s.Name, "name the controller in dcs as its certificate does"},
		"wrong password": {"file:ad-password", "file:token", "user name or password is wrong"},
		"no way":         {s.Controllers[0].Addr, "127.0.0.1", "open the way to the controller"},
	} {
		file := filepath.Join(s.dir, "doctor.yaml")
		text := strings.ReplaceAll(string(whole), c.from, c.to)
		text = strings.ReplaceAll(text, ", "+s.Controllers[1].Host+"]", "]") // nobody else to ask
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), s.bin, "doctor", "--config", file).CombinedOutput()
		if _, exited := err.(*exec.ExitError); !exited || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: want %q, got %v\n%s", name, c.want, err, out)
		}
	}
}

// lookUp: one account by each of its names, and names that are nobody's.
func (s *scene) lookUp(t *testing.T) {
	t.Helper()
	show := func(name string) (string, error) {
		b, err := exec.CommandContext(t.Context(), s.bin, "directory", "show", "--config", filepath.Join(s.dir, "cordon.yaml"), "--", name).CombinedOutput()
		return string(b), err
	}
	for _, name := range []string{s.service.SID, s.service.GUID, s.service.UPN, s.NetBIOS + `\` + s.service.SAM, s.Name + `\` + s.service.SAM} {
		out, err := show(name)
		if err != nil || !strings.Contains(out, s.service.SID) || !strings.Contains(out, "NORMAL_ACCOUNT") || !strings.Contains(out, "backup/"+s.service.SAM+".corp.example") || strings.Contains(out, "protected") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if out, err := show(s.Admin.UPN); err != nil || !strings.Contains(out, "sensitive              Domain Admins") || !strings.Contains(out, "protected              the domain's built-in Administrator") {
		t.Errorf("the Administrator: %v\n%s", err, out)
	}
	for _, name := range append(hostile(s.service.Account), `CORP\*`, `OTHER\`+s.service.SAM, "nobody@corp.example", s.service.SAM) {
		if strings.ContainsRune(name, 0) {
			continue // no command line can hold it
		}
		if out, err := show(name); err == nil || len(out) > 1000 || strings.ContainsAny(out, "\u202e") {
			t.Errorf("%.60q names somebody, or is not fit to be shown:\n%.600s", name, out)
		}
	}
}

func (s *scene) serve(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := exec.CommandContext(context.Background(), s.bin, "serve", "--config", filepath.Join(s.dir, "cordon.yaml"), "--speed", fmt.Sprint(speed))
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := c.Wait(); err != nil || t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Errorf("cordon serve ended with %v:\n%s", err, b[max(0, len(b)-6000):])
		}
	})
	s.until(t, "cordon answers", func() bool { return s.api(t.Context(), http.MethodGet, "/me", nil, nil) == nil })
}

// api calls the program as its owner.
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
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %s %s", method, path, res.Status, b)
	case out == nil:
		return nil
	}
	return json.Unmarshal(b, out)
}

func (s *scene) post(t *testing.T, path string, body any) {
	t.Helper()
	if err := s.api(context.Background(), http.MethodPost, path, body, nil); err != nil {
		t.Fatal(err)
	}
}

type runSummary struct {
	ID, Identity, Name, Playbook, State, Reason string
}

type runView struct {
	Run   runSummary
	Steps []struct {
		ID, Action, State, Reason string
		Doing                     *actionView
	}
	Approvals []struct{ ID, PlanHash, State string }
}

type actionView struct {
	ID, Name, State, Reason, Proof string
	Attempt                        int
	RequestedAt                    time.Time
}

// done are the steps that are proven.
func (r runView) done() (out []string) {
	for _, st := range r.Steps {
		if st.State == "verified" {
			out = append(out, st.ID+" "+st.Action)
		}
	}
	return out
}

func (s *scene) runs(t *testing.T) []runSummary {
	t.Helper()
	var v struct{ Items []runSummary }
	if err := s.api(context.Background(), http.MethodGet, "/runs?limit=500", nil, &v); err != nil {
		t.Fatal(err)
	}
	return v.Items
}

func (s *scene) show(t *testing.T, id string) (v runView) {
	t.Helper()
	if err := s.api(context.Background(), http.MethodGet, "/runs/"+id, nil, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// ends waits for a playbook's run about somebody to end, and says how.
func (s *scene) ends(t *testing.T, name, playbook, state string) runView {
	t.Helper()
	var last runSummary
	s.until(t, playbook+" about "+name+" is "+state, func() bool {
		for _, r := range s.runs(t) {
			if r.Playbook == playbook && strings.EqualFold(r.Name, name) {
				last = r
				return r.State == state
			}
		}
		return false
	})
	return s.show(t, last.ID)
}

// inOrder: the cloud was not touched before the source was, and the second
// revocation came after the reset.
func (s *scene) inOrder(t *testing.T, r runView) {
	t.Helper()
	at := map[string]time.Time{}
	for _, st := range r.Steps {
		if st.Doing == nil || st.Doing.RequestedAt.IsZero() {
			t.Fatalf("when %s was asked for is not told", st.ID)
		}
		at[st.ID] = st.Doing.RequestedAt
	}
	order := []string{"confirm", "disable", "disable-cloud", "revoke", "reset", "revoke-again"}
	for n := 1; n < len(order); n++ {
		if a, b := at[order[n-1]], at[order[n]]; a.After(b) {
			t.Errorf("%s was asked for at %v, after %s at %v", order[n-1], a, order[n], b)
		}
	}
}

// identity waits until the person is known and returns Cordon's id of them.
func (s *scene) identity(t *testing.T, p hybrid) (id string) {
	t.Helper()
	s.until(t, p.name+" is known", func() bool {
		var v struct {
			Items []struct{ ID, Name string }
		}
		if err := s.api(context.Background(), http.MethodGet, "/identities?limit=500", nil, &v); err != nil {
			t.Fatal(err)
		}
		for _, i := range v.Items {
			if i.Name == p.name {
				id = i.ID
			}
		}
		return id != ""
	})
	return id
}

// happen makes something happen in the tenant now.
func (s *scene) happen(t *testing.T, e world.Event) {
	t.Helper()
	if err := s.world.Apply(e); err != nil {
		t.Fatal(err)
	}
}

// user is the truth about somebody in the tenant.
func (s *scene) user(t *testing.T, id string) (u world.UserState) {
	t.Helper()
	s.world.WalkState(func(x world.UserState) bool {
		if x.ID == id {
			u = x
		}
		return u.ID == ""
	})
	return u
}

// synchronise does what Entra Connect does: it brings what the domain says.
func (s *scene) synchronise(t *testing.T, p hybrid) {
	t.Helper()
	on := s.read(t, p.DN, "userAccountControl") == "512"
	s.happen(t, world.Event{Type: world.EventOnPremisesChange, User: p.id, AccountEnabled: &on})
	s.happen(t, world.Event{Type: world.EventSyncCycle})
}

func (s *scene) person(t *testing.T) hybrid {
	t.Helper()
	select {
	case p := <-s.people:
		return p
	default:
		t.Fatal("nobody is left")
		return hybrid{}
	}
}

// until waits for a condition, with a deadline that a loaded machine meets.
func (s *scene) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); <-time.After(200 * time.Millisecond) {
		if is() {
			return
		}
	}
	for _, r := range s.runs(t) {
		t.Logf("run of %s about %s: %s %s", r.Playbook, r.Name, r.State, r.Reason)
		for _, st := range s.show(t, r.ID).Steps {
			t.Logf("    %s %s: %s %s", st.ID, st.Action, st.State, st.Reason)
		}
	}
	t.Fatalf("not in time: %s", what)
}
