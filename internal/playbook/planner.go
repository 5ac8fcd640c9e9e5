package playbook

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// DefaultExpiry is how long the default approval waits for an answer.
const DefaultExpiry = 30 * time.Minute

// Plan makes the plan of ref for in.Identity. The trigger is not asked again: a
// person may plan any playbook on anybody. A ref without a hash means the
// library's version of that id; one with a hash that is not the library's returns
// fault.Conflict, an unheard-of id fault.NotFound, an input of two tenants
// fault.Invalid. That something must not or cannot be done is not an error but
// the plan's Refused or Held (then it has no steps), or a step's Skip or Held.
//
// A step without an approval of its own asks the playbook's owner group, one
// person, within DefaultExpiry, when the identity is privileged or the step gives
// access back; else it needs none.
//
// The same Input gives the same plan, whatever the order of its slices.
func (l *Library) Plan(ref Ref, in Input) (Plan, error) {
	p, ok := l.byID[ref.ID]
	switch {
	case !ok:
		return Plan{}, fault.Errorf(fault.NotFound, "no playbook %q; there are %s", ref.ID, strings.Join(slices.Sorted(maps.Keys(l.byID)), ", "))
	case ref.Hash != "" && ref.Hash != p.Ref.Hash:
		return Plan{}, fault.Errorf(fault.Conflict, "playbook %s changed since: asked for version %s, there is %s (or its text differs)", ref.ID, ref.Version, p.Ref.Version)
	case in.Identity.Tenant != "" && in.Identity.Tenant != in.Tenant:
		return Plan{}, fault.Errorf(fault.Invalid, "identity %s is of tenant %s, not %s", in.Identity.ID, in.Identity.Tenant, in.Tenant)
	}
	f, err := factsOf(in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{
		Playbook: p.Ref, Title: p.Title, Mode: p.Mode, Catalogue: l.catalogue,
		Tenant: in.Tenant, Identity: in.Identity.ID,
		Name: in.Identity.Name, Score: in.Assessment.Score, Level: in.Assessment.Level,
		Reasons: slices.Clone(in.Assessment.Reasons), MadeAt: in.Now,
	}
	for _, g := range p.Guards.Refuse {
		plan.Guards = append(plan.Guards, Guard{g.When, g.Why})
	}
	plan.Mode, plan.Pilot = p.mode(in.Identity)
	plan.ContainedWhen = p.Done.ContainedWhen
	plan.UndoOnFailure, plan.PageOnFailure, plan.HoldOnFailure = p.Done.Undo, p.Done.Page, p.Done.Hold
	plan.Refused, plan.Held = stop(p, in, f)
	if rate := p.Guards.Rate; rate != nil && plan.Refused == "" {
		key, err := rate.key.string(f)
		if err != nil {
			plan.Held = cmp.Or(plan.Held, "its rate could not be decided: "+err.Error())
		}
		plan.Rate = &Rate{key, rate.Limit, rate.Per, rate.Over}
	}
	if plan.Refused == "" && plan.Held == "" {
		for i := range p.Steps {
			steps, err := l.expand(p, &p.Steps[i], in, f)
			if err != nil {
				return Plan{}, err
			}
			if plan.Steps, err = l.foresee(plan.Steps, steps, &p.Steps[i], in); err != nil {
				return Plan{}, err
			}
		}
		plan.Cost = l.cost(plan.Steps)
	}
	plan.Hash, err = plan.digest()
	return plan, err
}

// foresee appends steps of one rule to those before. A condition on how earlier steps
// come out is decided now when what it asks is known already: a step that is held in
// the plan stays held in its run. Of a step whose way is down it says so at once when
// it is called for, and as a limit while that is open.
func (l *Library) foresee(before, steps []Step, s *StepRule, in Input) ([]Step, error) {
	if s.cond == nil || !s.cond.uses["steps"] {
		return append(before, steps...), nil
	}
	in.Steps = map[string]Standing{}
	for _, b := range before {
		if b.Held != "" && b.Of == "" {
			in.Steps[b.ID] = Standing{State: "held", Held: true}
		}
	}
	f, err := factsOf(in)
	if err != nil {
		return nil, err
	}
	for _, st := range steps {
		why := ""
		if t, err := l.cat.Type(st.Action); err == nil {
			why = outage(t.Spec(), st.Account, in)
		}
		if st.Later && why != "" && st.Held == why {
			if called, err := s.cond.bool(f); err == nil && called {
				st.Later = false
			} else {
				st.Held, st.Limits = "", strings.TrimSpace(st.Limits+" As things stand it could not be done: "+why+".")
			}
		}
		before = append(before, st)
	}
	return before, nil
}

// outage says why the way to the account is known not to work now; "" when it is not.
func outage(spec action.Spec, account identity.Ref, in Input) string {
	for _, o := range in.Outages {
		if o.Provider == spec.Provider && o.Via == cmp.Or(spec.Via, spec.Provider) && (o.Domain == "" || strings.EqualFold(o.Domain, account.Domain)) {
			return o.Why
		}
	}
	return ""
}

// mode says how far the playbook goes on i, and why less far than it says.
func (p *Playbook) mode(i identity.Identity) (Mode, string) {
	if len(p.Pilot) == 0 || p.Mode != Enforce {
		return p.Mode, ""
	}
	known, read := groupsOf(i), 0
	for _, g := range p.Pilot {
		in, ok := known[g]
		if in {
			return Enforce, ""
		}
		if ok {
			read++
		}
	}
	if read < len(p.Pilot) {
		return Observe, "whether it is in the playbook's pilot group has not been read"
	}
	return Observe, "it is not in the playbook's pilot group"
}

// stop says why nothing may be done at all, or nothing for now. A refusal wins
// over a hold, because a hold is asked again.
func stop(p *Playbook, in Input, f *facts) (refused, held string) {
	switch {
	case in.Protection.Unknown:
		held = "protected until it is known not to be: " + strings.Join(in.Protection.Reasons, "; ")
	case in.Protection.Protected():
		return "protected: " + strings.Join(in.Protection.Reasons, "; "), ""
	}
	hold := func(text string) { held = cmp.Or(held, text) }
	if len(in.Identity.Accounts) == 0 {
		hold("no account of it is known")
	}
	if in.Identity.Kind == identity.KindUnknown || in.Identity.Kind == "" {
		hold("what kind of identity it is is not known yet: no directory has been asked successfully")
	}
	for _, g := range p.Guards.Refuse {
		refuses, err := g.when.bool(f)
		switch {
		case err != nil:
			hold(fmt.Sprintf("the guard %q could not be decided: %v", g.Why, err))
		case refuses:
			return g.Why, ""
		}
	}
	return "", held
}

// expand makes what one step of a playbook comes to: one step, or one for each
// element of for_each.
func (l *Library) expand(p *Playbook, s *StepRule, in Input, f *facts) ([]Step, error) {
	switch {
	case s.Kind != KindAct:
		return []Step{flowStep(s, f)}, nil
	case s.each == nil:
		step, err := l.step(p, s, in, f)
		if err != nil {
			return nil, err
		}
		if cloud, ok := l.cloudSide(step, s, in); ok {
			return []Step{step, cloud}, nil
		}
		return []Step{step}, nil
	}
	// What it is done for is part of the plan, so it is decided now.
	elements, err := s.each.strings(f)
	none := Step{ID: s.ID, Title: cmp.Or(s.Title, string(s.Uses)), Uses: s.Uses, After: s.After, OnError: s.OnError, Contains: s.Contains, Bound: s.Max, Account: firstRef(in.Identity)}
	switch {
	case err != nil:
		none.Held = "what it is to be done for could not be decided: " + err.Error()
	case len(elements) == 0:
		none.Skip = fmt.Sprintf("there is nothing to do it for: %s is empty", s.ForEach)
	case len(elements) > s.Max:
		none.Held = fmt.Sprintf("it would be done %d times, and at most %d are allowed: a person must decide", len(elements), s.Max)
	default:
		var out []Step
		for n, v := range elements {
			each := in
			each.Each = map[string]string{s.As: v}
			fe, err := factsOf(each)
			if err != nil {
				return nil, err
			}
			step, err := l.step(p, s, each, fe)
			if err != nil {
				return nil, err
			}
			step.Of, step.ID, step.Each, step.Bound = s.ID, fmt.Sprintf("%s-%d", s.ID, n+1), each.Each, s.Max
			step.Group = cmp.Or(s.Group, s.ID)
			out = append(out, step)
		}
		return out, nil
	}
	return []Step{none}, nil
}

// cloudSide makes the step that does in Entra what step does in Active Directory, for
// a synchronised account: the synchronisation would bring it, but only after up to 30
// minutes. That holds for what the cloud's action can do to such an account, which
// it says by its input synced.
func (l *Library) cloudSide(step Step, s *StepRule, in Input) (Step, bool) {
	route, ok := l.cat.Route(s.Uses)
	if !ok || step.Route != identity.ActiveDirectory || step.Action == "" || step.Skip != "" || step.Held != "" {
		return Step{}, false
	}
	entra, has := in.Identity.Account(identity.EntraID)
	t, err := l.cat.Type(route.To[identity.EntraID])
	if err != nil || !has || deleted(entra) || !slices.Contains(in.Connected, identity.EntraID) {
		return Step{}, false
	}
	spec := t.Spec()
	if !slices.ContainsFunc(spec.Params, func(p action.Param) bool { return p.Name == paramSynced }) {
		return Step{}, false
	}
	out := step
	out.ID, out.Uses, out.Account, out.Contains, out.OnError = step.ID+"-cloud", spec.Name, entra.Ref, false, ErrorContinue
	out.Params, out.Within = map[string]any{paramSynced: true}, s.Within
	out.Held = unfit(spec, identity.EntraID, s, in)
	l.describe(&out, spec, in)
	out.Title = cmp.Or(spec.Title, string(spec.Name)) + " in the cloud too"
	return out, true
}

// paramSynced is the input of an action in Entra that may be done to an account
// mastered in Active Directory.
const paramSynced = "synced"

// flowStep makes a wait, a question or an end.
func flowStep(s *StepRule, f *facts) Step {
	out := Step{ID: s.ID, Title: s.Title, Kind: s.Kind, After: s.After, OnError: s.OnError, Note: s.Note}
	switch s.Kind {
	case KindWait:
		out.Until, out.Within, out.OnTimeout = s.Until, s.Wait, s.OnTimeout
		out.Title = cmp.Or(out.Title, "Wait until "+s.Until)
		out.Change = fmt.Sprintf("nothing; what follows waits until %s, at most %s", s.Until, s.Wait)
		if s.OnTimeout == TimeoutFail {
			out.OnError = ErrorFail
		}
	case KindAsk:
		out.Ask, out.Within, out.OnTimeout = s.Ask, s.Wait, s.OnTimeout
		out.Title = cmp.Or(out.Title, fmt.Sprintf("Ask the %s whether it was them", s.Ask))
		out.Change = fmt.Sprintf("nothing; what follows waits for the answer, at most %s", s.Wait)
		if s.OnTimeout == TimeoutFail {
			out.OnError = ErrorFail
		}
	default:
		out.End = s.End
		out.Title = "End: " + strings.ReplaceAll(string(s.End), "_", " ")
		out.Change = cmp.Or(s.Note, "nothing; what follows is not done")
	}
	decide(&out, s, f)
	return out
}

// decide evaluates a step's condition, as far as it can be now: what asks how
// other steps came out waits for them.
func decide(out *Step, s *StepRule, f *facts) {
	if s.cond == nil {
		return
	}
	out.If = s.If
	if s.cond.uses["steps"] {
		out.After = AfterVerified // how a step came out is known when it is over, not when it is accepted
	}
	switch holds, err := s.cond.bool(f); {
	case err != nil && s.cond.uses["steps"] && f.missing["steps"] != "":
		out.Later = true
	case err != nil:
		out.Held = cmp.Or(out.Held, "its condition could not be decided: "+err.Error())
	case !holds:
		out.Skip, out.Held = fmt.Sprintf("not called for: %s is false", s.If), ""
	}
}

// step binds one step to an account.
func (l *Library) step(p *Playbook, s *StepRule, in Input, f *facts) (Step, error) {
	out := Step{
		ID: s.ID, Title: s.Title, Uses: s.Uses, Params: maps.Clone(s.With), Group: s.Group, TTL: s.TTL, MaxTTL: s.MaxTTL, Timeout: s.Timeout,
		After: s.After, OnError: s.OnError, Contains: s.Contains, Within: s.Within,
	}
	for name, prg := range s.inputs {
		v, err := prg.value(f)
		if err != nil {
			out.Held = cmp.Or(out.Held, fmt.Sprintf("its input %s could not be decided: %v", name, err))
			continue
		}
		out.Params[name] = v
	}
	spec, account, held, skip := l.target(s, in, f)
	out.Account, out.Held, out.Skip = account, cmp.Or(held, out.Held), skip
	title := string(s.Uses)
	if route, ok := l.cat.Route(s.Uses); ok {
		title = cmp.Or(route.Title, title)
		if authority, known := in.Identity.Authority(); known {
			out.Route = authority
		}
	}
	if spec != nil {
		l.describe(&out, *spec, in)
		title = cmp.Or(spec.Title, title)
	} else {
		out.Change = fmt.Sprintf("%s: %s", name(in.Identity, account), title)
	}
	out.Title = cmp.Or(s.Title, title)
	out.Approval = rule(p, s, out.Effect, in)
	if out.Skip != "" {
		out.Held = ""
		return out, nil
	}
	decide(&out, s, f)
	return out, nil
}

// target picks the concrete action and the account. held says why there is none,
// or why it cannot be done to this account; spec may be known even then.
func (l *Library) target(s *StepRule, in Input, f *facts) (spec *action.Spec, account identity.Ref, held, skip string) {
	name, provider := s.Uses, identity.Provider("")
	if route, ok := l.cat.Route(s.Uses); ok {
		authority, known := in.Identity.Authority()
		if !known {
			return nil, firstRef(in.Identity), "which directory is the authority is not known: whether the account is synced from Active Directory has not been read", ""
		}
		account = refIn(in.Identity, authority)
		t, err := l.cat.Type(route.To[authority])
		if err != nil || !slices.Contains(in.Connected, authority) {
			return nil, account, directoryName(authority) + " not connected", ""
		}
		name, provider = t.Spec().Name, authority
	}
	t, err := l.cat.Type(name)
	if err != nil { // checked when the playbook was loaded, against this catalogue
		return nil, firstRef(in.Identity), err.Error(), ""
	}
	sp := t.Spec()
	provider = cmp.Or(provider, sp.Provider)
	if s.account != nil {
		return chosen(s, sp, in, f)
	}
	account = refIn(in.Identity, provider)
	return &sp, account, unfit(sp, provider, s, in), ""
}

// chosen is target for a step that names its account.
func chosen(s *StepRule, sp action.Spec, in Input, f *facts) (spec *action.Spec, account identity.Ref, held, skip string) {
	key, err := s.account.string(f)
	if err != nil {
		return &sp, firstRef(in.Identity), "its account could not be decided: " + err.Error(), ""
	}
	for _, a := range in.Identity.Accounts {
		if a.Key() != key || key == "" {
			continue
		}
		if a.Provider != sp.Provider {
			return &sp, a.Ref, "", fmt.Sprintf("the account is in %s, and the action is for %s", directoryName(a.Provider), directoryName(sp.Provider))
		}
		one := in
		one.Identity.Accounts = []identity.Account{a}
		return &sp, a.Ref, unfit(sp, sp.Provider, s, one), ""
	}
	return &sp, firstRef(in.Identity), fmt.Sprintf("the identity has no account %q", clip(key)), ""
}

// unfit says why the action cannot be done to the identity's account in the
// directory p, in words; "" when it can.
func unfit(spec action.Spec, p identity.Provider, s *StepRule, in Input) string {
	i := in.Identity
	a, has := i.Account(p)
	if deleted(a) {
		return fmt.Sprintf("the account was deleted in %s: nothing can be changed there any more", directoryName(p))
	}
	if via := cmp.Or(spec.Via, p); !slices.Contains(in.Connected, via) {
		return directoryName(via) + " not connected"
	}
	switch {
	case !has:
		return "no account in " + directoryName(p) + " is known"
	case a.Facts.OnPremises != nil && a.Facts.OnPremises.Class == identity.ClassForeign && spec.Via == "":
		return directoryName(p) + " not connected: the account is of another domain than those configured"
	case a.Key() == "":
		return "the account's own id in " + directoryName(p) + " is not known"
	case spec.Password && i.KeptPassword() != "":
		return i.KeptPassword()
	case forPeople(spec.Name) && (i.Kind == identity.KindWorkload || a.Kind == identity.KindWorkload):
		return "an action for people, and this is a workload"
	case forWorkloads(spec.Name) && i.Kind != identity.KindWorkload && a.Kind != identity.KindWorkload:
		return "an action for workloads, and this is none"
	case forAgents(spec.Name) && i.Kind != identity.KindAgent && a.Kind != identity.KindAgent:
		return "an action for agents, and this is none"
	case forPeople(spec.Name) && (i.Kind == identity.KindAgent || a.Kind == identity.KindAgent):
		return "no action for agents yet"
	case forPeople(spec.Name) && (i.Kind == identity.KindComputer || a.Kind == identity.KindComputer):
		return "no action for computers yet"
	case spec.Effect == action.EffectCredential && guest(i, a):
		return "a guest: its credentials are kept by its home tenant and cannot be changed here"
	case spec.Effect == action.EffectCredential && len(in.Assessment.Causes) > 0 && !fits(spec, in.Assessment.Causes) && !cleans(spec, s, in.Assessment.Causes):
		return fmt.Sprintf("it does not fit the cause: the signals say %s, and this is a remedy for %s", joinCauses(in.Assessment.Causes), joinCauses(spec.Remedies))
	}
	return outage(spec, a.Ref, in)
}

// cleans reports whether the step only takes away what an attacker may have left after
// one of the causes: done with the action's defaults, and not as what contains.
func cleans(spec action.Spec, s *StepRule, causes []signal.Cause) bool {
	return !s.Contains && len(s.With) == 0 && len(s.inputs) == 0 && slices.ContainsFunc(causes, func(c signal.Cause) bool { return slices.Contains(spec.Cleans, c) })
}

// forPeople reports whether the action's name says that it is done to a user
// account.
func forPeople(n action.Name) bool {
	return strings.Contains(string(n), ".user.") || strings.Contains(string(n), ".account.")
}

// forWorkloads reports whether it says that it is done to a workload.
func forWorkloads(n action.Name) bool { return strings.Contains(string(n), ".workload.") }

// clears reports whether the action's name says that it ends a risk without anything
// having been changed.
func clears(n action.Name) bool {
	return strings.HasSuffix(string(n), ".dismiss_risk") || strings.HasSuffix(string(n), ".confirm_safe")
}

// forAgents reports whether it says that it is done to an agent.
func forAgents(n action.Name) bool { return strings.Contains(string(n), ".agent.") }

func deleted(a identity.Account) bool { return a.Facts.Found != nil && !*a.Facts.Found }

func guest(i identity.Identity, a identity.Account) bool {
	return i.Kind == identity.KindGuest || a.Kind == identity.KindGuest || strings.EqualFold(a.Facts.UserType, "Guest")
}

// refIn is the identity's account in p, or else the best it has.
func refIn(i identity.Identity, p identity.Provider) identity.Ref {
	if a, ok := i.Account(p); ok {
		return a.Ref
	}
	return firstRef(i)
}

func firstRef(i identity.Identity) identity.Ref {
	if len(i.Accounts) == 0 {
		return identity.Ref{}
	}
	return slices.MinFunc(i.Accounts, func(a, b identity.Account) int {
		return cmp.Or(-cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key(), b.Key()))
	}).Ref
}

func name(i identity.Identity, account identity.Ref) string { return cmp.Or(i.Name, account.Name()) }

// describe fills in what the action says of itself.
func (l *Library) describe(out *Step, spec action.Spec, in Input) {
	out.Action, out.Route = spec.Name, spec.Provider
	out.Permissions = slices.Clone(spec.Permissions)
	out.Effect, out.Undo, out.Irreversible, out.Limits = spec.Effect, spec.Undo, spec.Irreversible, spec.Limits
	out.Within = cmp.Or(out.Within, spec.Within)
	out.Verify = fmt.Sprintf("read back from %s within %s; accepted alone does not count", directoryName(spec.Provider), out.Within)
	out.Change = fmt.Sprintf("%s: %s", name(in.Identity, out.Account), cmp.Or(spec.Summary, spec.Title))
	if more := otherSide(spec, in); more != "" {
		out.Limits = strings.TrimSpace(out.Limits + " " + more)
	}
	params := map[string]any{}
	for _, p := range spec.Params {
		if v, ok := out.Params[p.Name]; ok {
			params[p.Name] = v
		} else if v := filled(p.Fill, in.Signals); v != "" {
			params[p.Name] = v
		} else if p.Default != nil {
			params[p.Name] = p.Default
		} else if p.Required {
			out.Held = cmp.Or(out.Held, fmt.Sprintf("no open signal says its %s: %s", p.Name, p.Text))
		}
	}
	if out.Params = params; len(params) == 0 {
		out.Params = nil
	}
}

// otherSide says what a change of a synchronised account's credential does in its
// other directory, as the tenant's settings have it.
func otherSide(spec action.Spec, in Input) string {
	entra, cloud := in.Identity.Account(identity.EntraID)
	if spec.Effect != action.EffectCredential || !cloud || entra.Facts.Synced == nil || !*entra.Facts.Synced {
		return ""
	}
	if spec.Provider == identity.ActiveDirectory {
		return in.Synchronisation.OnPremisesReset()
	}
	if strings.Contains(string(spec.Name), "password") {
		return in.Synchronisation.CloudReset()
	}
	return ""
}

// rule is the approval a step needs. Privilege that is not known counts as
// privilege.
func rule(p *Playbook, s *StepRule, effect action.Effect, in Input) *approval.Rule {
	if s.Approval != nil {
		r := *s.Approval
		r.From = slices.Clone(r.From)
		return &r
	}
	privileged, known := in.Identity.Privileged()
	if known && !privileged && effect != action.EffectRelease {
		return nil
	}
	return &approval.Rule{Mode: approval.Before, From: []string{p.Owner}, Quorum: 1, Expires: DefaultExpiry, OnExpiry: approval.ExpiryEscalate}
}

// cost counts the requests that the steps send at the least: one to look, one to
// act, one to read back. Waiting for an effect to show reads again.
func (l *Library) cost(steps []Step) map[action.Bucket]int {
	out := map[action.Bucket]int{}
	for _, s := range steps {
		if s.Skip != "" || s.Held != "" {
			continue
		}
		t, err := l.cat.Type(s.Action)
		if err != nil {
			continue // a step that is neither skipped nor held has its action from this catalogue
		}
		spec := t.Spec()
		out[spec.Bucket]++
		out[cmp.Or(spec.ReadBucket, action.BucketDirectoryRead)] += 2
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
