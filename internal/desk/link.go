package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Tag says what an identity is besides a person or workload, and how that is known.
type Tag struct {
	Name   string `json:"name"` // "protected", "sensitive", "honeytoken", "deleted", "guest", or one given by hand
	Reason string `json:"reason"`
	// By is who gave it by hand, and At when; empty: Cordon found it.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
}

// Links is who an identity is made of, was made of, and may be made of.
type Links struct {
	Identity  identity.ID            `json:"identity"`
	At        time.Time              `json:"at"`
	Accounts  []identity.AccountSpan `json:"accounts"` // at that time
	Changes   []identity.LinkChange  `json:"changes"`  // by hand, oldest first
	Proposals []identity.Proposal    `json:"proposals"`
	Conflicts []identity.Conflict    `json:"conflicts"`
}

// LinksOf returns the accounts that were the identity's at the time (zero: now), what
// somebody changed by hand, who may be the same, and whose identifiers were named
// together. It needs access.Read.
func (s *Service) LinksOf(ctx context.Context, op access.Operator, id identity.ID, at time.Time) (Links, error) {
	t, err := may(op, access.Read, op.Tenant)
	if err != nil {
		return Links{}, err
	}
	i, err := s.store.Identity(ctx, t, id)
	if err != nil {
		return Links{}, err
	}
	if at.IsZero() {
		at = s.now()
	}
	out := Links{Identity: i.ID, At: at.UTC(), Accounts: i.AccountsAt(at), Changes: i.Links, Conflicts: i.Conflicts}
	var others []identity.Identity
	look := func(list []identity.Identity) {
		for _, o := range list {
			if !slices.ContainsFunc(others, func(x identity.Identity) bool { return x.ID == o.ID }) {
				others = append(others, o)
			}
		}
	}
	seen := map[string]bool{}
	for _, a := range i.Accounts {
		before, _, _ := strings.Cut(a.UPN, "@")
		for _, name := range []string{a.DisplayName, before, a.SAM} {
			if name = strings.TrimSpace(name); len(name) < 2 || seen[strings.ToLower(name)] {
				continue
			}
			seen[strings.ToLower(name)] = true
			list, err := s.store.Identities(ctx, IdentityFilter{Tenant: i.Tenant, Name: name}, Page{Limit: 100})
			if err != nil {
				return out, fmt.Errorf("look for others of the name: %w", err)
			}
			look(list.Items)
		}
	}
	out.Proposals = identity.Propose(i, others)
	return out, nil
}

// Link makes two identities one: the accounts, signals and open case of from become
// those of into, at once. It takes a reason and can be taken back by Unlink. It needs
// access.Decide; nobody links their own account or that of somebody at risk they are
// (fault.Denied). While a run of from is under way it is fault.Conflict.
func (s *Service) Link(ctx context.Context, op access.Operator, into, from identity.ID, reason string) (IdentityView, error) {
	if err := op.Require(access.Decide); err != nil {
		return IdentityView{}, err
	}
	reason, err := checkReason(reason, true)
	if err != nil {
		return IdentityView{}, fmt.Errorf("link: %w", err)
	}
	seen, err := s.store.Identity(ctx, op.Tenant, into)
	if err != nil {
		return IdentityView{}, err
	}
	tenant := seen.Tenant
	err = s.store.Update(ctx, func(tx Tx) error {
		a, err := tx.IdentityAlone(tenant, into)
		if err != nil {
			return err
		}
		b, err := tx.IdentityAlone(tenant, from)
		if err != nil {
			return err
		}
		for _, id := range []identity.ID{a.ID, b.ID} {
			if err := s.impartial(tx, op, tenant, id, "link"); err != nil {
				return err
			}
		}
		if err := s.idle(tx, b); err != nil {
			return err
		}
		now := s.now().UTC()
		merged, emptied, err := identity.Link(a, b, string(op.ID), reason, now)
		if err != nil {
			return err
		}
		if _, err := tx.PutIdentity(emptied); err != nil {
			return err
		}
		if merged, err = tx.PutIdentity(merged); err != nil {
			return err
		}
		if err := s.moveCase(tx, op, merged, b.ID, now); err != nil {
			return err
		}
		if err := moveAll(tx, tenant, b.ID, a.ID, nil); err != nil {
			return err
		}
		if err := s.again(tx, merged, now); err != nil {
			return err
		}
		return tx.Audit(audit.Entry{
			Tenant: tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.AccountLinked, Identity: string(a.ID),
			Text: fmt.Sprintf("%s linked %s into %s: %s", op.ID, b.Name, merged.Name, reason),
			Data: map[string]any{"into": string(a.ID), "from": string(b.ID), "accounts": names(b.Accounts), "reason": reason},
		})
	})
	if err != nil {
		return IdentityView{}, err
	}
	s.nudge(tenant)
	return s.IdentityView(ctx, op, into)
}

// Unlink takes an account (by its key: object id, SID or objectGUID) out of an
// identity, with its signals: back to the identity it was linked from, or into one of
// its own. It needs access.Decide and a reason, and is taken back by Link.
func (s *Service) Unlink(ctx context.Context, op access.Operator, id identity.ID, key, reason string) (IdentityView, error) {
	if err := op.Require(access.Decide); err != nil {
		return IdentityView{}, err
	}
	reason, err := checkReason(reason, true)
	if err != nil {
		return IdentityView{}, fmt.Errorf("unlink: %w", err)
	}
	seen, err := s.store.Identity(ctx, op.Tenant, id)
	if err != nil {
		return IdentityView{}, err
	}
	var where identity.Identity
	err = s.store.Update(ctx, func(tx Tx) error {
		i, err := tx.IdentityAlone(seen.Tenant, seen.ID)
		if err != nil {
			return err
		}
		if err := s.impartial(tx, op, i.Tenant, i.ID, "unlink"); err != nil {
			return err
		}
		if err := s.idle(tx, i); err != nil {
			return err
		}
		target, err := origin(tx, i, key)
		if err != nil {
			return err
		}
		now := s.now().UTC()
		left, moved, err := identity.Unlink(i, key, target, string(op.ID), reason, now)
		if err != nil {
			return err
		}
		if moved.ID == "" {
			moved.ID = identity.ID(tx.NewID("idn"))
			left.Links[len(left.Links)-1].Other = moved.ID
		}
		if left, err = tx.PutIdentity(left); err != nil {
			return err
		}
		if moved, err = tx.PutIdentity(moved); err != nil {
			return err
		}
		if err := moveAll(tx, i.Tenant, i.ID, moved.ID, moved.Keys()); err != nil {
			return err
		}
		for _, x := range []identity.Identity{left, moved} {
			if err := s.again(tx, x, now); err != nil {
				return err
			}
		}
		where = moved
		return tx.Audit(audit.Entry{
			Tenant: i.Tenant, At: now, Actor: access.ByOperator(op.ID), Kind: audit.AccountUnlinked, Identity: string(i.ID),
			Text: fmt.Sprintf("%s unlinked %s from %s: %s", op.ID, moved.Name, left.Name, reason),
			Data: map[string]any{"from": string(i.ID), "to": string(moved.ID), "account": key, "reason": reason},
		})
	})
	if err != nil {
		return IdentityView{}, err
	}
	s.nudge(where.Tenant)
	return s.IdentityView(ctx, op, where.ID)
}

// idle refuses while something is under way on an identity: its plan names accounts
// that would be another's.
func (s *Service) idle(tx Tx, i identity.Identity) error {
	c, open, err := tx.OpenCase(i.Tenant, i.ID)
	if err != nil || !open {
		return err
	}
	runs, err := tx.RunsOfCase(i.Tenant, c.ID)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if !r.State.Final() {
			return fault.Errorf(fault.Conflict, "run %s on %s is %s: wait for its end, or withdraw it, before accounts are moved", r.ID, i.Name, r.State)
		}
	}
	return nil
}

// origin finds the emptied identity that the account was linked from; the zero value
// when there is none.
func origin(tx Tx, i identity.Identity, key string) (identity.Identity, error) {
	for n := len(i.Links) - 1; n >= 0; n-- {
		c := i.Links[n]
		if !c.Linked || !strings.EqualFold((identity.Account{Ref: c.Account}).Key(), key) {
			continue
		}
		o, err := tx.IdentityAlone(i.Tenant, c.Other)
		switch {
		case errors.Is(err, fault.NotFound):
		case err != nil:
			return o, err
		case o.LivesIn == i.ID:
			return o, nil
		}
	}
	return identity.Identity{}, nil
}

// moveCase gives the open case of the emptied identity to the living one. When both
// have one, the emptied one's is closed with the word of the other: it goes on there.
func (s *Service) moveCase(tx Tx, op access.Operator, into identity.Identity, from identity.ID, now time.Time) error {
	c, open, err := tx.OpenCase(into.Tenant, from)
	if err != nil || !open {
		return err
	}
	other, both, err := tx.OpenCase(into.Tenant, into.ID)
	if err != nil {
		return err
	}
	if !both {
		c.Identity, c.Name, c.UpdatedAt = into.ID, into.Name, now
		_, err = tx.PutCase(c)
		return err
	}
	if c, err = c.Join(other.ID, op.ID, now); err != nil {
		return err
	}
	_, err = tx.PutCase(c)
	return err
}

// moveAll gives signals and accounts' risks to another identity: those that name one
// of the keys first, or all of them when there are no keys.
func moveAll(tx Tx, t identity.Tenant, from, to identity.ID, keys []identity.Key) error {
	sigs, err := tx.SignalsOf(t, from)
	if err != nil {
		return err
	}
	risks, err := tx.AccountRisksOf(t, from)
	if err != nil {
		return err
	}
	// A subject that names several accounts belongs where its strongest one lives.
	ours := func(r identity.Ref) bool {
		k := r.Keys()
		return keys == nil || len(k) > 0 && slices.Contains(keys, k[0])
	}
	var move []signal.Key
	for _, g := range sigs {
		if ours(g.Subject) {
			move = append(move, g.Key())
		}
	}
	var refs []identity.Ref
	for _, r := range risks {
		if ours(r.Subject) {
			refs = append(refs, r.Subject)
		}
	}
	return tx.MoveSignals(t, from, to, move, refs)
}

// again forms the opinion of an identity anew and lets its case follow; a case is
// opened where there is none and something speaks that no verdict has heard.
func (s *Service) again(tx Tx, i identity.Identity, now time.Time) error {
	in := risk.Input{Tenant: i.Tenant, Identity: i.ID}
	var err error
	if in.Signals, err = tx.SignalsOf(i.Tenant, i.ID); err != nil {
		return err
	}
	if in.Accounts, err = tx.AccountRisksOf(i.Tenant, i.ID); err != nil {
		return err
	}
	if in.Exceptions, err = tx.Exceptions(i.Tenant); err != nil {
		return err
	}
	v, ok, err := tx.LastVerdict(i.Tenant, i.ID)
	if err != nil {
		return err
	}
	if ok {
		in.Verdict = risk.Verdict{Word: string(v.Word), At: v.At}
	}
	c, open, err := tx.OpenCase(i.Tenant, i.ID)
	if err != nil {
		return err
	}
	if open {
		in.CaseSince = c.OpenedAt
	}
	a := risk.Assess(in, now)
	if err := tx.PutAssessment(a); err != nil {
		return err
	}
	if !open {
		if a.Level.Rank() < signal.LevelLow.Rank() || !risk.Unheard(in) {
			return nil
		}
		c = casefile.Begin(i, now)
	}
	next := c.Absorb(a, in.Signals, now)
	next.Name = i.Name
	if next == c && open {
		return nil
	}
	if next, err = tx.PutCase(next); err != nil || open {
		return err
	}
	return tx.Audit(audit.Entry{
		Tenant: i.Tenant, At: now, Actor: access.BySystem("desk"), Kind: audit.CaseOpened, Identity: string(i.ID), Case: string(next.ID),
		Text: fmt.Sprintf("case opened for %s: %s", next.Name, next.Reason),
	})
}

func names(accounts []identity.Account) []string {
	var out []string
	for _, a := range accounts {
		out = append(out, string(a.Provider)+": "+a.Name())
	}
	return out
}

// tags says what the identity is, each with its reason.
func tags(i identity.Identity, p identity.Protection, signals []signal.Signal) []Tag {
	var out []Tag
	add := func(name, reason string) {
		if t := (Tag{Name: name, Reason: reason}); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	for _, t := range i.Tagged() {
		out = append(out, Tag{Name: string(t.Name), Reason: t.Reason, By: t.By, At: t.At})
	}
	for _, why := range p.Reasons {
		if slices.ContainsFunc(i.Tagged(), func(t identity.Tagging) bool { return t.Text() == why }) {
			continue // it stands there with who gave it
		}
		add(map[bool]string{true: "protected until known", false: "protected"}[p.Unknown], why)
	}
	for _, a := range i.Accounts {
		for _, r := range a.Facts.Roles {
			name := r.Name
			if name == "" {
				name = r.TemplateID
			}
			switch {
			case a.Provider == identity.ActiveDirectory:
				add("sensitive", "in the group "+name+" of Active Directory")
			case r.Active:
				add("sensitive", "holds the role "+name)
			default:
				add("sensitive", "may activate the role "+name)
			}
		}
		if a.Facts.Found != nil && !*a.Facts.Found {
			add("deleted", string(a.Provider)+" has no such account any more")
		}
	}
	if i.Kind == identity.KindGuest {
		add("guest", "its password and its user risk belong to its home tenant")
	}
	for _, g := range signals {
		if e, _ := detection.Of(g); e.Family == detection.Honeytoken {
			add("honeytoken", "Defender for Identity reported: "+detection.Title(g))
		}
	}
	return out
}
