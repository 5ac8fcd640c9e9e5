package hybrid

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/lab/addc"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// atSource has a person's account disabled in Active Directory by hand, and returns
// the run's id.
func (s *scene) atSource(t *testing.T, p hybrid) (run string) {
	t.Helper()
	s.happen(t, world.Event{Type: world.EventDetection, User: p.id, RiskEventType: "newCountry", RiskLevel: "low"})
	id := s.identity(t, p)
	s.post(t, "/identities/"+id+"/start", map[string]any{"playbook": "at-source", "reason": "a drill"})
	s.until(t, "the run about "+p.name+" is under way", func() bool {
		for _, r := range s.runs(t) {
			// The one that was held until it was known what kind of account it is, is over.
			if r.Playbook == "at-source" && r.Name == p.name && r.State != "held" {
				run = r.ID
			}
		}
		return run != ""
	})
	return run
}

// step returns the action of a run's only step, once there is one.
func (s *scene) step(t *testing.T, run string) actionView {
	t.Helper()
	for _, st := range s.show(t, run).Steps {
		if st.Doing != nil {
			return *st.Doing
		}
	}
	return actionView{}
}

// replicationStopped: what one controller took is accepted and no more, the one that
// does not show it is named, and it ends verified when replication goes on.
func (s *scene) replicationStopped(t *testing.T) {
	p := s.person(t)
	if err := s.Part(t.Context()); err != nil {
		t.Fatal(err)
	}
	parted := true
	rejoin := func() {
		if err := s.Rejoin(context.Background()); parted && err != nil {
			t.Error(err)
		}
		parted = false
	}
	defer rejoin()
	run := s.atSource(t, p)
	const words = "pending until replication reaches dc2.corp.example"
	var seen []string // the states that it went through
	s.until(t, "the disable is unconfirmed", func() bool {
		a := s.step(t, run)
		if !slices.Contains(seen, a.State) {
			seen = append(seen, a.State)
		}
		return a.State == "unconfirmed" && strings.Contains(a.Reason, words)
	})
	if !slices.Contains(seen, "accepted") || slices.Contains(seen, "verified") {
		t.Errorf("it went through %v", seen)
	}
	s.until(t, "the run says who is awaited", func() bool { // it follows its action a moment later
		return strings.Contains(fmt.Sprint(s.show(t, run).Steps), words)
	})
	s.canOn(t, s.Controllers[0], p, false)
	s.canOn(t, s.Controllers[1], p, true) // which is why it is not verified
	rejoin()
	s.ends(t, p.name, "at-source", "contained")
	if a := s.step(t, run); a.State != "verified" || a.Attempt != 1 || !strings.Contains(a.Proof, "on dc1.corp.example and dc2.corp.example") {
		t.Errorf("in the end: %+v", a)
	}
	s.canOn(t, s.Controllers[1], p, false)
}

// lastTwo: the only two members of Domain Admins that can sign in, both reported and
// both consented to. Cordon may change them here, and stops by itself at the last.
func (s *scene) lastTwo(t *testing.T) {
	group := "CN=Domain Admins,CN=Users," + s.BaseDN
	members := func(dns ...string) {
		t.Helper()
		if err := s.Modify(context.Background(), s.Controllers[0], "dn: "+group+"\nchangetype: modify\nreplace: member\nmember: "+strings.Join(dns, "\nmember: ")+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	members(s.last[0].DN, s.last[1].DN)
	defer members(s.Admin.DN, s.Tier0.DN)
	asked := map[string]bool{}
	for _, p := range s.last {
		s.alert(t, p.SID)
	}
	var gone, kept hybrid
	s.until(t, "one is disabled and the other is refused", func() bool {
		gone, kept = hybrid{}, hybrid{}
		for _, r := range s.runs(t) {
			for _, p := range s.last {
				if r.Playbook != "dcsync" || r.Name != p.name {
					continue
				}
				v := s.show(t, r.ID)
				for _, a := range v.Approvals {
					if !asked[a.ID] && a.State == "pending" {
						asked[a.ID] = true
						s.post(t, "/approvals/"+a.ID+"/approve", map[string]any{"planHash": a.PlanHash})
					}
				}
				for _, st := range v.Steps {
					switch {
					case st.Action != "ad.account.disable":
					case st.State == "verified":
						gone = p
					case st.State == "refused" && strings.Contains(st.Reason, "the last member of Domain Admins that can sign in"):
						kept = p
					}
				}
			}
		}
		return gone.SID != "" && kept.SID != ""
	})
	if uac := s.read(t, gone.DN, "userAccountControl"); uac != "514" {
		t.Errorf("userAccountControl of the one is %s", uac)
	}
	if uac := s.read(t, kept.DN, "userAccountControl"); uac != "512" {
		t.Errorf("userAccountControl of the last Domain Admin is %s", uac)
	}
	s.can(t, kept, true)
}

// contradicted: after a proven disable a session is opened with an old ticket, and an
// administrator enables the account again. Both stand in the controller's own audit
// stream, which names the second's account by distinguished name alone.
func (s *scene) contradicted(t *testing.T) {
	p, c := s.person(t), s.Controllers[0]
	ticket, err := s.Ticket(t.Context(), c, p.SAM, p.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer ticket.Close()
	run := s.atSource(t, p)
	s.ends(t, p.name, "at-source", "contained")
	if a := s.step(t, run); !strings.Contains(a.Proof, "remaining access") || !strings.Contains(a.Proof, "Kerberos tickets") {
		t.Errorf("what remains is not said: %s", a.Proof)
	}
	proven := time.Now()
	if l, err := ticket.SMB(t.Context(), c); err != nil || !l.OK {
		t.Fatalf("the old ticket: %+v, %v", l, err)
	}
	if err := s.Modify(t.Context(), c, "dn: "+p.DN+"\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 512\n"); err != nil {
		t.Fatal(err)
	}
	var lines []json.RawMessage
	s.until(t, "the controller has written both down", func() bool {
		lines = slices.Concat(audited(t, c, "auth.json", p.SID, proven), audited(t, c, "dsdb.json", p.DN, proven))
		all := fmt.Sprintf("%s", lines)
		return strings.Contains(all, `"Authorization"`) && strings.Contains(all, `"userAccountControl"`)
	})
	s.push(t, lines)
	for _, want := range []string{"signInAfterContainment", "enabledAfterContainment"} {
		s.until(t, want+" is told", func() bool {
			var v struct {
				Items []struct {
					Type, Level, Detail string
					Subject             struct{ SID string }
				}
			}
			if err := s.api(context.Background(), http.MethodGet, "/signals?limit=500", nil, &v); err != nil {
				t.Fatal(err)
			}
			for _, x := range v.Items {
				if x.Type == want && x.Subject.SID == p.SID {
					if x.Level != "high" || want == "enabledAfterContainment" && !strings.Contains(x.Detail, "userAccountControl to 512") {
						t.Errorf("%s: %+v", want, x)
					}
					return true
				}
			}
			return false
		})
	}
}

// audited are the lines of a controller's audit stream, since a time, that have a word
// in them. They are two minutes later than they were written: clocks may be a minute
// apart, so what comes within that of a proof says nothing.
func audited(t *testing.T, c *addc.DC, file, word string, since time.Time) (out []json.RawMessage) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Dir, "log", file))
	if err != nil {
		t.Fatal(err)
	}
	const form = "2006-01-02T15:04:05.999999-0700"
	for line := range bytes.Lines(b) {
		var at struct{ Timestamp string }
		if !bytes.Contains(line, []byte(word)) || json.Unmarshal(line, &at) != nil { // the last may be half written
			continue
		}
		when, err := time.Parse(form, at.Timestamp)
		if err != nil {
			t.Fatal(err)
		}
		if when.After(since) {
			out = append(out, bytes.ReplaceAll(line, []byte(at.Timestamp), []byte(when.Add(2*time.Minute).Format(form))))
		}
	}
	return out
}

// push sends lines of the audit stream as a forwarder does.
func (s *scene) push(t *testing.T, lines []json.RawMessage) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"format": "samba", "records": lines})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/api/signals", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	at, key := fmt.Sprint(time.Now().Unix()), rand.Text()
	sum := hmac.New(sha256.New, []byte(s.token))
	fmt.Fprintf(sum, "%s.%s.%s", at, key, body)
	for name, v := range map[string]string{"Cordon-Sender": "controllers", "Cordon-Timestamp": at, "Idempotency-Key": key,
		"Cordon-Signature": "v1=" + hex.EncodeToString(sum.Sum(nil)), "Content-Type": "application/json"} {
		r.Header.Set(name, v)
	}
	res, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a struct{ New, Rejected int }
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != http.StatusOK || a.Rejected > 0 || a.New == 0 {
		t.Fatalf("pushed %d lines: %s, %+v, %v", len(lines), res.Status, a, err)
	}
}

// hostile are names that would find somebody, or do harm on their way, if they were
// taken for more than names.
func hostile(a addc.Account) []string {
	return []string{"*)(objectClass=*", a.SAM + "\x00", "\u202e" + a.UPN, strings.Repeat("a", 10_000), a.DN, `CN=x\,y+z="q",DC=<>;#`, "<SID=" + a.SID + ">", "%27 or 1=1 --", "../" + a.SID}
}

// hostileNames: whatever stands where a name is taken, by whoever asks the running
// program or tells it something, nobody is found and nothing is done.
func (s *scene) hostileNames(t *testing.T) {
	p := s.person(t)
	s.happen(t, world.Event{Type: world.EventDetection, User: p.id, RiskEventType: "newCountry", RiskLevel: "low"})
	s.identity(t, p)
	before := s.read(t, p.DN, "uSNChanged")
	var lines []json.RawMessage
	for _, h := range hostile(p.Account) {
		q := url.QueryEscape(h)
		for _, path := range []string{"/identities?name=" + q, "/cases?name=" + q, "/signals?identity=" + q, "/runs?identity=" + q, "/actions?identity=" + q, "/audit?identity=" + q} {
			var v struct{ Items []json.RawMessage }
			if err := s.api(t.Context(), http.MethodGet, path, nil, &v); err == nil && len(v.Items) > 0 {
				t.Errorf("%.80s finds %d", path, len(v.Items))
			} else if err != nil && !strings.Contains(err.Error(), ": 4") {
				t.Errorf("%.80s: %.300v", path, err)
			}
		}
		for path, body := range map[string]map[string]any{
			"/identities/" + url.PathEscape(h) + "/start": {"playbook": "at-source", "reason": h},
			"/identities/" + s.identity(t, p) + "/start":  {"playbook": h, "reason": "a drill"},
			"/runs/" + url.PathEscape(h) + "/undo":        {"reason": h},
		} {
			if err := s.api(t.Context(), http.MethodPost, path, body, nil); err == nil || !strings.Contains(err.Error(), ": 4") {
				t.Errorf("%.80s: %.300v; want it refused", path, err)
			}
		}
		line, err := json.Marshal(map[string]any{"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.999999-0700"), "type": "dsdbChange", "dsdbChange": map[string]any{
			"status": "Success", "operation": "Modify", "userSid": h, "dn": h, "transactionId": h, "sessionId": h,
			"attributes": map[string]any{"userAccountControl": map[string]any{"actions": []any{map[string]any{"action": "replace", "values": []any{map[string]any{"value": "512"}}}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	s.push(t, lines)
	for _, r := range s.runs(t) {
		if r.Name == p.name && r.Playbook == "at-source" {
			t.Errorf("a run began: %+v", r)
		}
	}
	if now := s.read(t, p.DN, "uSNChanged"); now != before {
		t.Errorf("the account was changed: %s became %s", before, now)
	}
	s.can(t, p, true)
}
