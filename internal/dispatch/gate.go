package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/campaign"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Verdict is what the gate says of one action.
type Verdict string

// The verdicts, from mild to harsh.
const (
	Allow  Verdict = "allow"
	Hold   Verdict = "hold"   // not now: it is asked again, or a person releases it
	Refuse Verdict = "refuse" // never: nothing leaves the house
)

// Rule names what the gate checks.
type Rule string

// The rules.
const (
	RuleStop      Rule = "stop"      // the global stop
	RuleOwner     Rule = "owner"     // one owner per tenant, by fence
	RulePerson    Rule = "person"    // a person must decide first
	RuleRun       Rule = "run"       // its run goes on
	RulePlan      Rule = "plan"      // it belongs to the plan that was approved
	RuleObserve   Rule = "observe"   // the tenant or the playbook only observes
	RuleStill     Rule = "still"     // what the plan rests on holds
	RuleAccount   Rule = "account"   // the account is the identity's
	RuleProtected Rule = "protected" // law 1
	RuleTag       Rule = "tag"       // what nobody had to approve was not planned for who is tagged since
	RuleFacts     Rule = "facts"     // what must be known is known and fresh
	RuleRadius    Rule = "radius"    // how many may be disrupted in an hour
	RuleRate      Rule = "rate"      // how many in a minute
	RuleCampaign  Rule = "campaign"  // its campaign goes and has come to it
)

// A Reason is one ground of a decision. Texts hold no changing numbers: the same
// ground reads the same when it is asked again.
type Reason struct {
	Rule    Rule
	Verdict Verdict // Hold or Refuse
	Text    string
	Again   time.Duration // Hold: when to ask again; 0: a person releases it
}

// A Decision is the gate's answer with all its grounds.
type Decision struct {
	Verdict Verdict
	Reasons []Reason // those that speak against; none for Allow
}

// Text is the decision in words, "" for Allow. Grounds milder than the verdict
// are left out: who is protected need not know of the hourly limit.
func (d Decision) Text() string {
	var texts []string
	for _, r := range d.Reasons {
		if r.Verdict == d.Verdict && !slices.Contains(texts, r.Text) {
			texts = append(texts, r.Text)
		}
	}
	return strings.Join(texts, "; ")
}

// Rule is the first ground that decided, "" for Allow.
func (d Decision) Rule() Rule {
	for _, r := range d.Reasons {
		if r.Verdict == d.Verdict {
			return r.Rule
		}
	}
	return ""
}

// Again is when to ask again: the longest of all grounds, 0 when one of them
// waits for a person.
func (d Decision) Again() time.Duration {
	var again time.Duration
	for _, r := range d.Reasons {
		if r.Verdict == Hold && r.Again == 0 {
			return 0
		}
		again = max(again, r.Again)
	}
	return again
}

// How soon a hold is asked again.
const (
	againStop   = time.Second // law 6 works both ways: what waits goes on within a second or two
	againFacts  = 10 * time.Second
	againRadius = 30 * time.Second
	againRun    = 5 * time.Second
	againMode   = 30 * time.Second
)

// maxLookAge is how old the reading of the target may be when its intent is
// written: older than the longest wait for a request slot would be a guess.
const maxLookAge = 30 * time.Second

// Facts are all that a decision rests on, read in one transaction.
type Facts struct {
	Now    time.Time
	Action action.Action
	Spec   action.Spec

	Stop  Stop
	Fence int64 // of the tenant's present lease
	Held  int64 // the fence this dispatcher holds

	Run     *run.Run // nil: there is none
	Observe bool     // the tenant's mode
	// Catalogue is the version of what the actions mean now; a plan made under
	// another one was approved for something else.
	Catalogue string

	Campaign *campaign.Campaign // nil: the action belongs to none, or it is gone
	// What the plan rests on, asked again: the guard that refuses now, why the step
	// is not called for any more, and what of it cannot be decided.
	Refused, Moot, Undecided string

	Identity   *identity.Identity  // with the newest facts; nil: there is none
	Protection identity.Protection // of Identity, by the current policy
	LookedAt   time.Time           // when the target was read; zero: never

	Hour   Radius // disrupted in the last hour, this identity not counted; where there is room, at most so many
	Minute Radius // the same for the last minute
}

// A Gate decides whether an action may leave the house. It is the last check
// before the wire and the only one every caller passes (laws 1 and 6). It is
// pure: the same facts give the same decision.
//
// Actions that give access back (undo, release) are exempt from the blast-radius
// limits, because a brake must not keep people locked out. They are not exempt
// from anything else: automation does not touch a protected account, not even to
// re-enable it, and the global stop stops them too.
type Gate struct {
	Limits Limits
}

// Check decides. It does not stop at the first ground: whoever looks must see
// them all.
func (g Gate) Check(f Facts) Decision {
	var reasons []Reason
	hold := func(r Rule, again time.Duration, format string, args ...any) {
		reasons = append(reasons, Reason{r, Hold, fmt.Sprintf(format, args...), again})
	}
	refuse := func(r Rule, format string, args ...any) {
		reasons = append(reasons, Reason{r, Refuse, fmt.Sprintf(format, args...), 0})
	}
	if f.Stop.On {
		hold(RuleStop, againStop, "the global stop is on: %s", cause(f.Stop))
	}
	if f.Fence != f.Held {
		hold(RuleOwner, againStop, "another dispatcher owns this tenant now")
	}
	if f.Action.Person {
		hold(RulePerson, 0, "it waits for a person")
	}
	g.checkRun(f, hold, refuse)
	if f.Observe {
		hold(RuleObserve, againMode, "the tenant is in observe mode: nothing leaves")
	}
	g.checkIdentity(f, hold, refuse)
	if f.Action.Campaign != "" {
		g.checkCampaign(f, hold, refuse)
	} else {
		g.checkRadius(f, hold)
	}

	d := Decision{Verdict: Allow, Reasons: reasons}
	for _, r := range reasons {
		if r.Verdict == Refuse || d.Verdict == Allow {
			d.Verdict = r.Verdict
		}
	}
	return d
}

type holdFunc func(r Rule, again time.Duration, format string, args ...any)
type refuseFunc func(r Rule, format string, args ...any)

func (Gate) checkRun(f Facts, hold holdFunc, refuse refuseFunc) {
	r := f.Run
	if r == nil {
		refuse(RuleRun, "its run is gone")
		return
	}
	switch {
	case r.State == run.HeldState: // ended for automation, and can be taken up again
		hold(RuleRun, againRun, "its run is held")
	case r.State.Final():
		refuse(RuleRun, "its run is already %s", r.State)
	}
	if r.Plan == nil {
		refuse(RulePlan, "its run has no plan")
		return
	}
	if f.Catalogue != "" && r.Plan.Catalogue != "" && r.Plan.Catalogue != f.Catalogue {
		refuse(RulePlan, "what its actions mean has changed since this was planned and approved: plan it again")
	}
	if r.Plan.Hash != f.Action.PlanHash {
		refuse(RulePlan, "the plan changed since this was approved")
	}
	if f.Refused != "" {
		refuse(RuleStill, "%s", f.Refused)
	}
	if f.Moot != "" {
		refuse(RuleStill, "%s", f.Moot)
	}
	if f.Undecided != "" {
		hold(RuleStill, againFacts, "%s", f.Undecided)
	}
	if r.Plan.Mode == playbook.Observe {
		refuse(RuleObserve, "the playbook is in observe mode: nothing leaves")
	}
}

func (g Gate) checkIdentity(f Facts, hold holdFunc, refuse refuseFunc) {
	if f.Identity == nil {
		refuse(RuleAccount, "its identity is not known")
		return
	}
	// Protection is judged by identity: an account that is not the identity's would
	// slip past it.
	key := identity.Account{Ref: f.Action.Account}.Key()
	if key == "" || !slices.ContainsFunc(f.Identity.Accounts, func(a identity.Account) bool {
		return a.Provider == f.Action.Account.Provider && a.Key() == key
	}) {
		refuse(RuleAccount, "the account is not one of %s's accounts any more", f.Identity.Name)
	}
	if f.Identity.Kind == identity.KindUnknown || f.Identity.Kind == "" {
		hold(RuleFacts, againFacts, "what kind of identity it is has not been read yet")
	}
	for _, text := range f.Protection.Reasons {
		if f.Protection.Unknown {
			hold(RuleFacts, againFacts, "%s", text)
		} else {
			refuse(RuleProtected, "protected: %s", text)
		}
	}
	g.checkTags(f, hold)
	if f.LookedAt.IsZero() || f.Now.Sub(f.LookedAt) > maxLookAge {
		hold(RuleFacts, againStop, "the account's present state was not read just now")
	}
}

// checkTags holds a new password for an account whose password another system keeps,
// and what was planned without anybody's approval for an identity that
// somebody has tagged since in a way that asks for one. Giving access back goes on.
func (Gate) checkTags(f Facts, hold holdFunc) {
	if kept := f.Identity.KeptPassword(); kept != "" && f.Spec.Password && f.Action.UndoOf == "" {
		hold(RuleTag, againFacts, "%s", kept)
	}
	if f.Run == nil || f.Run.Plan == nil || f.Action.Campaign != "" || f.Action.UndoOf != "" || f.Spec.Effect == action.EffectRelease {
		return
	}
	if slices.ContainsFunc(f.Run.Plan.Steps, func(s playbook.Step) bool { return s.ID == f.Action.Step && s.Approval != nil }) {
		return
	}
	for _, t := range f.Identity.Tagged() {
		if t.Name.Privileges() && t.At.After(f.Run.Plan.MadeAt) {
			hold(RuleTag, againFacts, "%s, after this was planned, and nobody has approved it: start the playbook again", t.Text())
		}
	}
}

// checkCampaign stands in for the blast-radius limits: people approved a list, and
// nobody who is not on it is reached by it.
func (Gate) checkCampaign(f Facts, hold holdFunc, refuse refuseFunc) {
	c := f.Campaign
	if c == nil || string(c.ID) != f.Action.Campaign {
		refuse(RuleCampaign, "its campaign is gone")
		return
	}
	consent := (*run.Consent)(nil)
	if f.Run != nil {
		consent = f.Run.Consent
	}
	switch {
	case c.Approval.State != approval.Approved || c.Approval.PlanHash != c.Hash:
		refuse(RuleCampaign, "its campaign was not approved")
	case consent == nil || consent.Campaign != f.Action.Campaign || consent.PlanHash != f.Action.PlanHash:
		refuse(RuleCampaign, "its plan is not the one that was approved with the campaign")
	case c.State == campaign.Stopped:
		refuse(RuleCampaign, "its campaign was stopped")
	case c.State == campaign.Paused:
		hold(RuleCampaign, againStop, "its campaign is paused")
	case f.Action.Place >= c.Released:
		hold(RuleCampaign, againStop, "its campaign has not come to it yet")
	}
}

func (g Gate) checkRadius(f Facts, hold holdFunc) {
	if !f.Spec.Disruptive() || f.Action.UndoOf != "" {
		return
	}
	l := g.Limits.filled()
	if f.Hour.Tenant >= l.AccountsPerHour {
		hold(RuleRadius, againRadius, "the limit of %d accounts an hour in this tenant is used up (limits.accounts_per_hour)", l.AccountsPerHour)
	}
	if f.Hour.Playbook >= l.PlaybookAccountsPerHour {
		hold(RuleRadius, againRadius, "the limit of %d accounts an hour for one playbook is used up (limits.playbook_accounts_per_hour)", l.PlaybookAccountsPerHour)
	}
	if f.Hour.Everywhere >= l.GlobalAccountsPerHour {
		hold(RuleRadius, againRadius, "the limit of %d accounts an hour over all tenants is used up (limits.global_accounts_per_hour)", l.GlobalAccountsPerHour)
	}
	if f.Minute.Tenant >= l.AccountsPerMinute {
		hold(RuleRate, againFacts, "the limit of %d accounts a minute in this tenant is used up (limits.accounts_per_minute)", l.AccountsPerMinute)
	}
}

func cause(s Stop) string {
	switch {
	case s.Reason != "" && s.By != "":
		return fmt.Sprintf("%s (%s)", s.Reason, s.By)
	case s.Reason != "":
		return s.Reason
	case s.By != "":
		return "switched on by " + string(s.By)
	}
	return "no reason given"
}
