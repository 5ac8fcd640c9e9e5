package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// under returns an action in a state with an intent.
func under(n int, step string, s action.State, intent, next time.Time) action.Action {
	a := anAction(n, step)
	a.State, a.Attempt, a.IntentAt, a.NextAt = s, 1, intent, next
	if s.Final() {
		a.EndedAt = start
	}
	return a
}

func dispatches(t *testing.T, open func(*testing.T) Ports) {
	ids := func(as []action.Action) (out []action.ID) {
		for _, a := range as {
			out = append(out, a.ID)
		}
		return out
	}
	disable := []action.Name{"entra.user.disable"}

	t.Run("Ready", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		ready := func(step string, change func(*action.Action)) action.Action {
			a := anAction(1, step)
			a.State = action.Approved
			change(&a)
			return a
		}
		put(t, p,
			ready("low", func(a *action.Action) { a.Lane = action.LaneLow; a.RequestedAt = at(-time.Hour) }),
			ready("second", func(*action.Action) {}),
			ready("first", func(a *action.Action) { a.RequestedAt = at(-time.Minute) }),
			ready("privileged", func(a *action.Action) { a.Lane = action.LanePrivileged; a.RequestedAt = at(time.Minute) }),
			ready("throttled", func(a *action.Action) { a.NextAt = at(time.Second) }),
			ready("waited", func(a *action.Action) { a.NextAt = start; a.RequestedAt = at(time.Second) }),
			ready("held", func(a *action.Action) { a.State, a.NextAt, a.RequestedAt = action.Held, start, at(2*time.Second) }),
			ready("heldForAPerson", func(a *action.Action) { a.State = action.Held }),
			ready("requested", func(a *action.Action) { a.State = action.Requested }),
			ready("another", func(a *action.Action) { a.Name = "entra.user.revoke_sessions" }),
			under(1, "running", action.Running, start, start),
		)
		want := []action.ID{"act_0001_privileged", "act_0001_first", "act_0001_second", "act_0001_waited", "act_0001_held", "act_0001_low"}
		got, err := p.Dispatch.Ready(t.Context(), tenant, disable, start, 20)
		same(t, "ready", want, ids(got))
		if err != nil {
			t.Error(err)
		}
		got, err = p.Dispatch.Ready(t.Context(), tenant, disable, start, 2)
		same(t, "limit", want[:2], ids(got))
		if err != nil {
			t.Error(err)
		}
		for name, names := range map[string][]action.Name{"no name": nil, "another name": {"x"}} {
			if got, err := p.Dispatch.Ready(t.Context(), tenant, names, start, 20); len(got) != 0 || err != nil {
				t.Errorf("%s: got %v, %v", name, ids(got), err)
			}
		}
		if got, err := p.Dispatch.Ready(t.Context(), elsewhere, disable, start, 20); len(got) != 0 || err != nil {
			t.Errorf("another tenant: got %v, %v", ids(got), err)
		}
	})

	t.Run("UnprovenAndNextDue", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		scene(t, p, 1)
		if _, ok, err := p.Dispatch.NextDue(t.Context(), tenant, start); ok || err != nil {
			t.Errorf("with nothing: %v, %v", ok, err)
		}
		put(t, p,
			under(1, "b", action.AcceptedState, start, start),
			under(1, "a", action.Running, start, start),
			under(1, "c", action.Unconfirmed, start, at(-time.Second)),
			under(1, "later", action.AcceptedState, start, at(time.Second)),
			under(1, "unset", action.AcceptedState, start, time.Time{}),
			under(1, "done", action.Verified, start, at(time.Millisecond)),
		)
		held := anAction(1, "held")
		held.State, held.NextAt = action.Held, at(2*time.Second)
		put(t, p, held)
		for what, c := range map[string]struct {
			names []action.Name
			want  []action.ID
		}{
			"any":     {nil, []action.ID{"act_0001_c", "act_0001_a", "act_0001_b"}},
			"named":   {[]action.Name{"other", anAction(1, "a").Name}, []action.ID{"act_0001_c", "act_0001_a", "act_0001_b"}},
			"another": {[]action.Name{"other"}, []action.ID{}},
			"none":    {[]action.Name{}, []action.ID{}},
		} {
			got, err := p.Dispatch.Unproven(t.Context(), tenant, c.names, start, 10)
			same(t, "unproven, "+what, c.want, ids(got))
			if err != nil {
				t.Error(err)
			}
		}
		for _, c := range []struct{ after, want time.Time }{
			{at(-time.Hour), at(-time.Second)}, {start, at(time.Second)}, {at(time.Second), at(2 * time.Second)}, {at(2 * time.Second), time.Time{}}, {time.Time{}, at(-time.Second)},
		} {
			due, ok, err := p.Dispatch.NextDue(t.Context(), tenant, c.after)
			if !due.Equal(c.want) || ok == c.want.IsZero() || err != nil {
				t.Errorf("next due after %v: got %v, %v, %v", c.after, due, ok, err)
			}
		}
	})

	t.Run("Leases", func(t *testing.T) { t.Parallel(); leases(t, open(t)) })

	t.Run("Stops", func(t *testing.T) {
		t.Parallel()
		p := open(t)
		on := func(why string) dispatch.Stop { return dispatch.Stop{On: true, By: "o", Reason: why, At: start} }
		off := dispatch.Stop{By: "o", At: at(time.Second)}
		for _, c := range []struct {
			set  identity.Tenant
			to   dispatch.Stop
			want dispatch.Stop
		}{
			{elsewhere, on("elsewhere"), dispatch.Stop{}}, {"", on("all"), on("all")}, {tenant, on("ours"), on("ours")},
			{tenant, off, on("all")}, {"", off, off},
		} {
			err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
				if err := tx.PutStop(c.set, c.to); err != nil {
					return err
				}
				got, err := tx.Stop(tenant)
				same(t, fmt.Sprintf("after setting %q", c.set), c.want, got)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Desk.Stop(t.Context(), tenant); err != nil || got.On != c.want.On {
				t.Errorf("the desk sees %v, %v", got, err)
			}
		}
	})

	t.Run("Reach", func(t *testing.T) { t.Parallel(); reach(t, open(t)) })
}

func leases(t *testing.T, p Ports) {
	ctx, d := t.Context(), p.Dispatch
	fence := func() (f int64) {
		t.Helper()
		if err := d.Update(ctx, func(tx dispatch.Tx) (err error) { f, err = tx.Fence(tenant); return err }); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := fence(); f != 0 {
		t.Errorf("nobody's fence: %d", f)
	}
	a, err := d.Acquire(ctx, tenant, "a", start, time.Minute)
	if err != nil || !a.Taken || a.Fence <= 0 || fence() != a.Fence || !a.Until.Equal(at(time.Minute)) {
		t.Fatalf("first: %+v, %v", a, err)
	}
	renewed, err := d.Acquire(ctx, tenant, "a", at(30*time.Second), time.Minute)
	if err != nil || renewed.Taken || renewed.Fence != a.Fence {
		t.Errorf("renewed: %+v, %v", renewed, err)
	}
	_, err = d.Acquire(ctx, tenant, "b", at(90*time.Second-time.Microsecond), time.Minute)
	wantKind(t, "while it is held", err, fault.Conflict)
	b, err := d.Acquire(ctx, tenant, "b", at(90*time.Second), time.Minute)
	if err != nil || !b.Taken || b.Fence <= a.Fence || fence() != b.Fence {
		t.Errorf("taken over: %+v, %v", b, err)
	}
	_, err = d.Acquire(ctx, tenant, "a", at(91*time.Second), time.Minute)
	wantKind(t, "the old owner", err, fault.Conflict)
	if err := d.Release(ctx, renewed); err != nil || fence() != b.Fence {
		t.Errorf("a release of what is lost: %v, fence %d", err, fence())
	}
	if err := d.Release(ctx, b); err != nil || fence() == b.Fence {
		t.Errorf("release: %v, fence %d", err, fence())
	}
	c, err := d.Acquire(ctx, tenant, "b", at(92*time.Second), time.Minute)
	if err != nil || !c.Taken || c.Fence <= b.Fence {
		t.Errorf("after the release: %+v, %v", c, err)
	}
	other, err := d.Acquire(ctx, elsewhere, "a", start, time.Minute)
	if err != nil || !other.Taken {
		t.Errorf("another tenant: %+v, %v", other, err)
	}
}

// reach checks what limits and budgets count.
func reach(t *testing.T, p Ports) {
	scene(t, p, 4)
	other := person(9)
	other.Tenant = elsewhere
	c, r := openCase(9), aRun(9)
	c.Tenant, r.Tenant = elsewhere, elsewhere
	put(t, p, other, c, r)
	abroad := under(9, "a", action.Verified, start, time.Time{})
	abroad.Tenant = elsewhere
	twice := under(1, "b", action.Running, at(time.Second), time.Time{})
	twice.Name = "entra.user.revoke_sessions"
	byOther := under(2, "a", action.Failed, start, time.Time{})
	byOther.Playbook = "token-theft"
	undo := under(3, "undo", action.Running, start, time.Time{})
	undo.UndoOf = under(1, "a", "", start, start).ID
	early := under(4, "a", action.Verified, at(-time.Hour), time.Time{})
	put(t, p, under(1, "a", action.Verified, start, time.Time{}), twice, byOther, undo, early, abroad)

	both := []action.Name{"entra.user.disable", "entra.user.revoke_sessions"}
	for name, c := range map[string]struct {
		ask  dispatch.Reach
		want dispatch.Radius
	}{
		"all":         {dispatch.Reach{Names: both, Since: start, Playbook: "leaked-credentials"}, dispatch.Radius{Everywhere: 3, Tenant: 2, Playbook: 1}},
		"but one":     {dispatch.Reach{Names: both, Since: start, Playbook: "leaked-credentials", But: person(1).ID}, dispatch.Radius{Everywhere: 2, Tenant: 1}},
		"one name":    {dispatch.Reach{Names: both[1:], Since: start, Playbook: "token-theft"}, dispatch.Radius{Everywhere: 1, Tenant: 1}},
		"longer":      {dispatch.Reach{Names: both, Since: at(-time.Hour), Playbook: "token-theft"}, dispatch.Radius{Everywhere: 4, Tenant: 3, Playbook: 1}},
		"later":       {dispatch.Reach{Names: both, Since: at(time.Second), Playbook: "leaked-credentials"}, dispatch.Radius{Everywhere: 1, Tenant: 1, Playbook: 1}},
		"no names":    {dispatch.Reach{Since: start}, dispatch.Radius{}},
		"other names": {dispatch.Reach{Names: []action.Name{"x"}, Since: start}, dispatch.Radius{}},
	} {
		err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
			got, err := tx.Disruptions(tenant, c.ask)
			same(t, name, c.want, got)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	err := p.Dispatch.Update(t.Context(), func(tx dispatch.Tx) error {
		got, err := tx.Touched(tenant, []string{objectID(1), objectID(2), objectID(4), objectID(9)}, both, start)
		same(t, "touched", []string{objectID(1), objectID(2)}, got)
		if err != nil {
			return err
		}
		// It is about the identity's other account too.
		joined := person(2)
		joined.Accounts = append(joined.Accounts, identity.Account{Ref: identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-4002"}})
		if joined, err = tx.PutIdentity(joined); err != nil {
			return err
		}
		got, err = tx.Touched(tenant, []string{"S-1-5-21-1-2-3-4002", "S-1-5-21-1-2-3-4004"}, both[:1], start)
		same(t, "touched elsewhere", []string{"S-1-5-21-1-2-3-4002"}, got)
		if err != nil {
			return err
		}
		// What the transaction writes itself counts at once.
		if _, err := tx.PutAction(under(4, "now", action.Running, at(time.Minute), time.Time{})); err != nil {
			return err
		}
		radius, err := tx.Disruptions(tenant, dispatch.Reach{Names: both, Since: at(time.Minute)})
		same(t, "own writes", dispatch.Radius{Everywhere: 1, Tenant: 1}, radius)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	spent, err := p.Dispatch.Intents(t.Context(), tenant, start)
	same(t, "intents", []dispatch.Spent{
		{Name: both[0], At: start}, {Name: both[0], At: start}, {Name: both[0], At: start},
		{Name: both[1], At: at(time.Second)}, {Name: both[0], At: at(time.Minute)}}, spent)
	if err != nil {
		t.Error(err)
	}
}
