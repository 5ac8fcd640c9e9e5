package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	paramDetermination = "determination"
	paramStatus        = "status"
	paramAlerts        = "alerts"
)

// maxAlerts is how many alerts one action may name: every reading of them is that
// many of the 150 requests a minute.
const maxAlerts = 60

// judgement tells Defender what we think of alerts about one account, or puts back
// what was said of them before. It is about the alert, and so the same for accounts of
// both directories.
//
// Source: Microsoft Graph v1.0, "Update alert": status, classification and
// determination may be set; the names of the determinations are the metadata's,
// because the page prints others that Graph refuses.
type judgement struct {
	directory
	name action.Name
}

var (
	_ action.Type   = (*judgement)(nil)
	_ action.Undoer = reversibleJudgement{}
)

// reversibleJudgement is one whose effect can be taken back.
type reversibleJudgement struct{ *judgement }

func judge(d directory, name action.Name) action.Type {
	j := &judgement{d, name}
	if j.restores() {
		return j
	}
	return reversibleJudgement{j}
}

func (j *judgement) restores() bool {
	return j.name == RestoreAlerts || j.name == RestoreAlertsOnPremises
}

func (j *judgement) onPremises() bool {
	return j.name == ClassifyAlertsOnPremises || j.name == RestoreAlertsOnPremises
}

func (j *judgement) Spec() action.Spec {
	s := action.Spec{
		Name: j.name, Version: 1, Provider: identity.EntraID, Effect: action.EffectVerdict,
		Permissions: []string{"SecurityAlert.ReadWrite.All"},
		Batch:       1, Bucket: action.BucketSecurity, ReadBucket: action.BucketSecurity,
		Propagation: 30 * time.Second, Within: 15 * time.Minute,
	}
	of := ""
	if j.onPremises() {
		s.Provider, s.Via = identity.ActiveDirectory, identity.EntraID
		of = " of an account in Active Directory"
	}
	if j.restores() {
		s.Title = "Put back what Defender's alerts" + of + " said"
		s.Summary = "Status, classification and determination of the alerts are what they were before Cordon set them."
		s.Params = action.Params{{Name: paramAlerts, Type: "string", Required: true, Text: "What to put back: the JSON list that was recorded when they were classified."}}
		s.Irreversible = "it is the undo of a classification; classify the alerts again instead"
		s.Limits = "An alert that had no classification gets `unknown`, which Defender shows as none. Defender keeps both changes in the alert's history."
		s.Proof = "Status, classification and determination of each alert are the recorded ones."
		return s
	}
	s.Undo = RestoreAlerts
	if j.onPremises() {
		s.Undo = RestoreAlertsOnPremises
	}
	s.Title = "Classify Defender's alerts" + of
	s.Summary = "The alerts that name the account carry the verdict at Defender: classification, determination and status."
	s.Params = action.Params{
		{Name: action.ParamAlertIDs, Type: "string", Required: true, Fill: action.FillAlertIDs, Text: fmt.Sprintf("Ids of the alerts, comma-separated, at most %d; those that do not name the account are left alone.", maxAlerts)},
		{Name: action.ParamClassification, Type: "string", Required: true, Text: "`truePositive`, `falsePositive` or `informationalExpectedActivity`."},
		{Name: paramDetermination, Type: "string", Text: "One of Microsoft's words, such as `compromisedAccount`; without it `compromisedAccount`, `notMalicious` or `confirmedActivity`, as the classification has it."},
		{Name: paramStatus, Type: "string", Default: "resolved", Text: "`resolved`, `inProgress` or `unchanged`."},
	}
	s.Limits = "It contains nobody, and closes no risk in Entra ID. Others named by the same alert see it classified too; the incident is left as it is. Alerts of Entra ID Protection keep their status: resolving one would dismiss its detection there, which cannot be undone."
	s.Proof = "Classification, determination and status of each of the alerts are the wanted ones."
	return s
}

// An alertState is one of Defender's alerts as the action sees it: what it replaces.
type alertState struct {
	ID             string `json:"id"`
	Title          string `json:"title,omitempty"`
	Service        string `json:"service,omitempty"`
	Status         string `json:"status"` // of what is put back empty: it stays
	Classification string `json:"classification"`
	Determination  string `json:"determination"`
}

// said reports whether both say the same of the alert.
func (a alertState) said(b alertState) bool {
	return strings.EqualFold(a.Status, b.Status) && strings.EqualFold(a.Classification, b.Classification) && strings.EqualFold(a.Determination, b.Determination)
}

// An alertsState is the alerts that are about the account, as they are, and as they
// shall be, one to one.
type alertsState struct {
	Of       string       `json:"of"` // the account's own key
	Are      []alertState `json:"are"`
	Will     []alertState `json:"will"`
	Restores bool         `json:"restores,omitempty"`
}

// A wireAlert is Graph's security.alert, the fields we use.
type wireAlert struct {
	ID             string
	Title          string
	Status         string
	Classification string
	Determination  string
	ServiceSource  string
	Evidence       []json.RawMessage
}

// names reports whether the alert names the account by an identifier that cannot be
// another's.
func (a wireAlert) names(ref identity.Ref) bool {
	for _, raw := range a.Evidence {
		var e struct {
			UserAccount              *struct{ AzureADUserID, UserSID, ActiveDirectoryObjectGUID string }
			ServicePrincipalObjectID string
			ObjectID                 string
		}
		if json.Unmarshal(raw, &e) != nil {
			continue
		}
		is := func(a, b string) bool {
			return a != "" && strings.EqualFold(strings.Trim(a, "{} "), strings.Trim(b, "{} "))
		}
		if is(e.ServicePrincipalObjectID, ref.ObjectID) || is(e.ObjectID, ref.ObjectID) {
			return true
		}
		if u := e.UserAccount; u != nil && (is(u.AzureADUserID, ref.ObjectID) || is(u.UserSID, ref.SID) || is(u.ActiveDirectoryObjectGUID, ref.GUID)) {
			return true
		}
	}
	return false
}

// determinations are Microsoft's words; the page about alerts prints other names for
// some, which are understood as well.
var (
	determinations = []string{"unknown", "apt", "malware", "securityPersonnel", "securityTesting", "unwantedSoftware", "other", "multiStagedAttack",
		"compromisedAccount", "phishing", "maliciousUserActivity", "notMalicious", "notEnoughDataToValidate", "confirmedActivity", "lineOfBusinessApplication"}
	otherNames = map[string]string{"compromiseduser": "compromisedAccount", "clean": "notMalicious", "insufficientdata": "notEnoughDataToValidate", "confirmeduseractivity": "confirmedActivity"}
	// usual is what a classification means when nobody says more.
	usual = map[string]string{"truePositive": "compromisedAccount", "falsePositive": "notMalicious", "informationalExpectedActivity": "confirmedActivity"}
)

// word returns the value as Graph spells it; empty is unknown, as a null is.
func word(v string, known []string) (string, bool) {
	v = cmp.Or(otherNames[strings.ToLower(v)], v, "unknown")
	for _, k := range known {
		if strings.EqualFold(k, v) {
			return k, true
		}
	}
	return v, false
}

var classifications = []string{"unknown", "truePositive", "falsePositive", "informationalExpectedActivity"}

func (a wireAlert) state() alertState {
	s := alertState{ID: a.ID, Title: line(a.Title), Service: a.ServiceSource, Status: a.Status}
	s.Classification, _ = word(a.Classification, classifications)
	s.Determination, _ = word(a.Determination, determinations)
	return s
}

// An alertWish is what the parameters ask for.
type alertWish struct {
	ids  []string
	will func(alertState) alertState
}

// isAlertID reports whether an id can be one of Defender's: it goes into a path.
func isAlertID(id string) bool {
	return id != "" && len(id) <= 128 && strings.Trim(strings.ToLower(id), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (j *judgement) wish(r action.Request) (w alertWish, err error) {
	if j.restores() {
		return restoring(r)
	}
	if w.ids, err = ids(r, action.ParamAlertIDs, isAlertID); err != nil {
		return w, err
	}
	text := func(name string) string { v, _ := r.Params[name].(string); return strings.TrimSpace(v) }
	class, ok := word(text(action.ParamClassification), classifications)
	if !ok || usual[class] == "" {
		return w, fault.Errorf(fault.Invalid, "%s: %q is none that a verdict has", action.ParamClassification, line(text(action.ParamClassification)))
	}
	det, ok := word(cmp.Or(text(paramDetermination), usual[class]), determinations)
	if !ok {
		return w, fault.Errorf(fault.Invalid, "%s: %q is none of Microsoft's words", paramDetermination, line(det))
	}
	status := cmp.Or(text(paramStatus), "resolved")
	if status != "resolved" && status != "inProgress" && status != "unchanged" {
		return w, fault.Errorf(fault.Invalid, "%s: %q is neither resolved, inProgress nor unchanged", paramStatus, line(status))
	}
	w.will = func(a alertState) alertState {
		a.Classification, a.Determination = class, det
		if status != "unchanged" && !strings.EqualFold(a.Service, "azureAdIdentityProtection") {
			a.Status = status
		}
		return a
	}
	return w, nil
}

// restoring is the wish to put back what was recorded.
func restoring(r action.Request) (w alertWish, err error) {
	text, _ := r.Params[paramAlerts].(string)
	var list []alertState
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return w, fault.Errorf(fault.Invalid, "%s: not a JSON list of alerts", paramAlerts)
	}
	was := map[string]alertState{}
	for _, a := range list {
		class, ok := word(a.Classification, classifications)
		det, ok2 := word(a.Determination, determinations)
		if !isAlertID(a.ID) || !ok || !ok2 || !slices.Contains([]string{"", "new", "inProgress", "resolved"}, a.Status) {
			return w, fault.Errorf(fault.Invalid, "%s: an entry is not an alert with what it said", paramAlerts)
		}
		a.Classification, a.Determination = class, det
		was[a.ID] = a
		w.ids = append(w.ids, a.ID)
	}
	w.will = func(a alertState) alertState {
		b := was[a.ID]
		a.Status, a.Classification, a.Determination = cmp.Or(b.Status, a.Status), b.Classification, b.Determination
		return a
	}
	return w, nil
}

// subject returns the key of the account that the alerts must name.
func (j *judgement) subject(r action.Request) (string, error) {
	if j.onPremises() {
		return sidOf(r)
	}
	return objectID(r)
}

// read reads the named alerts and keeps those that name the account. Alerts that
// Defender does not have are left out.
func (j *judgement) read(ctx context.Context, r action.Request) (st alertsState, at time.Time, err error) {
	w, err := j.wish(r)
	if err != nil {
		return st, at, err
	}
	if st.Of, err = j.subject(r); err != nil {
		return st, at, err
	}
	st.Restores = j.restores()
	slices.Sort(w.ids)
	named := slices.Compact(w.ids)
	if len(named) == 0 || len(named) > maxAlerts {
		return st, at, fault.Errorf(fault.Invalid, "%d alerts are named, not 1 to %d", len(named), maxAlerts)
	}
	for _, id := range named { // alerts_v2 has no filter by id, and a batch saves no quota
		var a wireAlert
		res, err := j.graph.Do(ctx, graph.Request{Path: graph.Path("security", "alerts_v2", id), Out: &a, Priority: graph.High})
		at = res.Date
		switch {
		case errors.Is(err, fault.NotFound):
			continue
		case err != nil:
			return st, at, fmt.Errorf("read the alerts: %w", err)
		case a.ID != id:
			return st, at, fault.Errorf(fault.Unavailable, "read the alerts: Graph answered with another one than the one asked for")
		case a.names(r.Account):
			st.Are = append(st.Are, a.state())
			st.Will = append(st.Will, w.will(a.state()))
		}
	}
	return st, at, nil
}

func (j *judgement) Look(ctx context.Context, reqs []action.Request) []action.Look {
	out := make([]action.Look, len(reqs))
	for n, r := range reqs {
		st, _, err := j.read(ctx, r)
		l := &out[n]
		switch {
		case err != nil:
			l.Err = err
		case len(st.Are) == 0:
			l.Refuse = "none of the named alerts is there and names this account: nothing is said of others"
		default:
			l.State, l.Text, l.Already = raw(st), tell(st.Are), st.open() == 0
		}
	}
	return out
}

// open counts the alerts that do not say yet what they shall.
func (st alertsState) open() (n int) {
	for k, a := range st.Are {
		if !a.said(st.Will[k]) {
			n++
		}
	}
	return n
}

// tell says for people how alerts stand.
func tell(list []alertState) string {
	return fmt.Sprintf("%d alerts: ", len(list)) + listed(list, func(a alertState) string {
		text := line(a.Status) + ", " + line(a.Classification)
		if a.Determination != "unknown" {
			text += " (" + line(a.Determination) + ")"
		}
		return text
	})
}

// Do sets what the look recorded as wanted, of the alerts that differed.
func (j *judgement) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	out := make([]action.Outcome, len(reqs))
	for n, r := range reqs {
		of, err := j.subject(r)
		was, ok := before[alertsState](r.Before)
		if err == nil && (!ok || was.Of != of || len(was.Will) == 0 || len(was.Are) != len(was.Will)) {
			err = fault.Errorf(fault.Invalid, "no alert about this account was found")
		}
		if err != nil {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: err.Error()}
			continue
		}
		var writes []graph.Request
		for k, a := range was.Will {
			body := map[string]string{}
			for name, v := range map[string][2]string{
				"status": {was.Are[k].Status, a.Status}, "classification": {was.Are[k].Classification, a.Classification}, "determination": {was.Are[k].Determination, a.Determination},
			} {
				if v[0] != v[1] {
					body[name] = v[1]
				}
			}
			if len(body) > 0 {
				writes = append(writes, graph.Request{Method: http.MethodPatch, Path: graph.Path("security", "alerts_v2", a.ID), ClientRequestID: r.ClientRequestID, Body: body})
			}
		}
		if len(writes) == 0 {
			out[n] = action.Outcome{Verdict: action.Refused, Reason: "nothing was recorded that would be changed"}
			continue
		}
		out[n] = j.several(ctx, j.Spec(), writes, func(*graph.Error) bool { return false })
	}
	return out
}

func (j *judgement) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	for n, r := range reqs {
		was, ok := before[alertsState](r.Before)
		st, at, err := j.read(ctx, r)
		if err != nil {
			out[n].Err = err
			continue
		}
		seen := ok && was.Of == st.Of && len(was.Will) > 0
		for _, w := range was.Will {
			seen = seen && slices.ContainsFunc(st.Are, func(a alertState) bool { return a.ID == w.ID && a.said(w) })
		}
		out[n] = action.Reading{Seen: seen, State: raw(st), Text: tell(st.Are) + when(at)}
	}
	return out
}

// Undo puts back what the alerts said that were changed.
func (reversibleJudgement) Undo(b json.RawMessage) (map[string]any, bool) {
	was, ok := before[alertsState](b)
	if !ok || was.Restores || len(was.Are) != len(was.Will) {
		return nil, false
	}
	var list []alertState
	for k, a := range was.Are {
		if !a.said(was.Will[k]) {
			a.Title, a.Service = "", ""
			if strings.EqualFold(a.Status, was.Will[k].Status) {
				a.Status = "" // not ours: it stays as it is by then
			}
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, false
	}
	return map[string]any{paramAlerts: string(raw(list))}, true
}
