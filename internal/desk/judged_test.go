package desk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// What is made of alerts and incidents at Defender is on the timeline and proposed as
// the verdict, and it closes nothing; what Cordon said there itself is no proposal.
func TestDefenderProposesAVerdict(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	if v := q.view(); v.Proposal != nil || slices.ContainsFunc(v.Verdicts[0].There, func(s string) bool { return strings.Contains(s, "Defender's") }) {
		t.Fatalf("proposed %+v, told %q", v.Proposal, v.Verdicts[0].There)
	}
	a := q.Leaked("ad1", time.Hour)
	a.Tenant, a.Subject, a.UpdatedAt = desktest.Tenant, q.refs, a.DetectedAt
	a.Source, a.Title, a.State, a.IncidentID = signal.DefenderAlert, "DCSync", "new", "7"
	b := a
	b.ExternalID = "ad2#x"
	q.Store.SeedSignals(q.who.ID, a, b)
	if there := strings.Join(q.view().Verdicts[1].There, "\n"); !strings.Contains(there, "Defender's 2 alerts stay as they are") || !strings.Contains(there, signal.FalsePositive) {
		t.Errorf("before the verdict safe: %s", there)
	}
	q.Pass(time.Hour)
	judge := func(s signal.Signal, class string) signal.Signal {
		s.State, s.Classification, s.Detail, s.UpdatedAt = signal.Resolved, class, "notMalicious", q.Now()
		return s
	}
	said := func() (out []string) {
		for _, e := range q.view().Timeline {
			if e.Kind == "judged" {
				out = append(out, e.Text)
			}
		}
		return out
	}
	q.Store.SeedSignals(q.who.ID, judge(a, signal.FalsePositive))
	v := q.view()
	if v.Proposal == nil || v.Proposal.Word != casefile.Safe || v.Case.Verdict != nil || v.Proposal.Open == 0 || len(said()) != 1 {
		t.Fatalf("proposed %+v, timeline %q", v.Proposal, said())
	}
	// An incident that was merged into another one is followed.
	old := q.Now().Add(-2 * time.Hour)
	q.Store.SeedRecords(
		record.Record{Tenant: desktest.Tenant, Source: record.Incident, ExternalID: "7", Title: "one", State: "redirected", At: old, CorrelationID: "8"},
		record.Record{Tenant: desktest.Tenant, Source: record.Incident, ExternalID: "8", Title: "two", State: "resolved", Result: signal.ExpectedActivity, Reason: "securityTesting", At: old, UpdatedAt: q.Now()})
	if p := q.view().Proposal; p == nil || p.Word != casefile.Benign || !strings.Contains(p.Text, "they disagree") {
		t.Errorf("with the incident: %+v", p)
	}
	q.Store.SeedSignals(q.who.ID, judge(b, signal.TruePositive))
	if p := q.view().Proposal; p == nil || p.Word != casefile.Compromised {
		t.Errorf("with a true positive: %+v", p)
	}
	if got := said(); len(got) != 3 || !strings.Contains(strings.Join(got, "\n"), "incident 8 two resolved as informationalExpectedActivity (securityTesting)") {
		t.Errorf("timeline %q", got)
	}
	// What an action of Cordon's own said is on the timeline, and proposes nothing.
	q.Pass(time.Minute)
	q.Store.Seed(action.Action{Tenant: desktest.Tenant, ID: "act_9", Identity: q.who.ID, State: action.Verified, VerifiedAt: q.Now(),
		Params: map[string]any{action.ParamAlertIDs: "ad0,ad2", action.ParamClassification: signal.TruePositive}})
	if p := q.view().Proposal; p == nil || p.Word != casefile.Benign {
		t.Errorf("after our own word: %+v", p)
	}
	if !strings.Contains(strings.Join(said(), "\n"), "as Cordon told it") {
		t.Errorf("timeline %q", said())
	}
}
