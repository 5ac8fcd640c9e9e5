package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// maxIncidents is how many incidents of an identity are looked up for one view, and
// maxMerges how often one of them is followed into another.
const (
	maxIncidents = 20
	maxMerges    = 3
)

// judged is what somebody made at Defender of the identity's alerts and of the
// incidents they belong to.
func (s *Service) judged(ctx context.Context, t identity.Tenant, id identity.ID, signals []signal.Signal) ([]casefile.Judged, error) {
	incidents, err := s.incidents(ctx, t, signals)
	if err != nil {
		return nil, err
	}
	out := casefile.JudgedOf(signals, incidents)
	if len(out) == 0 {
		return nil, nil
	}
	acts, err := s.store.Actions(ctx, ActionFilter{Tenant: t, Identity: id, State: []action.State{action.Verified}}, Page{Limit: 500})
	if err != nil {
		return nil, fmt.Errorf("read what Defender was told: %w", err)
	}
	for _, a := range acts.Items {
		named, _ := a.Params[action.ParamAlertIDs].(string)
		class, _ := a.Params[action.ParamClassification].(string)
		for n := range out {
			j := &out[n]
			if j.What == "alert" && class != "" && j.Classification == class && !j.At.After(a.VerifiedAt) && slices.Contains(strings.Split(named, ","), j.ID) {
				j.Own = true
			}
		}
	}
	return out, nil
}

// incidents are the records of the incidents that the signals name, and of those that
// they were merged into.
func (s *Service) incidents(ctx context.Context, t identity.Tenant, signals []signal.Signal) ([]record.Record, error) {
	var ids []string
	for _, g := range signals {
		if g.IncidentID != "" && !slices.Contains(ids, g.IncidentID) && len(ids) < maxIncidents {
			ids = append(ids, g.IncidentID)
		}
	}
	var out []record.Record
	for _, id := range ids {
		for range maxMerges {
			page, err := s.store.Records(ctx, record.Query{Tenant: t, Sources: []record.Source{record.Incident}, ExternalID: id, Limit: 1})
			if err != nil {
				return nil, fmt.Errorf("read the incident %s: %w", id, err)
			}
			if len(page.Records) == 0 {
				break
			}
			r := page.Records[0]
			out = append(out, r)
			if id = r.CorrelationID; id == "" {
				break
			}
		}
	}
	return out, nil
}

// classify says how Defender would be told of a verdict, and that it is not by itself.
func (s *Service) classify(w casefile.Word, signals []signal.Signal) []string {
	var open []string
	for _, g := range signals {
		if id, _, _ := strings.Cut(g.ExternalID, "#"); g.Source == signal.DefenderAlert && g.Classification == "" && (g.State.Open() || g.ClosedUnjudged()) && !slices.Contains(open, id) {
			open = append(open, id)
		}
	}
	if len(open) == 0 {
		return nil
	}
	book := map[casefile.Word]string{casefile.Compromised: "classify-true-positive", casefile.Safe: "classify-false-positive", casefile.Benign: "classify-expected-activity"}[w]
	class := map[casefile.Word]string{casefile.Compromised: signal.TruePositive, casefile.Safe: signal.FalsePositive, casefile.Benign: signal.ExpectedActivity}[w]
	out := []string{fmt.Sprintf("Defender's %s stay as they are: the verdict closes nothing there.", plural(len(open), "alert", "alerts"))}
	if _, err := s.playbook(book); err != nil {
		return append(out, "No playbook that is loaded would tell Defender: classify them there as "+class+".")
	}
	return append(out, fmt.Sprintf("To tell it (%s, resolved), start the playbook %s before the case is closed: it is planned, approved, read back and can be undone. Whoever else the same alerts name sees it too.", class, book))
}
