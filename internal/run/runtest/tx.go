package runtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Tx is one transaction. It is run.Tx and ingest.Tx.
type Tx struct{ state state }

var _ ingest.Tx = (*Tx)(nil)

func get[T any](m map[id]T, what string, k id) (T, error) {
	v, ok := m[k]
	if !ok {
		return v, missing(what, k.id)
	}
	return row(v)
}

// put stores v under its key: version 0 inserts, any other must be the stored one.
func put[T any](tx *Tx, m map[id]T, what string, k id, v T, version func(*T) *int64) (T, error) {
	old, exists := m[k]
	stored := int64(0)
	if exists {
		stored = *version(&old)
	}
	if *version(&v) != stored {
		return v, fault.Errorf(fault.Conflict, "%s %s was changed by somebody else", what, k.id)
	}
	*version(&v)++
	v, err := row(v)
	if err != nil {
		return v, err
	}
	m[k] = v
	tx.state.seq++
	tx.state.changed[k] = tx.state.seq
	return row(v)
}

func sorted[T any](m map[id]T, keep func(T) bool) ([]T, error) {
	var keys []id
	for k, v := range m {
		if keep(v) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b id) int { return cmp.Compare(a.id, b.id) })
	out := make([]T, 0, len(keys))
	for _, k := range keys {
		v, err := row(m[k])
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Ahead does nothing: everything is at hand.
func (tx *Tx) Ahead(identity.Tenant, []identity.Ref, []signal.Key) error { return nil }

// AheadOf does nothing: everything is at hand.
func (tx *Tx) AheadOf(identity.Tenant, []identity.ID) error { return nil }

// AheadOfRuns does nothing: everything is at hand.
func (tx *Tx) AheadOfRuns(identity.Tenant, []run.ID) error { return nil }

// NewID returns a fresh sortable id with the prefix.
func (tx *Tx) NewID(prefix string) string {
	tx.state.ids++
	return fmt.Sprintf("%s_%06d", prefix, tx.state.ids)
}

// Audit keeps the entry; what cannot be written as JSON is an error.
func (tx *Tx) Audit(e audit.Entry) error {
	e, err := row(e)
	tx.state.trail = append(tx.state.trail, e)
	return err
}

// Run is run.Tx's.
func (tx *Tx) Run(t identity.Tenant, i run.ID) (run.Run, error) {
	return get(tx.state.runs, "run", id{t, string(i)})
}

// PutRun is run.Tx's.
func (tx *Tx) PutRun(r run.Run) (run.Run, error) {
	r.ID = cmp.Or(r.ID, run.ID(tx.NewID("run")))
	return put(tx, tx.state.runs, "run", id{r.Tenant, string(r.ID)}, r, func(r *run.Run) *int64 { return &r.Version })
}

// RecentRun is run.Tx's.
func (tx *Tx) RecentRun(t identity.Tenant, playbookID, onceKey string, since time.Time) (run.Run, bool, error) {
	found, err := sorted(tx.state.runs, func(r run.Run) bool {
		return r.Tenant == t && r.Playbook.ID == playbookID && r.OnceKey == onceKey && !r.StartedAt.Before(since)
	})
	if err != nil || len(found) == 0 {
		return run.Run{}, false, err
	}
	return slices.MaxFunc(found, func(a, b run.Run) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	}), true, nil
}

// RunsAtRate is run.Tx's.
func (tx *Tx) RunsAtRate(t identity.Tenant, playbookID, rateKey string, since time.Time) (int, error) {
	found, err := sorted(tx.state.runs, func(r run.Run) bool {
		return r.Tenant == t && r.Playbook.ID == playbookID && r.RateKey == rateKey && !r.PlannedAt.Before(since)
	})
	return len(found), err
}

// RunsOfCase is run.Tx's.
func (tx *Tx) RunsOfCase(t identity.Tenant, c casefile.ID) ([]run.Run, error) {
	return sorted(tx.state.runs, func(r run.Run) bool { return r.Tenant == t && r.Case == c })
}

// Action is run.Tx's.
func (tx *Tx) Action(t identity.Tenant, i action.ID) (action.Action, error) {
	return get(tx.state.actions, "action", id{t, string(i)})
}

// PutAction is run.Tx's.
func (tx *Tx) PutAction(a action.Action) (action.Action, error) {
	a.ID = cmp.Or(a.ID, action.ID(tx.NewID("act")))
	return put(tx, tx.state.actions, "action", id{a.Tenant, string(a.ID)}, a, func(a *action.Action) *int64 { return &a.Version })
}

// ActionsOfRun is run.Tx's.
func (tx *Tx) ActionsOfRun(t identity.Tenant, r run.ID) ([]action.Action, error) {
	return sorted(tx.state.actions, func(a action.Action) bool { return a.Tenant == t && a.Run == string(r) })
}

// Actions returns all actions of the tenant.
func (tx *Tx) Actions(t identity.Tenant) ([]action.Action, error) {
	return sorted(tx.state.actions, func(a action.Action) bool { return a.Tenant == t })
}

// Runs returns all runs of the tenant.
func (tx *Tx) Runs(t identity.Tenant) ([]run.Run, error) {
	return sorted(tx.state.runs, func(r run.Run) bool { return r.Tenant == t })
}

// Approvals returns all requests of the tenant.
func (tx *Tx) Approvals(t identity.Tenant) ([]approval.Request, error) {
	return sorted(tx.state.approvals, func(q approval.Request) bool { return q.Tenant == t })
}

// Cases returns all cases of the tenant.
func (tx *Tx) Cases(t identity.Tenant) ([]casefile.Case, error) {
	return sorted(tx.state.cases, func(c casefile.Case) bool { return c.Tenant == t })
}

// Identities returns all identities of the tenant.
func (tx *Tx) Identities(t identity.Tenant) ([]identity.Identity, error) {
	return sorted(tx.state.identities, func(i identity.Identity) bool { return i.Tenant == t })
}

// ActiveEffect is run.Tx's.
func (tx *Tx) ActiveEffect(t identity.Tenant, effect string, since time.Time) (action.Action, bool, error) {
	found, err := sorted(tx.state.actions, func(a action.Action) bool {
		switch a.State {
		case action.Failed, action.RefusedState, action.Expired, action.Cancelled, action.Reverted:
			return false
		}
		return a.Tenant == t && a.Effect == effect && !a.RequestedAt.Before(since)
	})
	if err != nil || len(found) == 0 {
		return action.Action{}, false, err
	}
	return slices.MaxFunc(found, func(a, b action.Action) int {
		return cmp.Or(a.RequestedAt.Compare(b.RequestedAt), cmp.Compare(a.ID, b.ID))
	}), true, nil
}

// Approval is run.Tx's.
func (tx *Tx) Approval(t identity.Tenant, i approval.ID) (approval.Request, error) {
	return get(tx.state.approvals, "approval", id{t, string(i)})
}

// PutApproval is run.Tx's.
func (tx *Tx) PutApproval(q approval.Request) (approval.Request, error) {
	q.ID = cmp.Or(q.ID, approval.ID(tx.NewID("apr")))
	return put(tx, tx.state.approvals, "approval", id{q.Tenant, string(q.ID)}, q, func(q *approval.Request) *int64 { return &q.Version })
}

// ApprovalsOfRun is run.Tx's.
func (tx *Tx) ApprovalsOfRun(t identity.Tenant, r run.ID) ([]approval.Request, error) {
	return sorted(tx.state.approvals, func(q approval.Request) bool { return q.Tenant == t && q.Run == string(r) })
}

// Question is run.Tx's.
func (tx *Tx) Question(t identity.Tenant, i question.ID) (question.Question, error) {
	return get(tx.state.questions, "question", id{t, string(i)})
}

// PutQuestion is run.Tx's.
func (tx *Tx) PutQuestion(q question.Question) (question.Question, error) {
	q.ID = cmp.Or(q.ID, question.ID(tx.NewID("qst")))
	return put(tx, tx.state.questions, "question", id{q.Tenant, string(q.ID)}, q, func(q *question.Question) *int64 { return &q.Version })
}

// QuestionsOfRun is run.Tx's.
func (tx *Tx) QuestionsOfRun(t identity.Tenant, r run.ID) ([]question.Question, error) {
	return sorted(tx.state.questions, func(q question.Question) bool { return q.Tenant == t && q.Run == string(r) })
}

// Case is run.Tx's.
func (tx *Tx) Case(t identity.Tenant, i casefile.ID) (casefile.Case, error) {
	return get(tx.state.cases, "case", id{t, string(i)})
}

// PutCase is run.Tx's.
func (tx *Tx) PutCase(c casefile.Case) (casefile.Case, error) {
	c.ID = cmp.Or(c.ID, casefile.ID(tx.NewID("cas")))
	return put(tx, tx.state.cases, "case", id{c.Tenant, string(c.ID)}, c, func(c *casefile.Case) *int64 { return &c.Version })
}

// Identity is run.Tx's.
func (tx *Tx) Identity(t identity.Tenant, i identity.ID) (identity.Identity, error) {
	return get(tx.state.identities, "identity", id{t, string(i)})
}

// SignalsOf is run.Tx's; the order is by id.
func (tx *Tx) SignalsOf(t identity.Tenant, i identity.ID) ([]signal.Signal, error) {
	var out []signal.Signal
	for k, r := range tx.state.signals {
		if k.Tenant == t && r.owner == i {
			s, err := row(r.current)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b signal.Signal) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ExternalID, b.ExternalID))
	})
	return out, nil
}

// AccountRisksOf is run.Tx's.
func (tx *Tx) AccountRisksOf(t identity.Tenant, i identity.ID) ([]signal.AccountRisk, error) {
	var out []signal.AccountRisk
	for k, r := range tx.state.risks {
		if k.tenant == t && r.owner == i {
			out = append(out, r.current)
		}
	}
	slices.SortFunc(out, func(a, b signal.AccountRisk) int { return cmp.Compare(a.Subject.ObjectID, b.Subject.ObjectID) })
	return out, nil
}

// Assessment is run.Tx's.
func (tx *Tx) Assessment(t identity.Tenant, i identity.ID) (risk.Assessment, error) {
	return get(tx.state.assessments, "assessment of identity", id{t, string(i)})
}

// Directory is run.Tx's.
func (tx *Tx) Directory(t identity.Tenant) (connector.DirectoryFacts, error) {
	return row(tx.state.directories[t])
}

// PutSignal is ingest.Tx's.
func (tx *Tx) PutSignal(s signal.Signal, owner identity.ID) (ingest.Put, error) {
	s, err := row(s)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	old, exists := tx.state.signals[s.Key()]
	if !exists {
		tx.state.signals[s.Key()] = signalRow{owner: owner, current: s}
		return ingest.PutNew, nil
	}
	was, err := json.Marshal(old.current)
	if err != nil {
		return "", err
	}
	known := func(v []byte) bool { return same(v, text) }
	switch {
	case known(was) || !s.Newer(old.current) && slices.ContainsFunc(old.versions, known):
		return ingest.PutDuplicate, nil
	case s.Newer(old.current):
		tx.state.signals[s.Key()] = signalRow{owner, s, append(slices.Clone(old.versions), was)}
		return unlessSame(ingest.PutUpdated, s.Same(old.current)), nil
	}
	tx.state.signals[s.Key()] = signalRow{old.owner, old.current, append(slices.Clone(old.versions), text)}
	return unlessSame(ingest.PutOlder, s.Same(old.current)), nil
}

// unlessSame is put, or duplicate for what says the same in another envelope.
func unlessSame(put ingest.Put, same bool) ingest.Put {
	if same {
		return ingest.PutDuplicate
	}
	return put
}

// SignalOwner is ingest.Tx's.
func (tx *Tx) SignalOwner(k signal.Key) (identity.ID, bool, error) {
	s, ok := tx.state.signals[k]
	return s.owner, ok, nil
}

// PutAccountRisk is ingest.Tx's.
func (tx *Tx) PutAccountRisk(r signal.AccountRisk, owner identity.ID) (ingest.Put, error) {
	r, err := row(r)
	if err != nil {
		return "", err
	}
	keys := r.Subject.Keys()
	if len(keys) == 0 {
		return "", fault.Errorf(fault.Invalid, "an account risk without a strong identifier")
	}
	k := ownedKey{r.Tenant, keys[0]}
	old, exists := tx.state.risks[k]
	switch {
	case !exists:
		tx.state.risks[k] = riskRow{owner, r}
		return ingest.PutNew, nil
	case reflect.DeepEqual(old.current, r):
		return ingest.PutDuplicate, nil
	case r.Newer(old.current):
		tx.state.risks[k] = riskRow{owner, r}
		return unlessSame(ingest.PutUpdated, r.Same(old.current)), nil
	}
	return unlessSame(ingest.PutOlder, r.Same(old.current)), nil
}

// PutRecords is ingest.Tx's.
func (tx *Tx) PutRecords(list []record.Record, _ time.Time) ([]ingest.Put, error) {
	puts := make([]ingest.Put, len(list))
	for n, r := range list {
		if p := r.Problem(); p != "" {
			return nil, fault.Errorf(fault.Invalid, "record %s %s: %s", r.Source, r.ExternalID, p)
		}
		r, err := row(r)
		if err != nil {
			return nil, err
		}
		old, ok := tx.state.records[r.Key()]
		switch {
		case !ok:
			puts[n] = ingest.PutNew
		case reflect.DeepEqual(old, r):
			puts[n] = ingest.PutDuplicate
			continue
		case !r.Newer(old):
			puts[n] = ingest.PutOlder
			continue
		default:
			puts[n] = ingest.PutUpdated
		}
		tx.state.records[r.Key()] = r
	}
	return puts, nil
}

// Feeds is ingest.Tx's.
func (tx *Tx) Feeds(t identity.Tenant) ([]connector.FeedState, error) {
	return sorted(tx.state.feeds, func(f connector.FeedState) bool { return f.Tenant == t })
}

// PutFeed is ingest.Tx's.
func (tx *Tx) PutFeed(f connector.FeedState) error {
	f, err := row(f)
	tx.state.feeds[id{f.Tenant, string(f.Stream)}] = f
	return err
}

// DropFeed is ingest.Tx's.
func (tx *Tx) DropFeed(t identity.Tenant, n connector.Name) error {
	delete(tx.state.feeds, id{t, string(n)})
	return nil
}

// PutReject is ingest.Tx's.
func (tx *Tx) PutReject(_ identity.Tenant, n connector.Name, r connector.Reject, _ time.Time) error {
	r, err := row(r)
	tx.state.rejects = append(tx.state.rejects, Reject{n, r})
	return err
}

// PutCursor is ingest.Tx's.
func (tx *Tx) PutCursor(t identity.Tenant, n connector.Name, c connector.Cursor, _ time.Time) error {
	tx.state.cursors[id{t, string(n)}] = c
	return nil
}

// IdentitiesByKeys is ingest.Tx's.
func (tx *Tx) IdentitiesByKeys(t identity.Tenant, keys []identity.Key) ([]identity.Identity, error) {
	ids := map[identity.ID]bool{}
	for _, k := range keys {
		if owner, ok := tx.state.owners[ownedKey{t, k}]; ok {
			ids[owner] = true
		}
	}
	return sorted(tx.state.identities, func(i identity.Identity) bool { return i.Tenant == t && ids[i.ID] })
}

// PutIdentity is ingest.Tx's.
func (tx *Tx) PutIdentity(i identity.Identity) (identity.Identity, error) {
	i, err := row(i)
	if err != nil {
		return i, err
	}
	i.ID = cmp.Or(i.ID, identity.ID(tx.NewID("idn")))
	for _, k := range i.Keys() {
		if owner, ok := tx.state.owners[ownedKey{i.Tenant, k}]; ok && owner != i.ID {
			return i, fault.Errorf(fault.Conflict, "%s %s belongs to identity %s", k.Kind, k.Value, owner)
		}
	}
	for _, k := range i.Keys() {
		tx.state.owners[ownedKey{i.Tenant, k}] = i.ID
	}
	tx.state.identities[id{i.Tenant, string(i.ID)}] = i
	return row(i)
}

// PutDirectory is ingest.Tx's.
func (tx *Tx) PutDirectory(t identity.Tenant, d connector.DirectoryFacts) error {
	d, err := row(d)
	tx.state.directories[t] = d
	return err
}

// OpenCase is ingest.Tx's.
func (tx *Tx) OpenCase(t identity.Tenant, i identity.ID) (casefile.Case, bool, error) {
	found, err := sorted(tx.state.cases, func(c casefile.Case) bool { return c.Tenant == t && c.Identity == i && c.Verdict == nil })
	if err != nil || len(found) == 0 {
		return casefile.Case{}, false, err
	}
	return found[0], true, nil
}

// LastVerdict is ingest.Tx's.
func (tx *Tx) LastVerdict(t identity.Tenant, i identity.ID) (casefile.Verdict, bool, error) {
	found, err := sorted(tx.state.cases, func(c casefile.Case) bool { return c.Tenant == t && c.Identity == i && c.Verdict != nil })
	if err != nil || len(found) == 0 {
		return casefile.Verdict{}, false, err
	}
	last := slices.MaxFunc(found, func(a, b casefile.Case) int { return a.Verdict.At.Compare(b.Verdict.At) })
	return *last.Verdict, true, nil
}

// PutAssessment is ingest.Tx's.
func (tx *Tx) PutAssessment(a risk.Assessment) error {
	a, err := row(a)
	tx.state.assessments[id{a.Tenant, string(a.Identity)}] = a
	return err
}

// Exceptions is ingest.Tx's: there are none.
func (tx *Tx) Exceptions(identity.Tenant) ([]risk.Exception, error) { return nil, nil }
