package entraid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// idsPerFeedback is how many users one call may carry. Source: Microsoft Graph
// beta, "riskyUser: dismiss": at most 60. Nowhere said of confirmCompromised.
const idsPerFeedback = 60

// idsPerReading is how many are read back at once: what a confirmation leaves behind is
// read by time, so many to a page as that list gives. Source: Microsoft Graph, "List
// riskDetections": $top at most 500.
const (
	idsPerReading = 240
	tracesPerPage = 500
)

// feedback tells Entra ID Protection what we think of users or workloads. It is
// processed offline: isProcessing says that it is still under way.
type feedback struct {
	directory
	subjects
	spec    action.Spec
	call    string               // below the list of those at risk
	reached func(riskyUser) bool // the wanted state
	leaves  string               // the riskEventType of the detection it leaves behind; "" when none
}

var _ action.Type = (*feedback)(nil)

// subjects say whom feedback is about, in Graph's names.
type subjects struct {
	atRisk     string // the list of those at risk
	fields     string // of an entry, what we use
	ids        string // in the body of a call
	detections string // the list of detections
	owner      string // of a detection: the subject's id
	// exist looks whether the subjects are there and may be told about; nil: who was
	// never at risk is not known.
	exist func(context.Context, []action.Request) []action.Look
	beta  bool
}

func people(d directory) subjects {
	return subjects{atRisk: "riskyUsers", fields: "id,isDeleted,isProcessing,riskLevel,riskState,riskDetail", ids: "userIds", detections: "riskDetections", owner: "userId",
		exist: func(ctx context.Context, reqs []action.Request) []action.Look {
			return d.look(ctx, reqs, func(u user) string {
				if u.guest() {
					return "a guest's risk belongs to the home tenant"
				}
				return ""
			}, func(sighting) (any, string, bool) { return nil, "", false })
		}}
}

func workloads(d directory) subjects {
	return subjects{atRisk: "riskyServicePrincipals", fields: "id,isProcessing,riskLevel,riskState,riskDetail", ids: "servicePrincipalIds",
		detections: "servicePrincipalRiskDetections", owner: "servicePrincipalId",
		exist: func(ctx context.Context, reqs []action.Request) []action.Look {
			return d.principals().look(ctx, reqs, func(principal) string { return "" }, func(principal) (any, string, bool) { return nil, "", false })
		}}
}

// A riskyUser is Graph's riskyUser or riskyServicePrincipal, the fields we use,
// under their names. Who was never at risk is none: all empty.
type riskyUser struct {
	ID           string `json:"id,omitempty"`
	IsDeleted    bool   `json:"isDeleted,omitempty"`
	IsProcessing bool   `json:"isProcessing,omitempty"`
	RiskLevel    string `json:"riskLevel"`
	RiskState    string `json:"riskState"`
	RiskDetail   string `json:"riskDetail"`

	ReadAt time.Time `json:"readAt,omitzero"`  // ours: Graph's clock at the reading
	Missed bool      `json:"missed,omitempty"` // ours: a reading of many did not show it, and nothing else is known
}

func confirmSpec() action.Spec {
	s := feedbackSpec()
	s.Name, s.Title = ConfirmCompromised, "Confirm the user compromised"
	s.Summary = "Entra ID Protection counts the user as compromised, at high risk: risk-based access rules apply at once."
	s.Undo = DismissRisk
	s.Proof = "`riskState` is `confirmedCompromised` and nothing is being processed; or, where a remedy closed the risk meanwhile or very many are read at once, the detection that the confirmation left behind."
	s.ReadBatch = idsPerReading
	s.Permissions = append(s.Permissions, "IdentityRiskEvent.Read.All")
	s.Limits = "It blocks nobody by itself: without a risk-based access rule nothing else happens. Undone only where no risk stood before, since taking it back dismisses all of the user's risk."
	return s
}

func dismissSpec() action.Spec {
	s := feedbackSpec()
	s.Name, s.Title = DismissRisk, "Dismiss the user's risk"
	s.Summary = "Entra ID Protection counts the user as not at risk; all of the user's detections are closed."
	s.Proof = "`riskState` is `none`, `remediated`, `dismissed` or `confirmedSafe`, and nothing is being processed."
	s.Irreversible = "Microsoft offers no way to reopen a risk that was dismissed"
	s.Limits = "It changes no password and ends no session. Deleted users cannot be dismissed."
	return s
}

func feedbackSpec() action.Spec {
	return action.Spec{
		Version: 1, Provider: identity.EntraID, Effect: action.EffectVerdict,
		Permissions: []string{"IdentityRiskyUser.ReadWrite.All", "User.Read.All"},
		Batch:       idsPerFeedback, Bucket: action.BucketIdentityProtection,
		ReadBatch: idsPerFeedback, ReadBucket: action.BucketIdentityProtection,
		Propagation: 30 * time.Second, Within: 15 * time.Minute,
	}
}

func safeSpec() action.Spec {
	s := feedbackSpec()
	s.Name, s.Title = ConfirmSafe, "Confirm the user safe"
	s.Summary = "Entra ID Protection counts the user as safe: all of the user's detections are closed as false, and what it knows of the user's habits is learnt anew."
	s.Proof = "`riskState` is `confirmedSafe` or `none`, and nothing is being processed."
	s.Irreversible = "Microsoft offers no way to reopen a risk that was closed"
	s.Limits = "It teaches Entra ID Protection not to report the like again: only where it was false. For what was real and meant, dismiss the risk."
	return s
}

func confirmWorkloadSpec() action.Spec {
	s := workloadFeedbackSpec()
	s.Name, s.Title = ConfirmWorkload, "Confirm the workload compromised"
	s.Summary = "Entra ID Protection counts the service principal as compromised, at high risk: risk-based access rules for workloads apply."
	s.Undo = DismissWorkload
	s.Permissions = append(s.Permissions, "IdentityRiskEvent.Read.All")
	s.Proof = "`riskState` is `confirmedCompromised` and nothing is being processed; or, where the risk was closed meanwhile, the detection that the confirmation left behind."
	s.Limits = "It blocks nothing by itself: without an access rule for workloads nothing else happens. Rules reach single-tenant applications only, not managed identities. Undone only where no risk stood before, since taking it back dismisses all of it."
	return s
}

func dismissWorkloadSpec() action.Spec {
	s := workloadFeedbackSpec()
	s.Name, s.Title = DismissWorkload, "Dismiss the workload's risk"
	s.Summary = "Entra ID Protection counts the service principal as not at risk; all of its detections are closed."
	s.Proof = "`riskState` is `none`, `dismissed` or another closed state, and nothing is being processed."
	s.Irreversible = "Microsoft offers no way to reopen a risk that was dismissed"
	s.Limits = "It removes no credential and takes no permission away."
	return s
}

func workloadFeedbackSpec() action.Spec {
	s := feedbackSpec()
	s.Permissions = []string{"IdentityRiskyServicePrincipal.ReadWrite.All", "Application.Read.All"}
	return s
}

func vouched(u riskyUser) bool {
	return strings.EqualFold(u.RiskState, "confirmedSafe") || strings.EqualFold(u.RiskState, "none")
}

func confirmed(u riskyUser) bool { return strings.EqualFold(u.RiskState, "confirmedCompromised") }

// closed reports a state that needs nobody any more. A state no document names
// is open.
func closed(u riskyUser) bool {
	switch strings.ToLower(u.RiskState) {
	case "none", "remediated", "dismissed", "confirmedsafe":
		return true
	}
	return false
}

func (f *feedback) Spec() action.Spec { return f.spec }

// Look reads the directory too: one deleted user makes the call fail for all.
func (f *feedback) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	risks, err := f.risks(ctx, reqs) // first: its limit counts from when it was given
	if f.exist != nil {
		out = f.exist(ctx, reqs)
	}
	for n, r := range reqs {
		l := &out[n]
		switch {
		case l.Err != nil:
		case err != nil:
			l.Err = err
		case l.Refuse != "":
			l.State = nil
		default:
			u := risks[r.ID]
			l.State, l.Text, l.Already = raw(u), describe(u), f.reached(u) && !u.IsProcessing
			switch {
			case u.IsDeleted:
				l.Refuse = "the account is deleted: Entra ID Protection takes no feedback on it"
			case u.ID == "" && f.exist == nil:
				l.State, l.Already, l.Refuse = nil, false, "Entra ID Protection has never held it at risk, and knows it not"
			}
		}
	}
	return out
}

func (f *feedback) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	ids, err := objectIDs(reqs)
	o := action.Outcome{Verdict: action.Refused}
	if err != nil {
		o.Reason = err.Error()
	} else {
		o = f.send(ctx, f.spec, graph.Request{
			Method: http.MethodPost, Path: graph.Path("identityProtection", f.atRisk, f.call), ClientRequestID: reqs[0].ClientRequestID, Beta: f.beta,
			Body: map[string][]string{f.ids: ids},
		})
	}
	if o.Verdict == action.Refused && len(reqs) > 1 {
		// One bad id refuses the whole list and nothing was done: who is to blame
		// shows when they are looked at again.
		o.Verdict, o.Reason = action.Later, "the list was refused, perhaps for one of the others: "+o.Reason
	}
	for n := range out {
		out[n] = o
	}
	return out
}

// ReadBack reads the state. A remedy may have closed the risk before the
// confirmation was seen, and then the state proves nothing either way: who was
// found closed last time is looked up among the detections this time, since each
// question costs one of the few requests there are.
func (f *feedback) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	var overtaken []int
	for n, r := range reqs {
		if last, ok := before[riskyUser](r.Last); f.leaves != "" && ok && (last.Missed || last.ID != "" && closed(last) && !last.IsProcessing) {
			overtaken = append(overtaken, n)
		}
	}
	if len(overtaken) == 0 && f.leaves != "" && len(reqs) > idsPerFeedback {
		return f.readMany(ctx, reqs)
	}
	if len(overtaken) > 0 {
		for n, r := range reqs {
			out[n] = action.Reading{Pending: true, Unread: true, State: r.Last}
		}
		f.readTraces(ctx, reqs, overtaken, out)
		return out
	}
	risks, err := f.risks(ctx, reqs)
	for n, r := range reqs {
		if err != nil {
			out[n].Err = err
			continue
		}
		u := risks[r.ID]
		// Who was told about is in the list afterwards: not being there proves nothing.
		out[n] = action.Reading{Seen: u.ID != "" && f.reached(u) && !u.IsProcessing, State: raw(u), Text: describe(u) + when(u.ReadAt), Pending: u.IsProcessing}
	}
	return out
}

// A trace is Graph's riskDetection or servicePrincipalRiskDetection, the fields we
// use, under their names.
type trace struct {
	ID                 string
	UserID             string
	ServicePrincipalID string
	DetectedDateTime   graph.Time
}

// readTraces reads the detections that the feedback left behind, of the requests
// at the places. One that is older than the look is of an earlier confirmation.
func (f *feedback) readTraces(ctx context.Context, reqs []action.Request, places []int, out []action.Reading) {
	places = places[:min(len(places), idsPerFeedback)]
	var of []action.Request
	for _, n := range places {
		of = append(of, reqs[n])
	}
	ids, err := objectIDs(of)
	var traces map[string]trace
	if err == nil {
		traces, _, err = collect(ctx, f.graph, f.tracesWhere(f.owner+" in ('"+strings.Join(ids, "','")+"')"), func(t trace) string { return t.ID })
	}
	for i, n := range places {
		if err != nil {
			out[n] = action.Reading{Err: fmt.Errorf("read the detections: %w", err)}
			continue
		}
		was, known := before[riskyUser](reqs[n].Before)
		last, _ := before[riskyUser](reqs[n].Last)
		// Without a state the next reading is of the state again, for the others of the
		// list too.
		out[n] = action.Reading{Text: "no trace of the confirmation"}
		if !last.Missed {
			out[n].Text = describe(last) + ", and " + out[n].Text
		}
		for _, t := range traces {
			if known && t.shows(ids[i], was) {
				out[n].State = reqs[n].Last
				out[n].Seen, out[n].Text = true, "confirmed compromised at "+clock(t.DetectedDateTime)
				if !last.Missed {
					out[n].Text += ", and since then: " + describe(last)
				}
			}
		}
	}
}

// tracesWhere asks for a page of the detections that the feedback leaves behind.
func (f *feedback) tracesWhere(filter string) graph.Request {
	return graph.Request{
		Path: graph.Path("identityProtection", f.detections),
		Query: url.Values{
			"$select": {"id," + f.owner + ",detectedDateTime"}, "$top": {strconv.Itoa(tracesPerPage)},
			"$filter": {"riskEventType eq '" + f.leaves + "' and " + filter},
		},
	}
}

// shows reports whether the trace is of a confirmation of the id after it was looked at.
func (t trace) shows(id string, was riskyUser) bool {
	return !was.ReadAt.IsZero() && strings.EqualFold(t.UserID+t.ServicePrincipalID, id) && !t.DetectedDateTime.At.Before(was.ReadAt)
}

// readMany reads back more than one question can name: one page of all that was left
// behind since the first of them was looked at. Microsoft leaves it when it has
// processed the confirmation, and a remedy that closes the risk does not take it away.
// Who is not on the page is asked about by name the next time.
func (f *feedback) readMany(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	ids, err := objectIDs(reqs)
	var since time.Time
	for n, r := range reqs {
		out[n] = action.Reading{Pending: true, Unread: true, State: raw(riskyUser{Missed: true})}
		if was, ok := before[riskyUser](r.Before); ok && !was.ReadAt.IsZero() && (since.IsZero() || was.ReadAt.Before(since)) {
			since = was.ReadAt
		}
	}
	traces := map[string]trace{}
	if err == nil && !since.IsZero() {
		ask := f.tracesWhere("detectedDateTime ge " + since.UTC().Format(time.RFC3339))
		ask.Query.Set("$orderby", "detectedDateTime")
		for page, e := range graph.Pages[trace](ctx, f.graph, ask, graph.Paging{}) {
			err = e
			for _, t := range page.Objects {
				if t.Err == nil {
					traces[strings.ToLower(t.Value.UserID+t.Value.ServicePrincipalID)] = t.Value
				}
			}
			break // one question, one of the few requests there are
		}
	}
	if err != nil {
		for n := range out {
			out[n] = action.Reading{Err: fmt.Errorf("read the detections: %w", err)}
		}
		return out
	}
	for n, r := range reqs {
		was, _ := before[riskyUser](r.Before)
		if t, ok := traces[strings.ToLower(ids[n])]; ok && t.shows(ids[n], was) {
			out[n] = action.Reading{Seen: true, State: r.Last, Text: "confirmed compromised at " + clock(t.DetectedDateTime)}
		}
	}
	return out
}

// risks reads those at risk that reqs name, by list: who was never at
// risk is not in it, which is no error.
func (f *feedback) risks(ctx context.Context, reqs []action.Request) (map[action.ID]riskyUser, error) {
	out := map[action.ID]riskyUser{}
	for from := 0; from < len(reqs); from += idsPerFeedback {
		chunk := reqs[from:min(from+idsPerFeedback, len(reqs))]
		ids, err := objectIDs(chunk)
		if err != nil {
			return nil, err
		}
		users, date, err := collect(ctx, f.graph, graph.Request{
			Path: graph.Path("identityProtection", f.atRisk), Beta: f.beta,
			Query: url.Values{
				"$select": {f.fields}, "$filter": {inFilter(ids)}, "$top": {strconv.Itoa(idsPerFeedback)},
			},
		}, func(u riskyUser) string { return u.ID })
		if err != nil {
			return nil, fmt.Errorf("read who is at risk: %w", err)
		}
		for n, r := range chunk {
			u, ok := users[ids[n]]
			if !ok {
				u = riskyUser{RiskLevel: "none", RiskState: "none", RiskDetail: "none"}
			}
			u.ReadAt = date
			out[r.ID] = u
		}
	}
	return out, nil
}

func describe(u riskyUser) string {
	text := fmt.Sprintf("risk state %s, level %s", u.RiskState, u.RiskLevel)
	if u.RiskDetail != "" && u.RiskDetail != "none" {
		text += " (" + u.RiskDetail + ")"
	}
	if u.IsProcessing {
		text += ", still being processed"
	}
	return text
}

// confirmation is the feedback that can be taken back.
type confirmation struct{ *feedback }

var _ action.Undoer = confirmation{}

// Undo dismisses the confirmation where nothing else was open: dismissing closes
// every risk of the user, and what Microsoft had found must not go with it.
func (confirmation) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[riskyUser](b)
	return nil, ok && closed(was)
}
