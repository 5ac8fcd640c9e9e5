package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionad "github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	actionentraid "github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// What the records of an account tell that a containment does not hold.
const (
	signInAfterContainment  = "signInAfterContainment"
	enabledAfterContainment = "enabledAfterContainment"

	containmentStream connector.Name = "cordon.containment"
	containmentWithin                = 14 * 24 * time.Hour // how long a proven containment is watched
	containmentMost                  = 500                 // actions of one name, the latest
	containmentBatch                 = 40                  // accounts to one question
	containmentPages                 = 5                   // of an answer, so that one busy account hides no other

	// clocks is how far the clocks of a directory and of its logs may be apart.
	clocks = time.Minute
)

// containmentWatch looks in the records whether an account that Cordon contained, in
// Entra or in Active Directory, signed in all the same or was enabled by somebody else.
// It is told once for each containment, as a signal that opens the case again.
//
// After a revocation alone only a sign-in that asked nobody counts: whoever signs in
// anew is expected to.
type containmentWatch struct {
	tenant  identity.Tenant
	actions func(context.Context, action.Name) ([]action.Action, error) // of the name, newest first, whatever their state
	records func(context.Context, record.Query) (record.Page, error)
	now     func() time.Time
}

var _ connector.Source = containmentWatch{}

// containmentActions lists the latest actions of a name.
func (a *App) containmentActions(t identity.Tenant) func(context.Context, action.Name) ([]action.Action, error) {
	return func(ctx context.Context, n action.Name) ([]action.Action, error) {
		list, err := a.db.Desk().Actions(ctx, desk.ActionFilter{Tenant: t, Name: n}, desk.Page{Limit: containmentMost})
		return list.Items, err
	}
}

// Name is connector.Source's.
func (containmentWatch) Name() connector.Name { return containmentStream }

// Pages is connector.Source's. The cursor names what was told already.
func (w containmentWatch) Pages(ctx context.Context, c connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		page, err := w.look(ctx, c)
		if err != nil {
			err = fmt.Errorf("watch what was contained: %w", err)
		}
		yield(page, err)
	}
}

// kinds are the containments, with what enables an account again. A revocation ends
// no sign-in.
func (containmentWatch) kinds() map[action.Name]action.Name {
	return map[action.Name]action.Name{
		actionad.Disable: actionad.Enable, actionad.Expire: actionad.RestoreExpiry,
		actionentraid.Disable: actionentraid.Enable, actionentraid.RevokeSessions: actionentraid.Enable,
	}
}

func (w containmentWatch) look(ctx context.Context, c connector.Cursor) (connector.Page, error) {
	var told []string
	if c != "" {
		if err := json.Unmarshal([]byte(c), &told); err != nil {
			return connector.Page{}, fault.Errorf(fault.Invalid, "cursor %.60q: %w", string(c), err)
		}
	}
	open, err := w.open(ctx)
	if err != nil {
		return connector.Page{}, err
	}
	page, still := connector.Page{}, []string{}
	for part := range slices.Chunk(open, containmentBatch) {
		found, err := w.against(ctx, part)
		if err != nil {
			return connector.Page{}, err
		}
		for _, s := range found {
			switch {
			case slices.Contains(still, s.ExternalID): // an earlier sign-in of the same
			case slices.Contains(told, s.ExternalID):
				still = append(still, s.ExternalID)
			default:
				page.Signals, still = append(page.Signals, s), append(still, s.ExternalID)
			}
		}
	}
	// A record that is not found this time may be found the next: what was told of a
	// containment stays told while that is watched.
	for _, id := range told {
		_, of, _ := strings.Cut(id, "/")
		if !slices.Contains(still, id) && slices.ContainsFunc(open, func(a action.Action) bool { return string(a.ID) == of }) {
			still = append(still, id)
		}
	}
	slices.Sort(still)
	b, err := json.Marshal(still)
	page.Next = connector.Cursor(b)
	return page, err
}

// open returns the containments that are proven and that nobody takes back through
// Cordon.
func (w containmentWatch) open(ctx context.Context) ([]action.Action, error) {
	kinds := w.kinds()
	released := map[string]time.Time{} // by account: when the latest release was asked for
	var contained []action.Action
	for name, back := range kinds {
		list, err := w.actions(ctx, name)
		if err != nil {
			return nil, err
		}
		contained = append(contained, list...)
		if list, err = w.actions(ctx, back); err != nil {
			return nil, err
		}
		for _, a := range list {
			switch a.State {
			case action.Failed, action.RefusedState, action.Expired, action.Cancelled:
			default:
				if of := accountKey(a.Account); a.RequestedAt.After(released[of]) {
					released[of] = a.RequestedAt
				}
			}
		}
	}
	contained = slices.DeleteFunc(contained, func(a action.Action) bool {
		of := accountKey(a.Account)
		return of == "" || a.State != action.Verified || a.UndoneBy != "" || w.now().Sub(a.VerifiedAt) >= containmentWithin || !released[of].Before(a.VerifiedAt)
	})
	slices.SortFunc(contained, func(x, y action.Action) int { return cmp.Compare(x.ID, y.ID) })
	return contained, nil
}

func accountKey(ref identity.Ref) string {
	a := identity.Account{Ref: ref}
	return a.Key()
}

// against returns what the records say against the containments.
func (w containmentWatch) against(ctx context.Context, list []action.Action) ([]signal.Signal, error) {
	q := record.Query{Tenant: w.tenant, Sources: []record.Source{record.SignIn, record.Logon, record.DirectoryAudit, record.DirectoryChange}, Since: w.now(), Limit: record.MaxLimit}
	for _, a := range list {
		q.Accounts = append(q.Accounts, a.Account)
		if a.VerifiedAt.Before(q.Since) {
			q.Since = a.VerifiedAt
		}
	}
	var out []signal.Signal
	for range containmentPages {
		page, err := w.records(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			for _, a := range list {
				if s, ok := w.contradicts(a, r); ok {
					out = append(out, s)
				}
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	return out, nil
}

// contradicts says whether a record shows that a containment does not hold.
func (w containmentWatch) contradicts(a action.Action, r record.Record) (signal.Signal, bool) {
	if r.Result == record.Failure || r.Result == record.Interrupted || !r.At.After(a.VerifiedAt.Add(clocks)) {
		return signal.Signal{}, false
	}
	onPremises := a.Account.Provider == identity.ActiveDirectory
	is := func(ref identity.Ref) bool { return sharesKey(a.Account, ref) }
	kind, title := "", ""
	switch {
	case onPremises && r.Source == record.Logon && r.Result == record.Success && is(r.Subject),
		!onPremises && r.Source == record.SignIn && r.Result == record.Success && is(r.Subject) && (a.Name != actionentraid.RevokeSessions || strings.HasPrefix(strings.ToLower(r.Type), "noninteractive")):
		kind, title = signInAfterContainment, "Signed in after it was contained"
	case enables(r) && a.Name != actionentraid.RevokeSessions && a.Name != actionad.Expire && onPremises == (r.Source == record.DirectoryChange) &&
		slices.ContainsFunc(r.Others, func(p record.Party) bool { return is(p.Ref) }):
		kind, title = enabledAfterContainment, "Enabled by somebody else after it was contained"
	default:
		return signal.Signal{}, false
	}
	raw, _ := json.Marshal(map[string]any{"action": a.ID, "record": r.ExternalID, "source": r.Source}) // strings: cannot fail
	by := ""
	if kind == enabledAfterContainment {
		by = ", by " + r.Subject.Name()
	}
	return signal.Signal{
		Tenant: w.tenant, Source: signal.Watch, ExternalID: kind + "/" + string(a.ID), Type: kind, Title: title,
		Level: signal.LevelHigh, State: signal.StateAtRisk, Subject: a.Account,
		Detail:     fmt.Sprintf("%s at %s%s, after %s was verified at %s", cmp.Or(r.Title, r.Type), r.At.UTC().Format(time.RFC3339), by, a.Name, a.VerifiedAt.UTC().Format(time.RFC3339)),
		ActivityAt: r.At, DetectedAt: w.now(), UpdatedAt: r.At, IP: r.IP, Location: r.Location, Raw: raw,
	}, true
}

// enables reports whether a record is of an account that was enabled: event 4722, or
// Entra's activity of that name.
func enables(r record.Record) bool {
	return r.Source == record.DirectoryChange && r.Type == "4722" || r.Source == record.DirectoryAudit && strings.EqualFold(r.Type, "Enable account")
}

// sharesKey reports whether two refs have a strong identifier in common.
func sharesKey(a, b identity.Ref) bool {
	keys := b.Keys()
	return slices.ContainsFunc(a.Keys(), func(k identity.Key) bool { return slices.Contains(keys, k) })
}
