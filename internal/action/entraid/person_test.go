package entraid_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// Roles that nobody of the lab's ordinary people holds.
const (
	reportsReader   = "4a5d8f65-41da-4de4-8968-e035b65339cf"
	directoryReader = "88d8e3e3-8f55-4a1e-953a-9b9898b8876b"
)

// group is the id of the group of that name.
func (l *lab) group(name string) (id string) {
	l.t.Helper()
	l.world.Walk(world.Groups, 0, func(_ int, it world.Item) bool {
		if v, _ := it.Value("displayName"); v == name {
			id = it.ID()
		}
		return true
	})
	if id == "" {
		l.t.Fatalf("no group %q", name)
	}
	return id
}

// related are the values of properties of what hangs on a user, sorted.
func (l *lab) related(r identity.Ref, relation string, properties ...string) []string {
	l.t.Helper()
	items, err := l.world.Related(world.Users, r.ObjectID, relation)
	if err != nil {
		l.t.Fatal(err)
	}
	return values(items, properties...)
}

func values(items []world.Item, properties ...string) []string {
	out := []string{}
	for _, it := range items {
		var row []any
		for _, p := range properties {
			v, _ := it.Value(p)
			row = append(row, v)
		}
		out = append(out, fmt.Sprint(row...))
	}
	slices.Sort(out)
	return out
}

// roles are what the two lists of assignments say of a person.
func (l *lab) roles(r identity.Ref) []string {
	out := []string{}
	for _, c := range []world.Collection{world.RoleAssignmentInstances, world.RoleEligibilityInstances} {
		l.world.Walk(c, 0, func(_ int, it world.Item) bool {
			if id, _ := it.Value("principalId"); id == r.ObjectID {
				role, _ := it.Value("roleDefinitionId")
				out = append(out, fmt.Sprint(c, " ", role))
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

func (l *lab) give(r identity.Ref, role string, eligible bool) {
	l.t.Helper()
	_, _, err := l.world.RequestRole(world.Actor{}, eligible, world.Object{"action": "adminAssign", "principalId": r.ObjectID, "roleDefinitionId": role, "directoryScopeId": "/", "scheduleInfo": map[string]any{}})
	if err != nil {
		l.t.Fatal(err)
	}
	<-time.After(10 * time.Second)
}

// owner returns another person each time who has a device that is the cloud's.
func (l *lab) owner() identity.Ref {
	for {
		r := l.fresh()
		if slices.Contains(l.related(r, world.RegisteredDevices, "onPremisesSyncEnabled", "accountEnabled"), fmt.Sprint(nil, true)) {
			return r
		}
	}
}

// rules are a person's inbox rules with whether they are on.
func (l *lab) rules(r identity.Ref, properties ...string) []string {
	items, err := l.world.Rules(r.ObjectID)
	if err != nil {
		l.t.Fatal(err)
	}
	return values(items, properties...)
}

// correspondent has an inbox rule of each kind.
func (l *lab) correspondent() identity.Ref {
	r := l.fresh()
	for _, does := range []string{"forward", "delete", "hide", "sort"} {
		l.happens(world.Event{Type: world.EventInboxRule, User: r.ObjectID, Title: does + " " + hostile, Description: does})
	}
	return r
}

// pooled makes 40 accounts beforehand, for parameters that must name what hangs
// on each of them: the suite gives every request the same.
func pooled(b *actiontest.Bench, param string, fresh func() identity.Ref, ids func(identity.Ref) []string) {
	var pool []identity.Ref
	var all []string
	for range 40 {
		r := fresh()
		pool, all = append(pool, r), append(all, ids(r)...)
	}
	b.Params = map[string]any{param: strings.Join(all, ",")}
	b.Fresh = func() identity.Ref {
		r := pool[0]
		pool = pool[1:]
		return r
	}
}

// personBench is the lab as the suite wants it for one of the later actions on
// people.
func (l *lab) personBench(b *actiontest.Bench, name action.Name, guest, synced identity.Ref) {
	types := byName(l.client)
	prepared := func(by action.Name, fresh func() identity.Ref, params map[string]any) func() identity.Ref {
		return func() identity.Ref {
			r := fresh()
			l.do(types[by], action.Request{ID: "act_p", Account: r, Params: params})
			return r
		}
	}
	switch name {
	case entraid.ConfirmSignInsCompromised, entraid.ConfirmSignInsSafe, entraid.DismissSignIns:
		signIns := map[string]string{}
		pooled(b, "request_ids", func() identity.Ref {
			r := l.fresh()
			l.happens(world.Event{Type: world.EventDetection, User: r.ObjectID, RiskEventType: "anonymizedIPAddress", RiskLevel: "medium"})
			l.world.Walk(world.SignIns, 0, func(_ int, it world.Item) bool {
				user, _ := it.Value("userId")
				if state, _ := it.Value("riskState"); user == r.ObjectID && state == "atRisk" {
					signIns[r.ObjectID] = it.ID()
				}
				return true
			})
			return r
		}, func(r identity.Ref) []string { return []string{signIns[r.ObjectID]} })
		b.Refused = map[string]identity.Ref{"home tenant": guest, "none of the named sign-ins": l.pick(world.Pick{Kind: world.KindMember})}
		b.State = func(r identity.Ref) any {
			it, ok := l.world.Get(world.SignIns, signIns[r.ObjectID])
			if !ok {
				return nil
			}
			v, _ := it.Value("riskState")
			return v
		}
	case entraid.RequirePasswordChange, entraid.LiftPasswordChange:
		b.Refused = map[string]identity.Ref{"home tenant": guest, "mastered in Active Directory": synced}
		b.State = func(r identity.Ref) any { return l.user(r).ForceChangePassword }
		if name == entraid.LiftPasswordChange {
			b.Fresh = prepared(entraid.RequirePasswordChange, l.fresh, nil)
		}
	case entraid.RemoveMethods:
		b.Refused = map[string]identity.Ref{"home tenant": guest}
		b.Params = map[string]any{"since": time.Now().UTC().Format(time.RFC3339)}
		b.Fresh = func() identity.Ref {
			r := l.fresh()
			for _, kind := range []string{"phone", "fido2", "softwareOath"} {
				l.happens(world.Event{Type: world.EventAddMethod, User: r.ObjectID, Title: kind})
			}
			return r
		}
		b.State = func(r identity.Ref) any { return l.related(r, world.AuthenticationMethods, "id") }
	case entraid.HandOverAccessPass:
		public, _, err := action.NewSealKey(rand.Reader)
		if err != nil {
			l.t.Fatal(err)
		}
		b.Params = map[string]any{action.ParamRecipient: "operator", action.ParamRecipientKey: public}
		b.Refused = map[string]identity.Ref{"home tenant": guest}
		b.State = func(r identity.Ref) any { return l.related(r, world.AuthenticationMethods, "id") }
	case entraid.BlockByGroup, entraid.UnblockByGroup, entraid.RemoveFromGroup, entraid.ReturnToGroup:
		b.Params, b.Refused = map[string]any{"group": l.group("Headquarters applications")}, nil
		b.State = func(r identity.Ref) any { return l.related(r, world.MemberOf, "id") }
		if name == entraid.UnblockByGroup || name == entraid.RemoveFromGroup {
			b.Fresh = prepared(entraid.BlockByGroup, l.fresh, b.Params)
		}
	case entraid.RemoveRoles:
		b.Refused = nil
		b.Fresh = func() identity.Ref {
			r := l.fresh()
			l.give(r, reportsReader, false)
			l.give(r, directoryReader, true)
			return r
		}
		b.State = func(r identity.Ref) any { return l.roles(r) }
	case entraid.AssignRoles:
		b.Refused = nil
		b.Params = map[string]any{"roles": `[{"roleDefinitionId":"` + reportsReader + `","directoryScopeId":"/"},{"roleDefinitionId":"` + directoryReader + `","directoryScopeId":"/","eligible":true}]`}
		b.State = func(r identity.Ref) any { return l.roles(r) }
	case entraid.DisableDevices, entraid.EnableDevices:
		b.Refused, b.Fresh = nil, l.owner
		b.State = func(r identity.Ref) any { return l.related(r, world.RegisteredDevices, "id", "accountEnabled") }
		if name == entraid.EnableDevices {
			pooled(b, "devices", prepared(entraid.DisableDevices, l.owner, nil), func(r identity.Ref) []string {
				return l.related(r, world.RegisteredDevices, "id")
			})
		}
	case entraid.DisableInboxRules, entraid.EnableInboxRules:
		b.Refused, b.Fresh = map[string]identity.Ref{"home tenant": guest}, l.correspondent
		b.State = func(r identity.Ref) any { return l.rules(r, "id", "isEnabled") }
		if name == entraid.EnableInboxRules {
			pooled(b, "rules", prepared(entraid.DisableInboxRules, l.correspondent, nil), func(r identity.Ref) []string { return l.rules(r, "id") })
		}
	}
}

// Only what was added since goes, and what does not say when unless it is to stay.
func TestMethodsAddedSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		params map[string]any
		left   []string // kinds that stay, beside the password
	}{
		"since":        {map[string]any{}, []string{"email"}},
		"keep undated": {map[string]any{"keep_undated": true}, []string{"email", "phone"}},
		"all":          {map[string]any{"all": true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, everything())
				typ := byName(l.client)[entraid.RemoveMethods]
				r := action.Request{ID: "act_1", Account: l.fresh(), ClientRequestID: "c1", Params: c.params}
				// What the seed gave is taken away first.
				all := action.Request{ID: "act_0", Account: r.Account, ClientRequestID: "c0", Params: map[string]any{"all": true}}
				if look := typ.Look(t.Context(), []action.Request{all})[0]; !look.Already {
					all.Before = look.State
					if o := typ.Do(t.Context(), []action.Request{all})[0]; o.Verdict != action.Accepted {
						t.Fatalf("prepare: %+v", o)
					}
				}
				add := func(kind string) {
					l.happens(world.Event{Type: world.EventAddMethod, User: r.Account.ObjectID, Title: kind})
				}
				add("email")
				<-time.After(time.Hour)
				r.Params["since"] = time.Now().UTC().Format(time.RFC3339)
				add("phone")
				add("microsoftAuthenticator")
				r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
				if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
					t.Fatalf("outcome %+v", o)
				}
				var left []string
				for _, k := range l.related(r.Account, world.AuthenticationMethods, "@odata.type") {
					if k = strings.TrimSuffix(strings.TrimPrefix(k, "#microsoft.graph."), "AuthenticationMethod"); k != "password" {
						left = append(left, k)
					}
				}
				if !slices.Equal(left, c.left) {
					t.Errorf("left %v, want %v", left, c.left)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		for _, since := range []any{nil, "", "yesterday", 7} {
			r := action.Request{ID: "act_1", Account: l.fresh(), ClientRequestID: "c1", Params: map[string]any{"since": since}}
			if look := byName(l.client)[entraid.RemoveMethods].Look(t.Context(), []action.Request{r})[0]; fault.KindOf(look.Err) != fault.Invalid {
				t.Errorf("since %v: %+v", since, look)
			}
		}
	})
}

// The pass that Entra makes opens for its recipient, and is nowhere else.
func TestAccessPassIsSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.HandOverAccessPass]
		public, private, err := action.NewSealKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		r := action.Request{ID: "act_1", Tenant: "t1", Account: l.fresh(), ClientRequestID: "c1", Params: map[string]any{action.ParamRecipient: "op", action.ParamRecipientKey: public, "minutes": float64(30)}}
		var passes []string
		for range 2 { // the second replaces the first
			r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
			o := typ.Do(t.Context(), []action.Request{r})[0]
			if o.Verdict != action.Accepted {
				t.Fatalf("outcome %+v", o)
			}
			pass, err := action.OpenSealed(private, "t1", "act_1", o.Sealed)
			if err != nil || len(pass) < 8 {
				t.Fatalf("the recipient opens %d characters: %v", len(pass), err)
			}
			if strings.Contains(fmt.Sprintf("%+v", o), string(pass)) {
				t.Error("the outcome shows the pass")
			}
			r.Accepted = true
			got := typ.ReadBack(t.Context(), []action.Request{r})[0]
			if !got.Seen || strings.Contains(fmt.Sprintf("%+v %s", got, got.State), string(pass)) {
				t.Errorf("reading %+v", got)
			}
			passes = append(passes, string(pass))
		}
		if passes[0] == passes[1] {
			t.Error("twice the same pass")
		}
		if n := len(slices.DeleteFunc(l.related(r.Account, world.AuthenticationMethods, "@odata.type"), func(k string) bool { return !strings.Contains(k, "temporaryAccessPass") })); n != 1 {
			t.Errorf("%d passes are there", n)
		}
		changes := l.changes()
		for name, params := range map[string]map[string]any{"no key": {action.ParamRecipient: "op"}, "a broken key": {action.ParamRecipient: "op", action.ParamRecipientKey: "AAAA"}} {
			r.Params = params
			if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Refused {
				t.Errorf("%s: %+v", name, o)
			}
		}
		if l.changes() != changes {
			t.Error("a pass was made that nobody can open")
		}
	})
}

// Groups whose members are not ours to change are refused before anything is sent.
func TestGroupsThatAreLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLabOf(t, everything(), 1200) // so that there is a group that may hold roles
		typ := byName(l.client)[entraid.RemoveFromGroup]
		for group, words := range map[string]string{
			l.group("Production"): "mastered in Active Directory", l.group("Tier 1 service desk"): "may hold directory roles",
			"99999999-9999-4999-8999-999999999999": "no such group",
		} {
			r := action.Request{ID: "act_1", Account: l.fresh(), ClientRequestID: "c1", Params: map[string]any{"group": group}}
			if look := typ.Look(t.Context(), []action.Request{r})[0]; !strings.Contains(look.Refuse, words) {
				t.Errorf("%+v, want %q", look, words)
			}
		}
		for _, group := range []any{nil, "", "x/../../users", 7} {
			r := action.Request{ID: "act_1", Account: l.fresh(), ClientRequestID: "c1", Params: map[string]any{"group": group}}
			if look := typ.Look(t.Context(), []action.Request{r})[0]; fault.KindOf(look.Err) != fault.Invalid {
				t.Errorf("group %v: %+v", group, look)
			}
			if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Refused {
				t.Errorf("group %v: %+v", group, o)
			}
		}
	})
}

// Only the suspicious rules are switched off; what a person sorts by stays.
func TestSuspiciousRules(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.DisableInboxRules]
		r := action.Request{ID: "act_1", Account: l.correspondent(), ClientRequestID: "c1"}
		look := typ.Look(t.Context(), []action.Request{r})[0]
		if strings.ContainsAny(look.Text, "\r\n") || strings.Contains(string(look.State), "elsewhere.example") || strings.Contains(string(look.State), "invoice") {
			t.Errorf("the record keeps the person's mail: %s %s", look.Text, look.State)
		}
		r.Before = look.State
		if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
			t.Fatalf("outcome %+v", o)
		}
		on := slices.DeleteFunc(l.rules(r.Account, "isEnabled", "displayName"), func(s string) bool { return !strings.HasPrefix(s, "true") })
		if len(on) != 1 || !strings.Contains(on[0], "sort") {
			t.Errorf("still on: %v", on)
		}
	})
}
