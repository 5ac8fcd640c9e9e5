package desk

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"testing/fstest" // the one in-memory fs.FS of the standard library; it does not import testing
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// The actions that give a person something to sign in with, sealed for one
// recipient: a new random password, or a Temporary Access Pass that Entra makes.
const (
	HandOverAction action.Name = "entra.user.hand_over_password"
	AccessPass     action.Name = "entra.user.hand_over_access_pass"
)

// handOverFor is what fits the identity: where the password is not Entra's to set
// or there is none, a pass. What is not known yet the directory says when it is
// looked at.
func handOverFor(i identity.Identity) action.Name {
	a, ok := i.Account(identity.EntraID)
	yes := func(b *bool) bool { return b != nil && *b }
	if ok && (yes(a.Facts.Synced) || yes(a.Facts.Passwordless)) {
		return AccessPass
	}
	return HandOverAction
}

// handedOver is what an action of that name hands over, in words.
func handedOver(n action.Name) string {
	if n == AccessPass {
		return "Temporary Access Pass"
	}
	return "new password"
}

const handOverPlaybook = "hand-over"

// A HandOver is a hand-over that was asked for. Key is in no store: whoever
// loses it asks again.
type HandOver struct {
	Run       RunView           `json:"run"`
	Recipient access.OperatorID `json:"recipient"`
	Path      string            `json:"path"` // of the page where it is revealed, below the console's address
	Key       string            `json:"key"`  // goes into the link after a '#': a browser sends that part to nobody
}

// Link returns the one-time link below base, the console's address.
func (h HandOver) Link(base string) string { return base + h.Path + "#" + h.Key }

// A Revealed is a password or a pass, once.
type Revealed struct {
	Who      Who    `json:"who"`
	Account  string `json:"account"`
	Password string `json:"password"`       // or the pass
	Pass     bool   `json:"pass,omitempty"` // it is a Temporary Access Pass
}

// String hides the password.
func (r Revealed) String() string { return "password of " + r.Account + " (not shown)" }

// AskHandOver asks to give the person behind an identity access again: a run
// that sets a new random password, or makes a Temporary Access Pass where there is
// no password of Entra's, which recipient ("" means op) can reveal once with the key
// that is returned here and kept nowhere. The run needs an approval
// by somebody else. It needs access.Plan.
func (s *Service) AskHandOver(ctx context.Context, op access.Operator, id identity.ID, recipient access.OperatorID, reason string) (HandOver, error) {
	t, err := may(op, access.Plan, op.Tenant)
	if err != nil {
		return HandOver{}, err
	}
	if reason, err = checkReason(reason, true); err != nil {
		return HandOver{}, fmt.Errorf("hand-over: %w", err)
	}
	to, known := s.operators.ByID(cmp.Or(recipient, op.ID))
	if !known || to.Tenant != "" && to.Tenant != t {
		return HandOver{}, fault.Errorf(fault.NotFound, "hand-over: no operator %q", recipient)
	}
	i, err := s.store.Identity(ctx, t, id)
	if err != nil {
		return HandOver{}, err
	}
	public, private, err := action.NewSealKey(s.rand)
	if err != nil {
		return HandOver{}, fmt.Errorf("hand-over: make a key: %w", err)
	}
	name := handOverFor(i)
	library, err := s.handOverLibrary(name, to.ID, public)
	if err != nil {
		return HandOver{}, err
	}
	driver := s.driver.With(library)
	var started run.Run
	err = s.store.Update(ctx, func(tx Tx) error {
		in, err := driver.Input(tx, i.Tenant, i.ID, []string{playbook.OnManual}, nil)
		if err != nil {
			return fmt.Errorf("hand-over for %s: %w", i.Name, err)
		}
		c, err := s.caseFor(tx, op, i)
		if err != nil {
			return err
		}
		started, _, err = driver.Begin(tx, run.Start{
			Match: playbook.Match{Ref: playbook.Ref{ID: handOverPlaybook}}, Case: c.ID, Input: in, AskedBy: access.ByOperator(op.ID),
			Why: fmt.Sprintf("hand a %s to %s: %s", handedOver(name), to.ID, reason),
		})
		return err
	})
	if err != nil {
		return HandOver{}, err
	}
	s.nudge(i.Tenant)
	v, err := s.RunView(ctx, op, started.ID)
	return HandOver{Run: v, Recipient: to.ID, Path: "/handover/" + string(started.ID), Key: private}, err
}

// handOverLibrary is a hand-over as a playbook like any other, so that it passes
// the same guards, approvals and gate. Its text names the recipient and the
// public key, so its hash, and with it the plan's, binds the consent to both.
func (s *Service) handOverLibrary(name action.Name, to access.OperatorID, public string) (*playbook.Library, error) {
	t, err := s.catalogue.Type(name)
	if err != nil {
		return nil, fault.Errorf(fault.Held, "hand-over: this Cordon cannot hand over a %s: %w", handedOver(name), err)
	}
	text := fmt.Sprintf(`playbook: v1
id: %s
version: 1.0.0
title: Give access again with a %s
owner: %s
mode: enforce
trigger:
  on: [manual]
steps:
  - id: hand-over
    uses: %s@%d
    with:
      %s: %s
      %s: %s
    irreversible: accepted
    approval: {mode: before, from: [%s], quorum: 1, expires: 30m, on_expiry: skip}
`, handOverPlaybook, handedOver(name), s.handOverFrom, name, t.Spec().Version,
		action.ParamRecipient, strconv.Quote(string(to)), action.ParamRecipientKey, strconv.Quote(public), s.handOverFrom)
	l, problems := playbook.Load(fstest.MapFS{handOverPlaybook + ".yaml": {Data: []byte(text)}}, s.catalogue)
	if len(problems) > 0 {
		return nil, fault.Errorf(fault.Invalid, "hand-over: %s", problems[0])
	}
	return l, nil
}

// Reveal returns the password that a hand-over run set, or the pass, to its recipient, once:
// the ciphertext is gone when it returns. key is the part of the link after '#'.
// Anybody else is fault.Denied; a password not proven yet is fault.Held; one
// that was revealed already or whose time is over is fault.Conflict.
func (s *Service) Reveal(ctx context.Context, op access.Operator, id run.ID, key string) (Revealed, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return Revealed{}, err
	}
	r, err := s.store.Run(ctx, t, id)
	if err != nil {
		return Revealed{}, err
	}
	i, err := s.look().identity(ctx, r.Tenant, r.Identity)
	if err != nil {
		return Revealed{}, err
	}
	var out Revealed
	var ended error // what the transaction wrote stays although the caller gets an error
	err = s.store.Update(ctx, func(tx Tx) error {
		out, ended = Revealed{}, nil
		now := s.now().UTC()
		a, err := handOverOf(tx, r)
		if err != nil {
			return err
		}
		what := handedOver(a.Name)
		switch to, _ := a.Params[action.ParamRecipient].(string); {
		case to != string(op.ID):
			return fault.Errorf(fault.Denied, "run %s: the %s is for another operator", id, what)
		case a.State == action.Verified && len(a.Sealed) > 0:
		case len(a.Sealed) == 0 && a.State == action.Verified:
			return fault.Errorf(fault.Conflict, "run %s: the %s was revealed already, its time ran out, or nobody heard it; ask for another hand-over", id, what)
		default:
			return fault.Errorf(fault.Held, "run %s: the %s is not proven yet (%s); try again when it is verified", id, what, a.State)
		}
		if !now.Before(a.IntentAt.Add(s.reveal)) {
			ended = fault.Errorf(fault.Conflict, "run %s: the time to reveal the %s ran out; ask for another hand-over", id, what)
			return s.unseal(tx, a, audit.SecretExpired, access.BySystem("desk"), "the time to reveal ran out", now)
		}
		secret, err := action.OpenSealed(key, a.Tenant, a.ID, a.Sealed)
		if err != nil {
			return fmt.Errorf("run %s: %w", id, err)
		}
		out = Revealed{Who: who(i), Account: a.Account.Name(), Password: string(secret), Pass: a.Name == AccessPass}
		return s.unseal(tx, a, audit.SecretRevealed, access.ByOperator(op.ID), fmt.Sprintf("%s revealed the %s of %s", op.ID, what, a.Account.Name()), now)
	})
	if err = cmp.Or(err, ended); err != nil {
		return Revealed{}, err
	}
	return out, nil
}

// handOverOf returns the run's hand-over action.
func handOverOf(tx Tx, r run.Run) (action.Action, error) {
	acts, err := tx.ActionsOfRun(r.Tenant, r.ID)
	if err != nil {
		return action.Action{}, err
	}
	for _, a := range acts {
		if a.Name == HandOverAction || a.Name == AccessPass {
			return a, nil
		}
	}
	if r.Playbook.ID != handOverPlaybook {
		return action.Action{}, fault.Errorf(fault.NotFound, "run %s hands nothing over", r.ID)
	}
	if r.State.Final() {
		return action.Action{}, fault.Errorf(fault.Conflict, "run %s is %s: nothing was handed over. %s", r.ID, r.State, r.Reason)
	}
	return action.Action{}, fault.Errorf(fault.Held, "run %s is %s: nothing is there to hand over yet", r.ID, r.State)
}

// unseal deletes the ciphertext and says so in the trail.
func (s *Service) unseal(tx Tx, a action.Action, k audit.Kind, by access.Actor, text string, now time.Time) error {
	a.Sealed = nil
	a, err := tx.PutAction(a)
	if err != nil {
		return fmt.Errorf("action %s: %w", a.ID, err)
	}
	return tx.Audit(audit.Entry{
		Tenant: a.Tenant, At: now, Actor: by, Kind: k, Identity: string(a.Identity), Case: a.Case, Run: a.Run, Action: string(a.ID), Text: text,
	})
}

// ExpireHandOvers deletes ciphertext that nobody revealed in time. It is called
// every now and then, at least once a minute; it returns how much it deleted.
func (s *Service) ExpireHandOvers(ctx context.Context) (int, error) {
	const batch = 100
	deleted := 0
	for {
		now := s.now().UTC()
		old, err := s.store.Sealed(ctx, now.Add(-s.reveal), batch)
		if err != nil {
			return deleted, fmt.Errorf("look for hand-overs that ran out: %w", err)
		}
		for _, o := range old {
			err := s.store.Update(ctx, func(tx Tx) error {
				a, err := tx.Action(o.Tenant, o.ID)
				if err != nil || len(a.Sealed) == 0 {
					return err
				}
				return s.unseal(tx, a, audit.SecretExpired, access.BySystem("desk"), "nobody revealed the "+handedOver(a.Name)+" of "+a.Account.Name()+" in time", now)
			})
			if err != nil {
				return deleted, fmt.Errorf("delete what action %s sealed: %w", o.ID, err)
			}
			deleted++
		}
		if len(old) < batch {
			return deleted, nil
		}
	}
}
