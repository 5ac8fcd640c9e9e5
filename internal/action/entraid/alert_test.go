package entraid_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// alert raises an alert about the users and returns its id.
func (l *lab) alert(source string, users ...string) (id string) {
	l.t.Helper()
	l.happens(world.Event{Type: world.EventAlert, User: users[0], Users: users[1:], Title: "Possible Kerberoasting attack", ServiceSource: source})
	l.world.Walk(world.Alerts, 0, func(_ int, it world.Item) bool { id = it.ID(); return true })
	return id
}

// says is what an alert says, a null as unknown.
func (l *lab) says(id string) (out [3]string) {
	l.t.Helper()
	it, ok := l.world.Get(world.Alerts, id)
	if !ok {
		l.t.Fatalf("no alert %s", id)
	}
	for n, p := range []string{"status", "classification", "determination"} {
		out[n] = "unknown"
		if v, _ := it.Value(p); v != nil {
			out[n] = fmt.Sprint(v)
		}
	}
	return out
}

func (l *lab) alertBench(b *actiontest.Bench, name action.Name) {
	alerts := map[string][]string{}
	onPremises := strings.HasSuffix(string(name), "on_premises")
	key := func(r identity.Ref) string { return r.ObjectID + r.SID }
	yes, next := true, 150 // whom no other action is about
	fresh := func() identity.Ref {
		next++
		a, err := l.world.Pick(world.Pick{Kind: world.KindMember, Synced: &yes, Index: next})
		if err != nil {
			l.t.Fatal(err)
		}
		r := identity.Ref{Provider: identity.EntraID, ObjectID: a.UserID, UPN: a.UserPrincipalName}
		if onPremises {
			r = identity.Ref{Provider: identity.ActiveDirectory, SID: a.SID, SAM: a.SAMAccountName}
		}
		alerts[key(r)] = []string{l.alert("", a.UserID)}
		return r
	}
	all := func(r identity.Ref) []string { return alerts[key(r)] }
	pooled(b, "alert_ids", fresh, all)
	b.Params["classification"] = "falsePositive"
	if name == entraid.RestoreAlerts || name == entraid.RestoreAlertsOnPremises {
		var list []map[string]string
		for _, id := range slices.Sorted(maps.Keys(alerts)) {
			list = append(list, map[string]string{"id": alerts[id][0], "status": "inProgress", "classification": "truePositive", "determination": "phishing"})
		}
		text, err := json.Marshal(list)
		if err != nil {
			l.t.Fatal(err)
		}
		b.Params = map[string]any{"alerts": string(text)}
	}
	b.State = func(r identity.Ref) any { return l.says(alerts[key(r)][0]) }
	other := l.pick(world.Pick{Kind: world.KindGuest})
	if onPremises {
		other = l.onPremises()
		b.Missing = func() identity.Ref {
			return identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-99999", DisplayName: "gone"}
		}
	}
	b.Refused = map[string]identity.Ref{"nothing is said of others": other}
}

// Defender is told of the alerts that name the account and of no others, an alert of
// Entra ID Protection keeps its status, and the undo puts back what each said.
func TestVerdictsReachTheAlertsOfTheAccountOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		one, two := l.fresh(), l.fresh()
		own, both, others, entra := l.alert("", one.ObjectID), l.alert("", two.ObjectID, one.ObjectID), l.alert("", two.ObjectID), l.alert("azureAdIdentityProtection", one.ObjectID)
		if _, err := l.world.Update(world.Actor{DisplayName: "Desk"}, world.Alerts, both, world.Object{"status": "inProgress", "classification": "truePositive", "determination": "malware"}); err != nil {
			t.Fatal(err)
		}
		all := []string{own, both, others, entra}
		before := map[string][3]string{}
		for _, id := range all {
			before[id] = l.says(id)
		}
		types := byName(l.client)
		typ := types[entraid.ClassifyAlerts]
		r := action.Request{ID: "act_1", Account: one, ClientRequestID: "c1", Accepted: true, Params: map[string]any{
			"alert_ids": strings.Join(append(all, "ad-not-there_1"), ","), "classification": "informationalExpectedActivity", "determination": "confirmedUserActivity"}}
		look := typ.Look(t.Context(), []action.Request{r})[0]
		r.Before = look.State
		if o := typ.Do(t.Context(), []action.Request{r})[0]; look.Refuse != "" || o.Verdict != action.Accepted || o.Requests != 3 {
			t.Fatalf("look %+v, outcome %+v", look, o)
		}
		<-time.After(time.Minute)
		if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; !got.Seen {
			t.Errorf("reading %+v", got)
		}
		want := map[string][3]string{own: {"resolved", "informationalExpectedActivity", "confirmedActivity"}, both: {"resolved", "informationalExpectedActivity", "confirmedActivity"},
			others: before[others], entra: {"new", "informationalExpectedActivity", "confirmedActivity"}}
		now := func() map[string][3]string {
			out := map[string][3]string{}
			for _, id := range all {
				out[id] = l.says(id)
			}
			return out
		}
		if d := cmp.Diff(want, now()); d != "" {
			t.Errorf("told: %s", d)
		}
		// Somebody sets one back: it is not proven any more.
		if _, err := l.world.Update(world.Actor{DisplayName: "Desk"}, world.Alerts, own, world.Object{"classification": "truePositive"}); err != nil {
			t.Fatal(err)
		}
		if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen {
			t.Errorf("reading %+v", got)
		}
		// What we did not set is not set back: somebody works on it meanwhile.
		if _, err := l.world.Update(world.Actor{DisplayName: "Desk"}, world.Alerts, entra, world.Object{"status": "inProgress"}); err != nil {
			t.Fatal(err)
		}
		before[entra] = [3]string{"inProgress", before[entra][1], before[entra][2]}
		params, ok := typ.(action.Undoer).Undo(r.Before)
		if !ok {
			t.Fatal("no undo")
		}
		l.do(types[entraid.RestoreAlerts], action.Request{ID: "act_2", Account: one, ClientRequestID: "c2", Params: params})
		if d := cmp.Diff(before, now()); d != "" {
			t.Errorf("undone: %s", d)
		}
	})
}

// What is no verdict, no id or too much is not asked for.
func TestAlertParametersAreChecked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		who := l.fresh()
		id := l.alert("", who.ObjectID)
		for name, params := range map[string]map[string]any{
			"no alert":     {"classification": "truePositive"},
			"another path": {"alert_ids": "../users/" + who.ObjectID, "classification": "truePositive"},
			"too many": {"alert_ids": id + strings.Repeat(","+id+"x", 1) + func() (s string) {
				for n := range 60 {
					s += fmt.Sprint(",a", n)
				}
				return s
			}(), "classification": "truePositive"},
			"no verdict":       {"alert_ids": id, "classification": "unknown"},
			"no word":          {"alert_ids": id, "classification": "truePositive", "determination": "guilty"},
			"no status":        {"alert_ids": id, "classification": "truePositive", "status": "gone"},
			"nothing recorded": {"alerts": "[]"},
			"no list":          {"alerts": "{"},
			"a foreign status": {"alerts": `[{"id":"a","status":"gone"}]`},
		} {
			typ := byName(l.client)[entraid.ClassifyAlerts]
			if _, restore := params["alerts"]; restore {
				typ = byName(l.client)[entraid.RestoreAlerts]
			}
			if look := typ.Look(t.Context(), []action.Request{{ID: "act_1", Account: who, Params: params}})[0]; look.Err == nil || look.State != nil {
				t.Errorf("%s: %+v", name, look)
			}
		}
	})
}
