package desk_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// An inquiry is a scene with one person at risk, whose case can be worked.
type inquiry struct {
	*desktest.Scene
	t    *testing.T
	cas  casefile.ID
	who  identity.Identity
	refs identity.Ref
}

func newInquiry(t *testing.T) inquiry {
	t.Helper()
	s := desktest.Empty()
	p := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	travel := s.Travel("d2", 2*time.Hour)
	travel.RequestID, travel.Timing = "req-1", "realtime"
	travel.Info = []signal.KV{{Key: "userAgent", Value: json.RawMessage(`"curl/8"`)}, {Key: "riskReasons", Value: json.RawMessage(`["matched TI_RI_0042"]`)}}
	c := s.AddAtRisk(p, s.Leaked("d1", time.Hour), travel)
	return inquiry{s, t, c, p, p.Accounts[0].Ref}
}

func (q inquiry) view() desk.CaseView {
	q.t.Helper()
	v, err := q.Desk.CaseView(q.t.Context(), q.Operator("owner"), q.cas)
	if err != nil {
		q.t.Fatal(err)
	}
	return v
}

func kindIs(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestInvestigation(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	v := q.view()
	if v.Investigation.Total < 15 || v.Investigation.Answered != 0 {
		t.Fatalf("%d questions, %d answered", v.Investigation.Total, v.Investigation.Answered)
	}
	at := slices.IndexFunc(v.Investigation.Steps, func(s casefile.Step) bool { return slices.Contains(s.About, "Leaked credentials") })
	if at < 0 {
		t.Fatal("the leak asks no question of its own")
	}
	id := v.Investigation.Steps[at].ID
	ctx, analyst := t.Context(), q.Operator("analyst")
	for _, a := range []casefile.Answer{casefile.Unclear, casefile.No} {
		q.Pass(time.Minute)
		var err error
		if v, err = q.Desk.WriteNote(ctx, analyst, q.cas, id, a, "looked it up"); err != nil {
			t.Fatal(err)
		}
	}
	got := v.Investigation.Steps[slices.IndexFunc(v.Investigation.Steps, func(s casefile.Step) bool { return s.ID == id })].Answered
	if v.Investigation.Answered != 1 || got == nil || got.Answer != casefile.No || got.By != "analyst" || got.At.IsZero() {
		t.Errorf("%d answered; the latest is %+v", v.Investigation.Answered, got)
	}
	v, err := q.Desk.WriteNote(ctx, analyst, q.cas, "", "", "rang back on the number of the contract")
	if err != nil || len(v.Investigation.Notes) != 1 {
		t.Errorf("notes %+v, %v", v.Investigation.Notes, err)
	}
	if !slices.ContainsFunc(v.Timeline, func(e desk.Event) bool {
		return e.Kind == string(audit.NoteWritten) && strings.Contains(e.Text, "rang back")
	}) {
		t.Error("the note is not in the timeline")
	}
	_, err = q.Desk.WriteNote(ctx, q.Operator("auditor"), q.cas, "", "", "x")
	kindIs(t, "an auditor's note", err, fault.Denied)
	_, err = q.Desk.WriteNote(ctx, analyst, q.cas, "nobody asked", casefile.Yes, "")
	kindIs(t, "an unasked question", err, fault.NotFound)
	_, err = q.Desk.WriteNote(ctx, analyst, q.cas, id, "perhaps", "")
	kindIs(t, "no answer", err, fault.Invalid)
	_, err = q.Desk.WriteNote(ctx, analyst, q.cas, "", "", "  ")
	kindIs(t, "an empty note", err, fault.Invalid)
}

// What a verdict would do is said before it is given, and comes true.
func TestConsequencesComeTrue(t *testing.T) {
	t.Parallel()
	for _, word := range []casefile.Word{casefile.Compromised, casefile.Safe, casefile.Benign} {
		t.Run(string(word), func(t *testing.T) {
			t.Parallel()
			q := newInquiry(t)
			v := q.view()
			at := slices.IndexFunc(v.Verdicts, func(c desk.Consequence) bool { return c.Word == word })
			if at < 0 {
				t.Fatalf("nothing is said of %s: %+v", word, v.Verdicts)
			}
			said := v.Verdicts[at]
			text := strings.Join(slices.Concat(said.Here, said.There, said.Lasting), " ")
			if word != casefile.Compromised && !strings.Contains(text, "password is unchanged") {
				t.Errorf("%s: it is not said that the password is unchanged: %s", word, text)
			}
			if word != casefile.Compromised && !strings.Contains(text, "cannot be undone") {
				t.Errorf("%s: it is not said that it is final there", word)
			}
			if _, err := q.Desk.Verdict(t.Context(), q.Operator("owner"), q.cas, word, "a drill"); err != nil {
				t.Fatal(err)
			}
			v = q.view()
			if v.Assessment.Level != said.Level || v.Assessment.Score != said.Score {
				t.Errorf("said %s %d, became %s %d", said.Level, said.Score, v.Assessment.Level, v.Assessment.Score)
			}
			if word != casefile.Compromised && len(v.Residuals) != 1 {
				t.Errorf("password unchanged since the detection: %+v", v.Residuals)
			}
			if len(v.Verdicts) != 0 {
				t.Error("a closed case still offers verdicts")
			}
		})
	}
}

// The view shows the sign-in apart, Microsoft's opinion over time, and the stored
// assessment made again.
func TestWorkOfACase(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	held := signal.AccountRisk{Tenant: desktest.Tenant, Subject: q.refs, Level: signal.LevelHigh, State: signal.StateAtRisk, UpdatedAt: q.Now().Add(-time.Hour)}
	past := held
	past.State, past.Level, past.Detail, past.By, past.UpdatedAt = signal.StateDismissed, signal.LevelNone, "adminDismissedAllRiskForUser", "somebody", q.Now().Add(-48*time.Hour)
	q.Store.SeedRisks(q.who.ID, past, held)
	q.Store.SeedRecords(record.Record{Tenant: desktest.Tenant, Source: record.DirectoryAudit, ExternalID: "a1", Type: "User registered security info", Subject: q.refs, At: q.Now().Add(-30 * time.Minute), Result: record.Success})
	for n, r := range []*record.Risk{
		{During: signal.LevelLow, Aggregated: signal.LevelHigh, State: signal.StateAtRisk, Types: []string{"unfamiliarFeatures"}}, {During: signal.LevelNone, Aggregated: signal.LevelNone, State: signal.StateNone}, {},
	} {
		q.Store.SeedRecords(record.Record{Tenant: desktest.Tenant, Source: record.SignIn, ExternalID: fmt.Sprint("s", n), App: fmt.Sprint("App", n), Subject: q.refs, At: q.Now().Add(-20 * time.Minute), Risk: r})
	}
	v := q.view()
	for n, want := range []string{"signed in to App0; Microsoft's risk of this sign-in: low when it happened, high since (atRisk), for unfamiliarFeatures", "signed in to App1", "signed in to App2"} {
		if !slices.ContainsFunc(v.Timeline, func(e desk.Event) bool { return e.Text == want && (e.Level == signal.LevelHigh) == (n == 0) }) {
			t.Errorf("the timeline has no %q with its level", want)
		}
	}
	if len(v.SignIns) != 1 || v.SignIns[0].RealTime != signal.LevelMedium || v.SignIns[0].RequestID != "req-1" {
		t.Errorf("sign-ins %+v", v.SignIns)
	}
	if len(v.Microsoft) != 1 || v.Microsoft[0].Level != signal.LevelHigh {
		t.Errorf("Microsoft holds %+v", v.Microsoft)
	}
	if v.Recomputed == nil || !v.Recomputed.Same {
		t.Errorf("made again: %+v, stored %d", v.Recomputed, v.Assessment.Score)
	}
	for kind, text := range map[string]string{"risk": "dismisses the risk of the user", "assessment": "assessed at high", "record": "somebody registered a method to sign in"} {
		if !slices.ContainsFunc(v.Timeline, func(e desk.Event) bool { return e.Kind == kind && strings.Contains(e.Text, text) }) {
			t.Errorf("the timeline has no %s with %q", kind, text)
		}
	}
	if !slices.ContainsFunc(v.Checks, func(c desk.Check) bool { return c.Bad && strings.Contains(c.Text, "password changed since") }) {
		t.Errorf("checks %+v", v.Checks)
	}
	for n := 1; n < len(v.Timeline); n++ {
		if v.Timeline[n].At.After(v.Timeline[n-1].At) {
			t.Errorf("the timeline is out of order at %d", n)
		}
	}
}

func TestElsewhereAndSweep(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	other := desktest.Person(8, "Robin Lake", "robin.lake@corp.example", q.Now())
	q.AddAtRisk(other, q.Travel("d9", time.Hour)) // the same address
	third := desktest.Person(3, "Kim Meadow", "kim.meadow@corp.example", q.Now())
	far := q.Travel("d10", time.Hour)
	far.IP = "198.51.100.200"
	q.AddAtRisk(third, far)
	bystander := identity.Ref{Provider: identity.EntraID, ObjectID: desktest.ObjectID(77), UPN: "sasha@corp.example"}
	at := q.Now()
	signIn := func(id string, ref identity.Ref, res record.Result) record.Record {
		return record.Record{Tenant: desktest.Tenant, Source: record.SignIn, ExternalID: id, Subject: ref, At: at.Add(-time.Hour), IP: "203.0.113.7", Result: res}
	}
	audited := func(id, what string, ago time.Duration, res record.Result) record.Record {
		return record.Record{Tenant: desktest.Tenant, Source: record.DirectoryAudit, ExternalID: id, Type: what, Subject: q.refs, At: at.Add(-ago), Result: res}
	}
	elses := audited("a5", "Add member to role", 10*time.Minute, record.Success)
	elses.Subject = bystander
	q.Store.SeedRecords(signIn("s1", q.refs, record.Success), signIn("s2", bystander, record.Failure),
		audited("a1", "User registered security info", 90*time.Minute, record.Success), audited("a2", "Consent to application", 80*time.Minute, record.Success),
		audited("a3", "Add device", 5*time.Hour, record.Success), audited("a4", "Add member to role", time.Minute, record.Failure), elses)
	e, err := q.Desk.Elsewhere(t.Context(), q.Operator("auditor"), q.cas)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []desk.Trait{{Kind: "address", Value: "203.0.113.7"}, {Kind: "user agent", Value: "curl/8"}, {Kind: "rule", Value: "TI_RI_0042"}} {
		if !slices.Contains(e.Traits, want) {
			t.Errorf("no trait %+v in %+v", want, e.Traits)
		}
	}
	var names []string
	for _, m := range e.Matches {
		names = append(names, fmt.Sprintf("%s %d %d %d %v", m.Name, m.Signals, m.SignIns, m.Failed, m.Case != ""))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"Robin Lake 1 0 0 true", "sasha@corp.example 0 1 1 false"}, names); diff != "" {
		t.Errorf("elsewhere:\n%s", diff)
	}
	w, err := q.Desk.Sweep(t.Context(), q.Operator("auditor"), q.cas)
	if err != nil {
		t.Fatal(err)
	}
	left := func(s desk.Swept) (out []string) {
		for _, l := range s.Left {
			out = append(out, string(l.Kind)+" "+l.Record)
		}
		return out
	}
	if diff := cmp.Diff([]string{"consent a2", "authentication method a1"}, left(w)); diff != "" {
		t.Errorf("left behind since the first signal:\n%s", diff)
	}
	if w, err = q.Desk.SweepTenant(t.Context(), q.Operator("auditor"), desktest.Tenant, at.Add(-24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"role a5", "consent a2", "authentication method a1", "device a3"}, left(w)); diff != "" {
		t.Errorf("left behind in the tenant:\n%s", diff)
	}
	hunt, err := q.Desk.Hunt(t.Context(), q.Operator("auditor"), q.cas)
	if err != nil || !hunt.Since.Before(w.Since) || len(hunt.Queries) == 0 || !strings.Contains(hunt.Queries[0].Text, `"`+q.refs.ObjectID+`"`) {
		t.Errorf("to ask Defender: %+v, %v", hunt, err)
	}
	_, err = q.Desk.Hunt(t.Context(), q.Operator("elsewhere"), q.cas)
	kindIs(t, "of another tenant", err, fault.NotFound)
}

func TestSimilarCases(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	other := desktest.Person(8, "Robin Lake", "robin.lake@corp.example", q.Now())
	c := q.AddAtRisk(other, q.Travel("d9", time.Hour))
	if _, err := q.Desk.Verdict(t.Context(), q.Operator("owner"), c, casefile.Benign, "a test"); err != nil {
		t.Fatal(err)
	}
	p, err := q.Desk.Similar(t.Context(), q.Operator("auditor"), q.cas)
	if err != nil || len(p.Cases) != 1 || p.Cases[0].Case != c || p.Verdicts[casefile.Benign] != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if diff := cmp.Diff([]string{"Atypical travel", "address 203.0.113.7"}, p.Cases[0].Shares); diff != "" {
		t.Errorf("shares:\n%s", diff)
	}
}

// Anybody can check the export with sha256sum, and its manifest's hash is in the
// trail.
func TestEvidence(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	ctx := t.Context()
	if _, err := q.Desk.WriteNote(ctx, q.Operator("owner"), q.cas, "", "", "<script>*stars*</script>\n# not a heading"); err != nil {
		t.Fatal(err)
	}
	e, err := q.Desk.Export(ctx, q.Operator("owner"), q.cas)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for _, f := range e.Files {
		sum := sha256.Sum256([]byte(f.Text))
		fmt.Fprintf(&lines, "%s  %s\n", hex.EncodeToString(sum[:]), f.Name)
		if strings.HasSuffix(f.Name, ".json") && !json.Valid([]byte(f.Text)) {
			t.Errorf("%s is no JSON", f.Name)
		}
	}
	if lines.String() != e.Manifest {
		t.Errorf("manifest:\n%s", cmp.Diff(lines.String(), e.Manifest))
	}
	sum := sha256.Sum256([]byte(e.Manifest))
	entries := q.Store.Entries()
	if last := entries[len(entries)-1]; last.Kind != audit.CaseExported || last.Data["sha256"] != hex.EncodeToString(sum[:]) || e.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the trail says %+v", last)
	}
	at := slices.IndexFunc(e.Files, func(f desk.EvidenceFile) bool { return f.Name == "report.md" })
	if text := e.Files[at].Text; !strings.Contains(text, "Avery Brook") || strings.Contains(text, "<script>") || strings.Contains(text, "\n# not") {
		t.Errorf("report:\n%s", text)
	}
	again, err := q.Desk.Export(ctx, q.Operator("owner"), q.cas)
	if err != nil {
		t.Fatal(err)
	}
	var input risk.Input
	n := slices.IndexFunc(again.Files, func(f desk.EvidenceFile) bool { return f.Name == "assessment-input.json" })
	if err := json.Unmarshal([]byte(again.Files[n].Text), &input); err != nil {
		t.Fatal(err)
	}
	stored := q.view().Assessment
	if a := risk.Assess(input, stored.At); a.Score != stored.Score || a.Level != stored.Level {
		t.Errorf("from the exported input %d %s, stored %d %s", a.Score, a.Level, stored.Score, stored.Level)
	}
	_, err = q.Desk.Export(ctx, q.Operator("analyst"), q.cas)
	kindIs(t, "an analyst's export", err, fault.Denied)
}

// onPremises is the same person's account in Active Directory, known apart.
func onPremises(s *desktest.Scene) identity.Identity {
	return identity.Identity{
		Tenant: desktest.Tenant, ID: "id_prem", Kind: identity.KindPerson, Name: "Avery Brook", CreatedAt: s.Now().Add(-time.Hour), UpdatedAt: s.Now(),
		Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.ActiveDirectory, Kind: identity.KindPerson, SID: "S-1-5-21-1-2-3-1001", SAM: "avery.brook", Domain: "corp.example", DisplayName: "Avery Brook"}}},
	}
}

func TestLinkAndUnlink(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	ctx, analyst := t.Context(), q.Operator("analyst")
	prem := onPremises(q.Scene)
	hash := signal.Signal{Source: signal.DefenderAlert, ExternalID: "a1", Type: "Suspected identity theft (pass-the-hash)", Title: "Suspected identity theft (pass-the-hash)", Level: signal.LevelMedium, State: "new", ActivityAt: q.Now().Add(-time.Hour), DetectedAt: q.Now().Add(-time.Hour)}
	premCase := q.AddAtRisk(prem, hash)
	links, err := q.Desk.LinksOf(ctx, analyst, q.who.ID, time.Time{})
	if err != nil || len(links.Proposals) != 1 || links.Proposals[0].Other != prem.ID {
		t.Fatalf("proposed %+v, %v", links.Proposals, err)
	}
	before := q.view()

	_, err = q.Desk.Link(ctx, analyst, q.who.ID, prem.ID, " ")
	kindIs(t, "without a reason", err, fault.Invalid)
	_, err = q.Desk.Link(ctx, q.Operator("auditor"), q.who.ID, prem.ID, "r")
	kindIs(t, "by an auditor", err, fault.Denied)
	_, err = q.Desk.Link(ctx, analyst, q.who.ID, q.who.ID, "r")
	kindIs(t, "with itself", err, fault.Invalid)
	_, err = q.Desk.Link(ctx, q.Operator("subject"), q.who.ID, prem.ID, "r")
	kindIs(t, "by the subject", err, fault.Denied)

	q.Pass(time.Hour)
	v, err := q.Desk.Link(ctx, analyst, q.who.ID, prem.ID, "same person, says the staff list")
	if err != nil {
		t.Fatal(err)
	}
	linkedAt := q.Now()
	if len(v.Identity.Accounts) != 2 || v.Assessment.Score <= before.Assessment.Score || v.Assessment.Driver() == "" {
		t.Errorf("accounts %d, score %d (before %d), driver %q", len(v.Identity.Accounts), v.Assessment.Score, before.Assessment.Score, v.Assessment.Driver())
	}
	gone, err := q.Desk.CaseView(ctx, analyst, premCase)
	if err != nil || gone.Case.Status != casefile.Closed || gone.Case.Verdict.Word != casefile.Joined || !strings.Contains(gone.Case.Verdict.Reason, string(q.cas)) {
		t.Errorf("the other case: %+v, %v", gone.Case, err)
	}
	if o, err := q.Desk.IdentityView(ctx, analyst, prem.ID); err != nil || o.Identity.ID != q.who.ID {
		t.Errorf("asked for the emptied one: %s, %v", o.Identity.ID, err)
	}
	_, err = q.Desk.Link(ctx, analyst, q.who.ID, prem.ID, "again")
	kindIs(t, "linked twice", err, fault.Conflict)

	accounts := func(at time.Time) int {
		l, err := q.Desk.LinksOf(ctx, analyst, q.who.ID, at)
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Accounts)
	}
	q.Pass(24 * time.Hour)
	if a, b := accounts(linkedAt.Add(-time.Minute)), accounts(linkedAt.Add(time.Minute)); a != 1 || b != 2 {
		t.Errorf("accounts before %d, after %d", a, b)
	}
	back, err := q.Desk.Unlink(ctx, analyst, q.who.ID, "S-1-5-21-1-2-3-1001", "two people of one name")
	if err != nil {
		t.Fatal(err)
	}
	if back.Identity.ID != prem.ID || len(back.Identity.Accounts) != 1 || back.Assessment == nil || back.Assessment.Score == 0 {
		t.Errorf("back as %s with %d accounts, assessment %+v", back.Identity.ID, len(back.Identity.Accounts), back.Assessment)
	}
	after := q.view()
	ignore := cmpopts.IgnoreFields(risk.Assessment{}, "At", "Score", "Reasons") // time passed: the travel decayed
	if diff := cmp.Diff(*before.Assessment, *after.Assessment, ignore); diff != "" {
		t.Errorf("undone, the opinion is not what it was:\n%s", diff)
	}
	if a := accounts(linkedAt.Add(time.Minute)); a != 2 {
		t.Errorf("on the day they were linked: %d accounts", a)
	}
	_, err = q.Desk.Unlink(ctx, analyst, q.who.ID, desktest.ObjectID(1), "r")
	kindIs(t, "the only account", err, fault.Conflict)
	kinds := map[audit.Kind]int{}
	for _, e := range q.Store.Entries() {
		kinds[e.Kind]++
	}
	if kinds[audit.AccountLinked] != 1 || kinds[audit.AccountUnlinked] != 1 {
		t.Errorf("the trail: %v", kinds)
	}
}

// While something is under way nothing is moved away from under it.
func TestLinkWaitsForRuns(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	q.Begin("leaked-credentials", q.who.ID, q.cas)
	prem := onPremises(q.Scene)
	q.Store.Seed(prem)
	_, err := q.Desk.Link(t.Context(), q.Operator("analyst"), prem.ID, q.who.ID, "r")
	kindIs(t, "with a run under way", err, fault.Conflict)
}

func TestExceptionsLowerAndEnd(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	p := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	c := s.AddAtRisk(p, s.Travel("d2", time.Hour))
	ctx, responder := t.Context(), s.Operator("responder")
	score := func() int {
		v, err := s.Desk.CaseView(ctx, responder, c)
		if err != nil {
			t.Fatal(err)
		}
		return v.Case.Score
	}
	before := score()
	e := risk.Exception{Tenant: desktest.Tenant, Kind: risk.Egress, Name: "west", Ranges: []string{"203.0.113.0/24"}, Owner: "network team", Reason: "our VPN", Until: s.Now().Add(48 * time.Hour)}
	for op, want := range map[access.OperatorID]fault.Kind{"analyst": fault.Denied, "auditor": fault.Denied, "elsewhere": fault.NotFound} {
		_, err := s.Desk.MakeException(ctx, s.Operator(op), e)
		kindIs(t, string(op), err, want)
	}
	bad := e
	bad.Owner = ""
	_, err := s.Desk.MakeException(ctx, responder, bad)
	kindIs(t, "without an owner", err, fault.Invalid)
	own := risk.Exception{Tenant: desktest.Tenant, Kind: risk.Traveller, Identity: p.ID, Name: "me", Owner: "me", Reason: "a trip", Until: s.Now().Add(time.Hour)}
	_, err = s.Desk.MakeException(ctx, s.Operator("subject"), own)
	kindIs(t, "for oneself", err, fault.Denied)

	v, err := s.Desk.MakeException(ctx, responder, e)
	if err != nil || v.Lowered != 1 || !v.InForce {
		t.Fatalf("%+v, %v", v, err)
	}
	if got := score(); got >= before {
		t.Errorf("before %d, lowered %d", before, got)
	}
	view, err := s.Desk.CaseView(ctx, responder, c)
	if err != nil || len(view.Timeline) == 0 || !strings.Contains(view.Assessment.Reasons[0].Text, "our VPN") {
		t.Errorf("the signal is not shown with what lowered it: %+v, %v", view.Assessment.Reasons, err)
	}
	if _, err := s.Desk.EndException(ctx, s.Operator("analyst"), v.ID, "moved"); err != nil {
		t.Fatal(err)
	}
	if got := score(); got != before {
		t.Errorf("before %d, after its end %d", before, got)
	}
	_, err = s.Desk.EndException(ctx, responder, v.ID, "moved")
	kindIs(t, "ended twice", err, fault.Conflict)
	list, err := s.Desk.Exceptions(ctx, s.Operator("auditor"), "")
	if err != nil || len(list) != 1 || list[0].InForce || list[0].EndedBy != "analyst" {
		t.Errorf("%+v, %v", list, err)
	}

	// One that comes to its own end counts no longer, without another signal.
	e.Until = s.Now().Add(time.Hour)
	if v, err = s.Desk.MakeException(ctx, responder, e); err != nil {
		t.Fatal(err)
	}
	follow := func(want int) {
		t.Helper()
		if n, err := s.Desk.FollowExceptions(ctx); err != nil || n != want {
			t.Errorf("followed %d, %v, want %d", n, err, want)
		}
	}
	s.Pass(59 * time.Minute)
	follow(0)
	if got := score(); got >= before {
		t.Errorf("before %d, in force %d", before, got)
	}
	s.Pass(time.Minute)
	follow(1)
	if got := score(); got < before-1 { // an hour passed
		t.Errorf("before %d, after its own end %d", before, got)
	}
	follow(0)
	ends := 0
	if view, err = s.Desk.CaseView(ctx, responder, c); err != nil || view.Recomputed == nil || !view.Recomputed.Same {
		t.Errorf("made again: %+v, %v", view.Recomputed, err)
	}
	for _, x := range s.Store.Entries() {
		if x.Kind == audit.ExceptionEnded && x.Data["exception"] == v.ID {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("the trail tells its end %d times", ends)
	}
}

// shut cannot tell the signals of one identity.
type shut struct {
	*desktest.Store
	of identity.ID
}

func (s shut) Signals(ctx context.Context, f desk.SignalFilter, p desk.Page) (desk.List[signal.Signal], error) {
	if f.Identity == s.of {
		return desk.List[signal.Signal]{}, fault.Errorf(fault.Unavailable, "its signals cannot be read")
	}
	return s.Store.Signals(ctx, f, p)
}

// What an exception's end brings is its own: another one whose end cannot be followed
// keeps nobody's opinion lowered, and one that has come to its end is not ended again.
func TestOneExceptionsEndKeepsNoOther(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	p := desktest.Person(1, "Avery Brook", "avery.brook@corp.example", s.Now())
	s.AddAtRisk(p, s.Travel("d1", time.Hour))
	ctx, op := t.Context(), s.Operator("responder")
	var made []desk.ExceptionView
	for _, e := range []risk.Exception{
		{Kind: risk.Traveller, Identity: p.ID, Name: "trip"}, {Kind: risk.Egress, Name: "west", Ranges: []string{"203.0.113.0/24"}}, {Kind: risk.Traveller, Identity: p.ID, Name: "second trip"},
	} {
		e.Tenant, e.Owner, e.Reason, e.Until, e.FollowedAt = desktest.Tenant, "network team", "ours", s.Now().Add(time.Hour), s.Now()
		v, err := s.Desk.MakeException(ctx, op, e)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, v)
	}
	s.Pass(time.Hour)
	d, err := desk.New(desk.Options{
		Store: shut{s.Store, p.ID}, Driver: s.Driver, Playbooks: func() desk.Playbooks { return nil }, Catalogue: &action.Catalogue{},
		Policy: s.Driver.Policy, Operators: s.Operators, Now: s.Now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.FollowExceptions(ctx); n != 1 || !errors.Is(err, fault.Unavailable) {
		t.Errorf("followed %d, %v; want the one in the middle, and why not the others", n, err)
	}
	if n, err := s.Desk.FollowExceptions(ctx); n != 2 || err != nil {
		t.Errorf("followed %d, %v; want the two that were left", n, err)
	}
	for _, v := range made {
		_, err := s.Desk.EndException(ctx, op, v.ID, "late")
		kindIs(t, "after its own end", err, fault.Conflict)
	}
}

// Who is at risk does not lower what is thought of an address either, which may be
// their own.
func TestWhoIsAtRiskMakesNoException(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	s.AddAtRisk(desktest.Person(2, "Robin Lake", "robin.lake@corp.example", s.Now()), s.Leaked("d2", time.Hour))
	_, err := s.Desk.MakeException(t.Context(), s.Operator("at-risk"), risk.Exception{
		Tenant: desktest.Tenant, Kind: risk.Egress, Name: "west", Ranges: []string{"203.0.113.0/24"}, Owner: "network team", Reason: "our VPN", Until: s.Now().Add(48 * time.Hour),
	})
	kindIs(t, "an exception by somebody at risk", err, fault.Denied)
}

// The opinion that a verdict leaves behind rests on the exceptions in force, as every
// other does: it can be made again.
func TestAVerdictKnowsTheExceptions(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	if _, err := q.Desk.MakeException(t.Context(), q.Operator("responder"), risk.Exception{
		Tenant: desktest.Tenant, Kind: risk.Egress, Name: "west", Ranges: []string{"203.0.113.0/24"}, Owner: "network team", Reason: "our VPN", Until: q.Now().Add(48 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	q.Pass(time.Minute)
	if _, err := q.Desk.Verdict(t.Context(), q.Operator("owner"), q.cas, casefile.Compromised, "a drill"); err != nil {
		t.Fatal(err)
	}
	if v := q.view(); v.Recomputed == nil || !v.Recomputed.Same {
		t.Errorf("stored %d, made again: %+v", v.Assessment.Score, v.Recomputed)
	}
}

func TestReplayWithOtherWeights(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	w, err := risk.ParseWeights([]byte(`{"kinds":{"leakedCredentials":{"prior":0.05,"floor":"none"},"unlikelyTravel":{"prior":0.05}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := q.Desk.Replay(t.Context(), q.Operator("auditor"), desktest.Tenant, w, "")
	if err != nil || r.Looked != 1 || len(r.Changed) != 1 || r.Changed[0].With.Level != signal.LevelLow || r.Changed[0].Now.Level != signal.LevelHigh {
		t.Errorf("%+v, %v", r, err)
	}
	if after := q.view(); after.Assessment.Level != signal.LevelHigh {
		t.Error("the replay was stored")
	}
}
