package kill

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/witness"
)

// What the API says, as far as it is looked at here.
type (
	actionRow struct {
		ID, Run, Identity, Step, Name, State, Reason, Outcome string
		Person                                                bool
		Attempt                                               int
		UndoOf                                                string
		Account                                               struct{ ObjectID string }
	}
	runRow struct {
		ID, Identity, Playbook, State, Reason string
	}
	caseRow struct {
		ID, Identity, Status, Waits string
	}
	approvalRow struct {
		ID, Run, Identity, PlanHash, State string
	}
	identityRow struct {
		ID       string
		Accounts []struct{ Provider, ObjectID string }
	}
)

// answer approves what the people of the scenario approve, whenever the server
// is there to hear it.
func (s *scene) answer(ctx context.Context) int {
	given := 0
	kinds := map[string]kind{}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return given
		case <-tick.C:
		}
		waiting, err := list[approvalRow](ctx, s, "/approvals?state=pending")
		if err != nil || len(waiting) == 0 {
			continue // it is down just now
		}
		for _, a := range waiting {
			k, ok := kinds[a.Identity]
			if !ok {
				if k, err = s.kindBehind(ctx, a.Identity); err != nil {
					break
				}
				kinds[a.Identity] = k
			}
			if k != asked && k != admin {
				continue
			}
			body := map[string]string{"planHash": a.PlanHash, "reason": "seen and agreed"}
			if s.api(ctx, http.MethodPost, "/approvals/"+url.PathEscape(a.ID)+"/approve", body, nil) == nil {
				given++
			}
		}
	}
}

// kindBehind is what happened to the person behind one of Cordon's identities.
func (s *scene) kindBehind(ctx context.Context, id string) (kind, error) {
	var v struct{ Identity identityRow }
	if err := s.api(ctx, http.MethodGet, "/identities/"+url.PathEscape(id), nil, &v); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range v.Identity.Accounts {
		if k, ok := s.kindOf[a.ObjectID]; ok {
			return k, nil
		}
	}
	return "", nil
}

// rows is everything that Cordon says in the end.
type rows struct {
	actions  map[string][]actionRow // by the person's object id
	runs     map[string][]runRow    // by identity
	cases    map[string]caseRow     // by identity
	identity map[string]string      // by object id
}

func (s *scene) rows(ctx context.Context) (rows, error) {
	r := rows{map[string][]actionRow{}, map[string][]runRow{}, map[string]caseRow{}, map[string]string{}}
	actions, err := list[actionRow](ctx, s, "/actions")
	if err != nil {
		return r, err
	}
	for _, a := range actions {
		r.actions[a.Account.ObjectID] = append(r.actions[a.Account.ObjectID], a)
	}
	runs, err := list[runRow](ctx, s, "/runs")
	if err != nil {
		return r, err
	}
	for _, x := range runs {
		r.runs[x.Identity] = append(r.runs[x.Identity], x)
	}
	cases, err := list[caseRow](ctx, s, "/cases")
	if err != nil {
		return r, err
	}
	for _, c := range cases {
		r.cases[c.Identity] = c
	}
	ids, err := list[identityRow](ctx, s, "/identities")
	for _, i := range ids {
		for _, a := range i.Accounts {
			if a.ObjectID != "" {
				r.identity[a.ObjectID] = i.ID
			}
		}
	}
	return r, err
}

// of is what Cordon says of one person.
type of struct {
	person
	actions []actionRow
	runs    []runRow
	c       caseRow
	known   bool
}

func (r rows) of(p person) of {
	id, ok := r.identity[p.id]
	return of{p, r.actions[p.id], r.runs[id], r.cases[id], ok}
}

// action returns the last action of the name that is no undo.
func (o of) action(name string) (actionRow, bool) {
	var found actionRow
	ok := false
	for _, a := range o.actions {
		if a.Name == name && a.UndoOf == "" {
			found, ok = a, true
		}
	}
	return found, ok
}

func (o of) is(name, state string) bool {
	a, ok := o.action(name)
	return ok && a.State == state
}

// resetForPerson reports whether the reset's outcome stayed unknown and a person
// was asked, with the reason.
func (o of) resetForPerson() bool {
	a, ok := o.action("entra.user.reset_password")
	return ok && a.State == "unconfirmed" && a.Person && strings.Contains(a.Reason, "a person decides")
}

// why says what is missing for the person's story to have ended as it must; ""
// when nothing is.
func (o of) why() string {
	if o.kind == protected {
		return ""
	}
	if !o.known {
		return "Cordon does not know the person"
	}
	var runs []string
	busy := false
	for _, r := range o.runs {
		runs = append(runs, fmt.Sprintf("%s %s (%s)", r.Playbook, r.State, r.Reason))
		busy = busy || r.State == "settling" || r.State == "acting"
	}
	if len(runs) == 0 {
		return "no playbook was begun"
	}
	missing := o.missing()
	if missing == "" && busy && !o.resetForPerson() {
		missing = "a run is not over"
	}
	if missing == "" {
		return ""
	}
	for _, a := range o.actions {
		runs = append(runs, fmt.Sprintf("%s %s attempt %d %s (%s)", a.Name, a.State, a.Attempt, a.Outcome, a.Reason))
	}
	return missing + ": " + strings.Join(runs, "; ")
}

func (o of) missing() string {
	const reset, disable, revoke = "entra.user.reset_password", "entra.user.disable", "entra.user.revoke_sessions"
	hasRun := func(state string) bool {
		return slices.ContainsFunc(o.runs, func(r runRow) bool { return r.State == state })
	}
	switch o.kind {
	case leaked, sprayed, admin:
		switch {
		case o.resetForPerson() && o.c.Status == "waiting":
		case !o.is(reset, "verified"):
			return "the reset is not verified"
		case !hasRun("contained") || o.c.Status != "contained":
			return "it is not contained: the case is " + o.c.Status
		}
	case token:
		switch {
		case !o.is(disable, "verified") || !o.is(revoke, "verified"):
			return "the account is not disabled and its sessions revoked"
		case !hasRun("contained") || o.c.Status != "contained":
			return "it is not contained: the case is " + o.c.Status
		}
	case asked:
		if !o.is(disable, "verified") || !hasRun("contained") {
			return "the approved step is not verified"
		}
	case left, adminLeft:
		if !hasRun("waiting") || o.c.Status != "waiting" {
			return "it does not wait for its approval"
		}
	case unratified:
		// One that had to be sent again may have run out of time before it was.
		if !o.is(disable, "reverted") && !(o.is(disable, "cancelled") && hasRun("expired")) {
			return "what nobody ratified is not taken back"
		}
	case synced:
		if !slices.ContainsFunc(o.runs, func(r runRow) bool { return r.State == "held" && strings.Contains(r.Reason, "Active Directory") }) {
			return "it is not held for want of Active Directory"
		}
	}
	return ""
}

// settle waits until every story has ended, and returns the rows then.
func (s *scene) settle(t *testing.T, p *server) rows {
	t.Helper()
	deadline := time.Now().Add(150 * time.Second)
	began, told, calm := time.Now(), time.Now(), false
	for {
		s.rest(t, p, time.Second)
		r, err := s.rows(t.Context())
		var open []string
		if err == nil {
			for _, x := range s.people {
				if why := r.of(x).why(); why != "" {
					open = append(open, fmt.Sprintf("%s: %s", x.kind, why))
				}
			}
			if len(open) == 0 {
				return r
			}
		}
		if !calm && time.Since(began) > stormy {
			calm = true
			s.lab.calm(t)
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			t.Logf("still open: %d, such as %.300q", len(open), open)
		}
		if time.Now().After(deadline) {
			if err != nil {
				t.Fatalf("the server does not answer: %v\n%s", err, s.tail())
			}
			return r
		}
	}
}

// judge compares what Cordon says, what its trail says and what the tenant saw.
func (s *scene) judge(t *testing.T, r rows) {
	t.Helper()
	s.judgeEnds(t, r)
	s.judgeSecrets(t)
	trail := s.verifyTrail(t)
	ledger := s.lab.ledger(t)
	rep := witness.Compare(trail, ledger, s.lab.ClientID, s.cast.protected)
	for _, list := range []struct {
		what  string
		lines []string
	}{{"done unrecorded", rep.Unrecorded}, {"recorded, not done", rep.Unwitnessed}, {"protected and touched", rep.ProtectedTouched}, {"a second password", rep.Repeated}, {"verified without an effect", rep.Unproven}} {
		for _, l := range list.lines {
			t.Errorf("%s: %s", list.what, l)
		}
	}
	met, cut := 0, map[string]int{}
	for _, e := range ledger {
		if e.Kind == "login" {
			continue
		}
		met++
		for _, f := range e.Faults {
			cut[f]++
		}
	}
	t.Logf("%d requests, faults %v; %d of them changed something; %d intents, %d of them by a server that was killed before the answer; %d entries in the trail",
		met, cut, rep.Writes, rep.Intents, unheard(trail), len(trail))
	if rep.Writes == 0 || rep.Intents == 0 || cut["reset-before"] == 0 || cut["reset-after"] == 0 {
		t.Error("nothing was tested: no write, or no fault")
	}
}

// unheard counts the intents whose answer was never written down.
func unheard(trail []audit.Entry) int {
	open := map[any]bool{}
	for _, e := range trail {
		id := e.Data["clientRequestId"]
		switch {
		case e.Kind == audit.ActionIntent:
			open[id] = true
		case e.Kind == audit.ActionOutcome && e.Data["read"] == nil:
			delete(open, id)
		}
	}
	return len(open)
}

func (s *scene) judgeEnds(t *testing.T, r rows) {
	t.Helper()
	users := s.lab.users(t)
	ends := map[string]int{}
	for _, p := range s.people {
		o, u := r.of(p), users[p.id]
		if why := o.why(); why != "" {
			t.Errorf("%s (%s, %s): %s", p.name, p.id, p.kind, why)
			continue
		}
		bad := func(format string, args ...any) {
			t.Errorf("%s (%s, %s): in the tenant %s", p.name, p.id, p.kind, fmt.Sprintf(format, args...))
		}
		end := "as it must"
		resets := 0
		if _, ok := o.action("entra.user.reset_password"); ok {
			resets = 1
		}
		if o.resetForPerson() {
			end, resets = "waits for a person: the reset's outcome stayed unknown", 0
		}
		ends[string(p.kind)+": "+end]++
		if u.PasswordResets > 1 || u.DistinctPasswords != u.PasswordResets {
			bad("there were %d resets with %d passwords", u.PasswordResets, u.DistinctPasswords)
		}
		if u.PasswordResets != resets && p.kind != protected {
			bad("there were %d resets, want %d", u.PasswordResets, resets)
		}
		if enabled := p.kind != token && p.kind != asked; u.AccountEnabled != enabled {
			bad("accountEnabled is %v", u.AccountEnabled)
		}
		if (p.kind == leaked || p.kind == token) && u.SessionsValidFrom.Before(s.began.Truncate(time.Second)) && end == "as it must" {
			bad("no session was ended")
		}
		if p.kind == protected && (u.PasswordResets > 0 || u.SessionRevocations > 0) {
			bad("a protected account was touched")
		}
	}
	for _, e := range slices.Sorted(maps.Keys(ends)) {
		t.Logf("%3d × %s", ends[e], e)
	}
}

// verifyTrail verifies the log with the command, and against every checkpoint
// that was kept on the way, and returns its entries.
func (s *scene) verifyTrail(t *testing.T) []audit.Entry {
	t.Helper()
	pub, checkpoint := filepath.Join(s.dir, "audit.key.pub"), filepath.Join(s.dir, "checkpoint")
	out, err := run(t, s.bin, "audit", "verify", "--config", s.config, "--key", pub, "--checkpoint", checkpoint, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		OK               bool
		Entries, Pending int
	}
	if err := json.Unmarshal(out, &v); err != nil || !v.OK || v.Pending != 0 || v.Entries == 0 {
		t.Errorf("the trail does not verify: %v %s", err, out)
	}
	export, err := run(t, s.bin, "audit", "export", "--config", s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "audit.jsonl"), export, 0o600); err != nil { // for whoever looks into a failure
		t.Fatal(err)
	}
	text, err := os.ReadFile(pub)
	if err != nil {
		t.Fatal(err)
	}
	key, err := audit.NewKey(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, signed := range s.kept {
		kept, err := key.Open(signed)
		if err != nil {
			t.Errorf("a checkpoint kept on the way: %v", err)
			continue
		}
		latest, entries, err := audit.Import(bytes.NewReader(export))
		if err != nil {
			t.Fatal(err)
		}
		c, err := key.Open(latest)
		if err != nil {
			t.Fatal(err)
		}
		if rep, err := audit.Verify(entries, kept, c); err != nil || rep.Broken != nil {
			t.Errorf("against a checkpoint kept on the way: %v, %v", err, rep.Broken)
		}
	}
	t.Logf("the trail of %d entries verifies, against %d checkpoints kept on the way too", v.Entries, len(s.kept))
	_, entries, err := audit.Import(bytes.NewReader(export))
	if err != nil {
		t.Fatal(err)
	}
	var trail []audit.Entry
	for e, err := range entries {
		if err != nil {
			t.Fatal(err)
		}
		var a audit.Entry
		if err := json.Unmarshal(e.Payload, &a); err != nil {
			t.Fatalf("entry %d: %v", e.Index, err)
		}
		trail = append(trail, a)
	}
	return trail
}
