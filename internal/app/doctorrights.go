package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionad "github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Scoped returns the grant that a directory's scope stands for; used are the actions
// when it names none.
func Scoped(s directory.Scope, used []action.Name) (actionad.Grant, error) {
	g := actionad.Grant{Units: s.Units, GroupsIn: s.Groups, Actions: used}
	if len(s.Actions) == 0 {
		return g, nil
	}
	known := map[action.Name]bool{}
	for _, t := range actionad.Types(nil, nil) {
		known[t.Spec().Name] = true
	}
	g.Actions = nil
	var errs []error
	for _, name := range s.Actions {
		n := action.Name(name)
		if !strings.Contains(name, ".") {
			n = "ad.account." + n
		}
		if !known[n] {
			errs = append(errs, fault.Errorf(fault.Invalid, "scope.actions: %.60q is no action in Active Directory", name))
		}
		g.Actions = append(g.Actions, n)
	}
	return g, errors.Join(errs...)
}

// delegation compares what the account may do with what the actions in use need, right
// by right.
func (e *domainCheck) delegation(ctx context.Context, client *directory.Client) {
	g, err := Scoped(e.scope, e.used)
	if err != nil {
		e.add(Check{Name: "rights", Health: Broken, Text: err.Error(), Fix: "correct scope.actions"})
		return
	}
	if len(g.Actions) == 0 {
		e.add(Check{Name: "rights", Health: Unknown, Text: "no playbook in use changes anything in Active Directory, and scope names no action: there is nothing to compare with"})
		return
	}
	found, err := g.Compare(ctx, client)
	if err != nil {
		e.failed("rights", err)
		return
	}
	for _, f := range found {
		e.add(checkOf(f))
	}
}

// checkOf says a finding in the doctor's words.
func checkOf(f actionad.Finding) Check {
	c := Check{Name: "right to " + f.Right, Health: Healthy}
	if f.Where != "" {
		c.Name += " below " + f.Where
	}
	if strings.HasPrefix(f.Right, "the privilege") {
		c.Name = f.Right
	}
	c.Text = fmt.Sprintf("on %d of %d accounts looked at", f.On, f.Of)
	if f.Right == "write member" {
		c.Text = fmt.Sprintf("on %d of %d groups looked at", f.On, f.Of)
	}
	if f.Text != "" && f.Of > 0 {
		c.Text += ", " + f.Text
	} else if f.Text != "" {
		c.Text = f.Text
	}
	if len(f.For) > 0 {
		c.Text += "; needed for: " + needs(f.For)
	}
	switch f.State {
	case actionad.RightMissing:
		c.Health, c.Fix = Missing, "`cordon directory grant --print` writes down the commands that delegate it; until then these actions are refused there"
	case actionad.RightExcess:
		c.Health, c.Fix = Excess, "take it away: nothing that was chosen needs it"
		c.Text = fmt.Sprintf("held on %d, %s", f.On, f.Text)
	case actionad.RightUnknown:
		c.Health = Unknown
	}
	return c
}

func needs(list []action.Name) string {
	var words []string
	for _, n := range list {
		words = append(words, strings.TrimPrefix(string(n), "ad.account."))
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// guarded shows that our own account is one that Cordon itself would never change,
// whoever asks.
func (e *domainCheck) guarded(ctx context.Context, client *directory.Client, f connector.AccountFacts) {
	name := f.Ref.Name()
	a := identity.Account{Ref: f.Ref, Facts: f.Facts}
	p := e.tenant.Policy().Protect(identity.Identity{Tenant: e.tenant.Key(), Kind: f.Ref.Kind, Name: name, Accounts: []identity.Account{a}}, 0, e.now(), e.now())
	if !p.Protected() || p.Unknown {
		e.add(Check{Name: "account", Health: Broken, Text: name + " is not recognised as Cordon's own: a playbook could change it", Fix: "list it under protected by its SID " + f.Ref.SID})
		return
	}
	e.add(Check{Name: "account", Health: Healthy, Text: name + " is in no sensitive group; Cordon never changes it: " + strings.Join(p.Reasons, "; ")})
	takers, known, err := actionad.Takers(ctx, client, f.Ref.GUID)
	switch {
	case err != nil:
		e.failed("account takers", err)
	case !known:
		e.add(Check{Name: "account takers", Health: Unknown, Text: "who may set its password is not shown", Fix: "let the account read its own permissions"})
	case len(takers) > 0:
		e.add(Check{Name: "account takers", Health: Excess, Text: "besides administrators these may set its password, give it a key or change who may: " + strings.Join(takers, ", "),
			Fix: "take it away: whoever has Cordon's account has its rights"})
	default:
		e.add(Check{Name: "account takers", Health: Healthy, Text: "nobody but administrators may set its password or change who may"})
	}
}
