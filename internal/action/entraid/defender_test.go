package entraid_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// onPremises returns another account of Active Directory each time: first those
// that are not synchronised, then those that are.
func (l *lab) onPremises() identity.Ref {
	l.t.Helper()
	yes := true
	l.next++
	a, err := l.world.Pick(world.Pick{Kind: world.KindMember, Synced: &yes, Index: l.next})
	if err != nil {
		l.t.Fatal(err)
	}
	return identity.Ref{Provider: identity.ActiveDirectory, SID: a.SID, SAM: a.SAMAccountName, Domain: a.Domain}
}

func (l *lab) enabledThere(r identity.Ref) (on bool) {
	l.world.WalkOnPremises(func(s world.OnPremisesState) bool {
		if s.SID == r.SID {
			on = s.Enabled
		}
		return s.SID != r.SID
	})
	return on
}

// inOkta is onPremises with an account in Okta.
func (l *lab) inOkta() identity.Ref {
	l.t.Helper()
	r := l.onPremises()
	if _, err := l.world.ConnectOkta(r.SID); err != nil {
		l.t.Fatal(err)
	}
	return r
}

func (l *lab) defenderBench(b *actiontest.Bench, name action.Name) {
	b.Fresh, b.Refused = l.onPremises, nil
	b.Missing = func() identity.Ref {
		return identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-99999", DisplayName: "gone"}
	}
	b.State = func(r identity.Ref) any { return l.enabledThere(r) }
	if strings.HasPrefix(string(name), "defender.okta.") {
		b.Fresh = l.inOkta
	}
	if name == entraid.DefenderEnable {
		b.Fresh = func() identity.Ref {
			r := l.onPremises()
			l.do(byName(l.client)[entraid.DefenderDisable], action.Request{Account: r})
			return r
		}
	}
}

// Defender takes the request while no sensor is up: nothing is proven, whatever it
// said.
func TestAcceptedByDefenderIsNotDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		for _, dc := range []string{"DC01", "DC02"} {
			l.happens(world.Event{Type: world.EventSensor, Sensor: dc, Status: "down"})
		}
		a := l.pick(world.Pick{Kind: world.KindOnPremisesOnly})
		sid, err := l.world.Pick(world.Pick{Kind: world.KindOnPremisesOnly})
		if err != nil {
			t.Fatal(err)
		}
		a.Provider, a.SID = identity.ActiveDirectory, sid.SID
		typ := byName(l.client)[entraid.DefenderDisable]
		r := action.Request{ID: "act_1", Account: a, ClientRequestID: "c1", Accepted: true}
		r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
		o := typ.Do(t.Context(), []action.Request{r})[0]
		if o.Verdict != action.Accepted || !strings.Contains(o.Reason, "correlation id") {
			t.Fatalf("outcome %+v", o)
		}
		<-time.After(typ.Spec().Within)
		if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen || got.Err != nil || l.enabledThere(a) != true {
			t.Errorf("reading %+v", got)
		}
	})
}

// What Graph shows nothing of is never proven, never repeated, and goes to a person.
func TestForcedResetStaysUnproven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.DefenderForceReset]
		spec := typ.Spec()
		if !spec.NeverRepeat || spec.Undo != "" || spec.Irreversible == "" {
			t.Errorf("spec %+v", spec)
		}
		r := action.Request{ID: "act_1", Account: l.onPremises(), ClientRequestID: "c1", Accepted: true}
		look := typ.Look(t.Context(), []action.Request{r})[0]
		r.Before = look.State
		if o := typ.Do(t.Context(), []action.Request{r})[0]; look.Refuse != "" || look.Already || o.Verdict != action.Accepted {
			t.Fatalf("look %+v, outcome %+v", look, o)
		}
		<-time.After(time.Minute)
		got := typ.ReadBack(t.Context(), []action.Request{r})[0]
		if got.Seen || !strings.Contains(got.Text, "pwdLastSet") {
			t.Errorf("reading %+v", got)
		}
		reset := false
		l.world.WalkOnPremises(func(s world.OnPremisesState) bool {
			if s.SID == r.Account.SID {
				reset = s.PasswordLastSet.IsZero()
			}
			return true
		})
		if !reset {
			t.Error("the lab did nothing")
		}
	})
}

// What Defender does in Okta happens there, to the account of that identity and to
// nothing else, and is never called proven: nothing at Graph shows it.
func TestWhatIsDoneInOktaStaysUnproven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		who := l.inOkta()
		there := func() world.OktaState {
			s, ok := l.world.Okta(who.SID)
			if !ok {
				t.Fatal("no account in Okta")
			}
			s.ID = ""
			return s
		}
		for _, c := range []struct {
			name action.Name
			want world.OktaState
		}{
			{entraid.DefenderOktaDisable, world.OktaState{Suspended: true}},
			{entraid.DefenderOktaRevoke, world.OktaState{Suspended: true, Revocations: 1}},
			{entraid.DefenderOktaEnable, world.OktaState{Revocations: 1}},
		} {
			typ := byName(l.client)[c.name]
			if s := typ.Spec(); !s.NeverRepeat || s.Undo != "" || s.Irreversible == "" || s.Provider != identity.ActiveDirectory || s.Via != identity.EntraID {
				t.Errorf("%s: spec %+v", c.name, s)
			}
			r := action.Request{ID: "act_1", Account: who, ClientRequestID: "c1", Accepted: true}
			look := typ.Look(t.Context(), []action.Request{r})[0]
			if r.Before = look.State; look.Err != nil || look.Refuse != "" || look.Already || strings.Contains(string(look.State), "true") {
				t.Fatalf("%s: look %+v", c.name, look)
			}
			if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted || !strings.Contains(o.Reason, "correlation id") {
				t.Fatalf("%s: outcome %+v", c.name, o)
			}
			<-time.After(typ.Spec().Within)
			if got := there(); got != c.want || !l.enabledThere(who) {
				t.Errorf("%s: %+v in Okta, want %+v", c.name, got, c.want)
			}
			if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen || got.Err != nil || !strings.Contains(got.Text, "Okta") {
				t.Errorf("%s: reading %+v", c.name, got)
			}
			without := action.Request{ID: "act_2", Account: l.onPremises(), ClientRequestID: "c2"}
			if look := typ.Look(t.Context(), []action.Request{without})[0]; !strings.Contains(look.Refuse, "no such account of Okta") {
				t.Errorf("%s: nobody in Okta: %+v", c.name, look)
			}
		}
	})
}

// A SID goes into a filter: what is none is not asked for.
func TestSIDsAreChecked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.DefenderDisable]
		for _, sid := range []string{"", "S-1-", "S-1-5' or 1 eq 1", "S-1-5-21\r\n", "x"} {
			r := action.Request{ID: "act_1", Account: identity.Ref{Provider: identity.ActiveDirectory, SID: sid}, ClientRequestID: "c1"}
			if look := typ.Look(t.Context(), []action.Request{r})[0]; look.Err == nil && look.Refuse == "" {
				t.Errorf("SID %q: %+v", sid, look)
			}
		}
	})
}
