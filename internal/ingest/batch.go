package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A batch is one page inside its transaction.
type batch struct {
	p      *Pipeline
	tx     Tx
	tenant identity.Tenant
	now    time.Time
	res    Result

	risky   []identity.Ref // accounts of open cases whose risk changed
	touched map[identity.ID]*touch
	order   []identity.ID // of touched, as they came

	except   []risk.Exception // the tenant's, once excepted says that they were read
	excepted bool
}

// A touch is what a page brought for one identity.
type touch struct {
	assess   bool            // a signal or an account risk changed
	facts    bool            // a fact changed
	triggers []signal.Signal // open signals that are new or changed
	risky    []identity.Ref  // accounts whose risk changed
}

func (b *batch) touch(id identity.ID) *touch {
	t, ok := b.touched[id]
	if !ok {
		t = &touch{}
		b.touched[id] = t
		b.order = append(b.order, id)
	}
	return t
}

func (b *batch) take(stream connector.Name, page connector.Page, facts []connector.AccountFacts, open []identity.Ref) error {
	if err := b.ahead(page, facts); err != nil {
		return err
	}
	for _, r := range page.Rejects {
		b.res.Read++
		if err := b.reject(stream, r); err != nil {
			return err
		}
	}
	for _, f := range slices.Concat(page.Facts, facts) {
		if err := b.fact(stream, f); err != nil {
			return fmt.Errorf("store the facts of %s: %w", f.Ref.Name(), err)
		}
	}
	if page.Directory != nil {
		if err := b.directory(*page.Directory, open); err != nil {
			return fmt.Errorf("store the reading of the directory: %w", err)
		}
	}
	for _, s := range page.Signals {
		if err := b.signal(stream, s); err != nil {
			return fmt.Errorf("store signal %s: %w", s.ExternalID, err)
		}
	}
	if err := b.aheadOfRisks(page.Accounts); err != nil {
		return err
	}
	for _, r := range page.Accounts {
		if err := b.risk(stream, r); err != nil {
			return fmt.Errorf("store the risk of account %s: %w", r.Subject.Name(), err)
		}
	}
	if err := b.records(stream, page.Records); err != nil {
		return err
	}
	if err := b.tx.AheadOf(b.tenant, b.order); err != nil {
		return err
	}
	for _, id := range b.order {
		if err := b.follow(id, b.touched[id]); err != nil {
			return fmt.Errorf("identity %s: %w", id, err)
		}
	}
	return nil
}

// ahead has what the page is about read together.
func (b *batch) ahead(page connector.Page, facts []connector.AccountFacts) error {
	var subjects []identity.Ref
	var signals []signal.Key
	for _, f := range slices.Concat(page.Facts, facts) {
		subjects = append(subjects, f.Ref)
	}
	for _, s := range page.Signals {
		subjects, signals = append(subjects, s.Subject), append(signals, s.Key())
	}
	for _, r := range page.Accounts {
		subjects = append(subjects, r.Subject)
	}
	if len(subjects) == 0 {
		return nil
	}
	return b.tx.Ahead(b.tenant, subjects, signals)
}

// aheadOfRisks has what is known of the accounts' identities read together.
func (b *batch) aheadOfRisks(list []signal.AccountRisk) error {
	var ids []identity.ID
	for _, r := range list {
		owners, err := b.tx.IdentitiesByKeys(b.tenant, r.Subject.Keys())
		if err != nil {
			return err
		}
		for _, i := range owners {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return b.tx.AheadOf(b.tenant, ids)
}

func (b *batch) reject(stream connector.Name, r connector.Reject) error {
	b.res.Rejected++
	b.res.Outcomes = append(b.res.Outcomes, Outcome{Key: r.Place, Reason: r.Reason})
	return b.tx.PutReject(b.tenant, stream, r, b.now)
}

// records stores what is kept without an opinion. Nothing follows from it.
func (b *batch) records(stream connector.Name, list []record.Record) error {
	good := make([]record.Record, 0, len(list))
	for _, r := range list {
		b.res.Read++
		reason := r.Problem()
		if r.Tenant != b.tenant {
			reason = fmt.Sprintf("belongs to the tenant %q", r.Tenant)
		}
		if reason == "" {
			good = append(good, r)
			continue
		}
		raw := []byte(r.Raw)
		if len(raw) == 0 {
			var err error
			if raw, err = json.Marshal(r); err != nil {
				return fmt.Errorf("keep what was rejected: %w", err)
			}
		}
		if err := b.reject(stream, connector.Reject{Source: signal.Source(r.Source), Place: PlaceOf(r), Reason: reason, Raw: raw}); err != nil {
			return err
		}
	}
	if len(good) == 0 {
		return nil
	}
	puts, err := b.tx.PutRecords(good, b.now)
	for n, p := range puts {
		b.res.count(p, PlaceOf(good[n]))
	}
	return err
}

// resolve finds or makes the identity of ref and stores what ref taught. ok is
// false when ref names no strong identifier.
func (b *batch) resolve(ref identity.Ref, from string) (res identity.Resolution, ok bool, err error) {
	owners, err := b.tx.IdentitiesByKeys(b.tenant, ref.Keys())
	if err != nil {
		return res, false, err
	}
	if res, ok = identity.Resolve(b.tenant, ref, owners, from, b.now); !ok {
		return res, false, nil
	}
	if res.New {
		res.Identity.ID = identity.ID(b.tx.NewID("idn"))
	}
	if res.Changed {
		if res.Identity, err = b.tx.PutIdentity(res.Identity); err != nil {
			return res, false, err
		}
		b.touch(res.Identity.ID) // its name may be better now
	}
	if res.NewConflict {
		err = b.tx.Audit(audit.Entry{
			Tenant: b.tenant, At: b.now, Actor: access.BySystem("ingest"), Kind: audit.Conflict, Identity: string(res.Identity.ID),
			Text: fmt.Sprintf("%s names identifiers of %d identities; it counts for %s and nothing was merged", from, len(res.Conflict.Owners), res.Identity.Name),
			Data: map[string]any{"keys": res.Conflict.Keys, "owners": res.Conflict.Owners},
		})
	}
	return res, true, err
}

func (b *batch) fact(stream connector.Name, f connector.AccountFacts) error {
	res, ok, err := b.resolve(f.Ref, "the facts of "+f.Ref.Name())
	if err != nil {
		return err
	}
	if !ok {
		raw, _ := json.Marshal(f) // strings, times and booleans: cannot fail
		return b.reject(stream, connector.Reject{Place: "facts of " + f.Ref.Name(), Reason: "names no strong identifier", Raw: raw})
	}
	next, changed := res.Identity.WithFacts(res.Ref, f.Facts, b.now)
	if !changed {
		return nil
	}
	if _, err := b.tx.PutIdentity(next); err != nil {
		return err
	}
	b.res.Facts++
	b.touch(next.ID).facts = true
	known := res.Identity.Disputes()
	for _, text := range next.Disputes() {
		if slices.Contains(known, text) {
			continue
		}
		if err := b.tx.Audit(audit.Entry{
			Tenant: b.tenant, At: b.now, Actor: access.BySystem("ingest"), Kind: audit.Conflict, Identity: string(next.ID),
			Text: fmt.Sprintf("the identifiers of %s disagree; nothing is changed until a person has looked: %s", next.Name, text),
		}); err != nil {
			return err
		}
	}
	return nil
}

// directory stores a reading of the tenant's roles unless a later one is known,
// and lets open cases be planned anew.
func (b *batch) directory(d connector.DirectoryFacts, open []identity.Ref) error {
	old, err := b.tx.Directory(b.tenant)
	if err != nil || !d.AsOf.After(old.AsOf) {
		return err
	}
	if err := b.tx.PutDirectory(b.tenant, d); err != nil {
		return err
	}
	var keys []identity.Key
	for _, r := range open {
		keys = append(keys, r.Keys()...)
	}
	if len(keys) == 0 {
		return nil
	}
	owners, err := b.tx.IdentitiesByKeys(b.tenant, keys)
	for _, i := range owners {
		b.touch(i.ID).facts = true
	}
	return err
}

func (b *batch) signal(stream connector.Name, s signal.Signal) error {
	b.res.Read++
	if reason := refusal(b.tenant, s); reason != "" {
		raw := []byte(s.Raw)
		if len(raw) == 0 {
			var err error
			if raw, err = json.Marshal(s); err != nil {
				return fmt.Errorf("keep what was rejected: %w", err)
			}
		}
		return b.reject(stream, connector.Reject{Source: s.Source, Place: PlaceOf(s), Reason: reason, Raw: raw})
	}
	res, _, err := b.resolve(s.Subject, fmt.Sprintf("signal %s", s.ExternalID))
	if err != nil {
		return err
	}
	before, err := b.ownerBefore(s)
	if err != nil {
		return err
	}
	put, err := b.tx.PutSignal(s, res.Identity.ID)
	if err != nil {
		return err
	}
	b.res.count(put, PlaceOf(s))
	if put == PutUpdated && before != "" && before != res.Identity.ID {
		b.touch(before).assess = true // it lost the signal
	}
	if put == PutNew || put == PutUpdated {
		t := b.touch(res.Identity.ID)
		t.assess = true
		if s.State.Open() {
			t.triggers = append(t.triggers, s)
		}
	}
	return nil
}

// refusal says why a signal is not taken in the tenant; empty when it is.
func refusal(t identity.Tenant, s signal.Signal) string {
	switch {
	case s.Tenant != t:
		return fmt.Sprintf("belongs to the tenant %q", s.Tenant)
	case s.Source == "" || s.ExternalID == "":
		return "has no source or no id"
	case len(s.Subject.Keys()) == 0:
		return "names no strong identifier"
	}
	return ""
}

// ownerBefore returns whose signal it was until now; empty for a new one. A later
// version may be about another account, of a detection as of an alert.
func (b *batch) ownerBefore(s signal.Signal) (identity.ID, error) {
	id, _, err := b.tx.SignalOwner(s.Key())
	return id, err
}

func (b *batch) risk(stream connector.Name, r signal.AccountRisk) error {
	b.res.Read++
	reason := ""
	if r.Tenant != b.tenant {
		reason = fmt.Sprintf("belongs to the tenant %q", r.Tenant)
	}
	var res identity.Resolution
	if reason == "" {
		var ok bool
		var err error
		if res, ok, err = b.resolve(r.Subject, "the risk of "+r.Subject.Name()); err != nil {
			return err
		}
		if !ok {
			reason = "names no strong identifier"
		}
	}
	if reason != "" {
		return b.reject(stream, connector.Reject{Place: PlaceOf(r), Reason: reason, Raw: r.Raw})
	}
	told, err := b.told(r, res.Identity.ID)
	if err != nil || told {
		return err
	}
	put, err := b.tx.PutAccountRisk(r, res.Identity.ID)
	if err != nil {
		return err
	}
	b.res.count(put, PlaceOf(r))
	if put == PutNew || put == PutUpdated {
		t := b.touch(res.Identity.ID)
		t.assess, t.risky = true, append(t.risky, r.Subject)
	}
	return nil
}

// told reports whether the account's history has told r already, and who made the
// change besides: then r says less than what is there.
func (b *batch) told(r signal.AccountRisk, owner identity.ID) (bool, error) {
	if r.By != "" {
		return false, nil
	}
	known, err := b.tx.AccountRisksOf(b.tenant, owner)
	if err != nil {
		return false, err
	}
	for _, k := range known {
		if k.By != "" && k.Subject.ObjectID == r.Subject.ObjectID && k.UpdatedAt.Equal(r.UpdatedAt) &&
			k.Level == r.Level && k.State == r.State && k.Detail == r.Detail && k.Deleted == r.Deleted {
			b.res.Duplicate++
			return true, nil
		}
	}
	return false, nil
}

// follow draws the consequences for one identity: its assessment, its case, and
// the runs that the playbooks want.
func (b *batch) follow(id identity.ID, t *touch) error {
	var on []string
	if t.assess {
		var err error
		if on, err = b.assess(id); err != nil {
			return err
		}
	}
	c, open, err := b.tx.OpenCase(b.tenant, id)
	if err != nil || !open {
		return err
	}
	b.risky = append(b.risky, t.risky...)
	i, err := b.tx.Identity(b.tenant, id)
	if err != nil {
		return err
	}
	if c.Name != i.Name {
		c.Name = i.Name
		if _, err := b.tx.PutCase(c); err != nil {
			return err
		}
	}
	if t.facts {
		again, err := b.p.Runs.Again(b.tx, b.tenant, c.ID)
		if err != nil {
			return err
		}
		for _, r := range again {
			b.res.Runs = append(b.res.Runs, r.ID)
		}
	}
	return b.ask(id, c.ID, on, t.triggers)
}

// assess forms the opinion anew, opens or updates the case, and says what
// happened in the words of a playbook's trigger.
func (b *batch) assess(id identity.ID) (on []string, err error) {
	in := risk.Input{Tenant: b.tenant, Identity: id}
	if in.Signals, err = b.tx.SignalsOf(b.tenant, id); err != nil {
		return nil, err
	}
	if in.Accounts, err = b.tx.AccountRisksOf(b.tenant, id); err != nil {
		return nil, err
	}
	if v, ok, err := b.tx.LastVerdict(b.tenant, id); err != nil {
		return nil, err
	} else if ok {
		in.Verdict = risk.Verdict{Word: string(v.Word), At: v.At}
	}
	if in.Exceptions, err = b.exceptions(); err != nil {
		return nil, err
	}
	if c, open, err := b.tx.OpenCase(b.tenant, id); err != nil {
		return nil, err
	} else if open {
		in.CaseSince = c.OpenedAt
	}
	old, err := b.tx.Assessment(b.tenant, id)
	if err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	a := risk.Assess(in, b.now)
	if err := b.tx.PutAssessment(a); err != nil {
		return nil, err
	}
	if old.Level != a.Level || old.Score != a.Score {
		on = append(on, playbook.OnRisk)
	}
	opened, err := b.file(id, a, in)
	if opened {
		on = append(on, playbook.OnCase)
	}
	return on, err
}

// exceptions reads the tenant's exceptions once for the batch.
func (b *batch) exceptions() ([]risk.Exception, error) {
	if !b.excepted {
		var err error
		if b.except, err = b.tx.Exceptions(b.tenant); err != nil {
			return nil, err
		}
		b.excepted = true
	}
	return b.except, nil
}

// file lets the identity's case absorb the assessment. A case is opened at level
// low, but not for what an operator has given a verdict on already.
func (b *batch) file(id identity.ID, a risk.Assessment, in risk.Input) (opened bool, err error) {
	i, err := b.tx.Identity(b.tenant, id)
	if err != nil {
		return false, err
	}
	c, open, err := b.tx.OpenCase(b.tenant, id)
	if err != nil {
		return false, err
	}
	if !open {
		if a.Level.Rank() < signal.LevelLow.Rank() || !risk.Unheard(in) {
			return false, nil
		}
		c = casefile.Begin(i, b.now)
		c.Return = risk.Returned(in, a)
	}
	next := c.Absorb(a, in.Signals, b.now)
	next.Name = i.Name
	if next == c {
		return false, nil
	}
	if next, err = b.tx.PutCase(next); err != nil {
		return false, err
	}
	e := audit.Entry{
		Tenant: b.tenant, At: b.now, Actor: access.BySystem("ingest"), Identity: string(id), Case: string(next.ID),
		Data: map[string]any{"level": a.Level, "score": a.Score},
	}
	switch {
	case !open && next.Return != "":
		e.Kind, e.Text = audit.CaseOpened, fmt.Sprintf("case opened for %s: risk returned %s", next.Name, next.Return)
	case !open:
		e.Kind, e.Text = audit.CaseOpened, fmt.Sprintf("case opened for %s: %s", next.Name, next.Reason)
	case next.Reopened > c.Reopened:
		e.Kind, e.Text = audit.CaseReopened, fmt.Sprintf("case of %s opened again: %s", next.Name, next.Waits)
	default:
		return false, nil
	}
	b.res.Cases = append(b.res.Cases, next.ID)
	return true, b.tx.Audit(e)
}

// ask offers what happened to the playbooks and starts the runs they want: once
// for each signal, or once for the changed assessment when no signal came.
func (b *batch) ask(id identity.ID, c casefile.ID, on []string, triggers []signal.Signal) error {
	if len(triggers) == 0 && len(on) == 0 {
		return nil
	}
	in, err := b.p.Runs.Input(b.tx, b.tenant, id, on, nil)
	if err != nil {
		return err
	}
	if len(triggers) == 0 {
		return b.match(in, c)
	}
	for n := range triggers {
		in.Trigger = &triggers[n]
		in.On = append([]string{playbook.OnSignal}, on...)
		if err := b.match(in, c); err != nil {
			return err
		}
		on = nil // the case was opened once, not once for each signal
	}
	return nil
}

func (b *batch) match(in playbook.Input, c casefile.ID) error {
	trigger := ""
	if in.Trigger != nil {
		trigger = in.Trigger.ExternalID
	}
	for _, m := range b.p.Runs.Planner.Match(in) {
		if m.Err != nil {
			b.p.log().Warn("a playbook could not be asked", "playbook", m.Ref.ID, "tenant", b.tenant, "identity", in.Identity.ID, "err", m.Err)
			continue
		}
		r, begun, err := b.p.Runs.Begin(b.tx, run.Start{Match: m, Case: c, Input: in, AskedBy: access.ByPlaybook(m.Ref.ID), Trigger: trigger})
		if err != nil {
			return err
		}
		if begun {
			b.res.Runs = append(b.res.Runs, r.ID)
		}
	}
	return nil
}
