package entraid_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/world"
)

const hostile = "Pay'roll\" <script>alert(1)</script> ${{ x }}\r\n%2e%2e/; DROP"

// workload returns another workload each time: with two secrets, permissions on
// two resources, and a consent.
func (l *lab) workload() identity.Ref {
	l.t.Helper()
	l.next++
	appID := fmt.Sprintf("ab000000-0000-4000-8000-%012d", l.next)
	a, err := l.world.AddApp(world.App{AppID: appID, DisplayName: fmt.Sprint(hostile, l.next), AppRoles: []string{"Mail.Read", "User.Read.All"}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.happens(world.Event{Type: world.EventAddCredential, ServicePrincipal: a.ServicePrincipalID, Title: hostile})
	<-time.After(time.Second)
	l.happens(world.Event{Type: world.EventAddCredential, ServicePrincipal: a.ServicePrincipalID, Title: "newer"})
	<-time.After(time.Second)
	if _, _, err := l.world.GrantConsent(world.Actor{}, world.Object{"clientId": a.ServicePrincipalID, "consentType": "AllPrincipals", "resourceId": l.resource(), "scope": "User.Read Mail.Read"}); err != nil {
		l.t.Fatal(err)
	}
	return identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: a.ServicePrincipalID, AppID: appID, DisplayName: hostile}
}

func (l *lab) happens(e world.Event) {
	l.t.Helper()
	if err := l.world.Apply(e); err != nil {
		l.t.Fatal(err)
	}
}

// resource is the service principal of Microsoft Graph.
func (l *lab) resource() string {
	l.t.Helper()
	sp, ok := l.world.GetBy(world.ServicePrincipals, "appId", "00000003-0000-0000-c000-000000000000")
	if !ok {
		l.t.Fatal("no Microsoft Graph")
	}
	return sp.ID()
}

// keys are the key ids of the workload's application, oldest first.
func (l *lab) keys(r identity.Ref) (ids []string) {
	app, ok := l.world.GetBy(world.Applications, "appId", r.AppID)
	if !ok {
		l.t.Fatal("no application")
	}
	list, _ := app.Value("passwordCredentials")
	for _, c := range list.([]any) {
		ids = append(ids, c.(map[string]any)["keyId"].(string))
	}
	certs, _ := app.Value("keyCredentials")
	for _, c := range certs.([]any) {
		ids = append(ids, c.(map[string]any)["keyId"].(string))
	}
	return ids
}

// granted are what a relation lists, without what a new grant does not share.
func (l *lab) granted(r identity.Ref, relation string) []string {
	items, err := l.world.Related(world.ServicePrincipals, r.ObjectID, relation)
	if err != nil {
		l.t.Fatal(err)
	}
	out := []string{}
	for _, it := range items {
		o := it.Object()
		out = append(out, fmt.Sprint(o["resourceId"], o["appRoleId"], o["consentType"], o["principalId"], o["scope"]))
	}
	slices.Sort(out)
	return out
}

func (l *lab) value(r identity.Ref, c world.Collection, property string) any {
	it, ok := l.world.Get(c, r.ObjectID)
	if !ok {
		return nil
	}
	v, _ := it.Value(property)
	return v
}

// workloadBench is the lab as the suite wants it for one action on workloads.
func (l *lab) workloadBench(b *actiontest.Bench, name action.Name) {
	types := byName(l.client)
	b.Fresh, b.Refused = l.workload, nil
	microsoft := identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: l.resource()}
	prepared := func(by action.Name, params map[string]any) func() identity.Ref {
		return func() identity.Ref {
			r := l.workload()
			l.do(types[by], action.Request{Account: r, Params: params})
			return r
		}
	}
	switch name {
	case entraid.DisableWorkload, entraid.EnableWorkload:
		b.Refused = map[string]identity.Ref{"Microsoft's own": microsoft}
		b.State = func(r identity.Ref) any { return l.value(r, world.ServicePrincipals, "accountEnabled") }
		if name == entraid.EnableWorkload {
			b.Fresh = prepared(entraid.DisableWorkload, nil)
		}
	case entraid.ConfirmWorkload, entraid.DismissWorkload:
		b.State = func(r identity.Ref) any {
			s := l.value(r, world.RiskyServicePrincipals, "riskState")
			return s != nil && s != "dismissed"
		}
		if name == entraid.DismissWorkload {
			b.Fresh = func() identity.Ref {
				r := l.workload()
				l.happens(world.Event{Type: world.EventServicePrincipalDetection, ServicePrincipal: r.ObjectID, RiskEventType: "leakedCredentials", RiskLevel: "high"})
				return r
			}
		}
	case entraid.RemoveCredential:
		// The suite gives every request the same parameters: the keys of all that may come.
		var pool []identity.Ref
		var ids []string
		for range 40 {
			r := l.workload()
			pool, ids = append(pool, r), append(ids, l.keys(r)[0])
		}
		b.Params = map[string]any{"key_ids": strings.Join(ids, ",")}
		b.Fresh = func() identity.Ref {
			r := pool[0]
			pool = pool[1:]
			return r
		}
		b.State = func(r identity.Ref) any { return l.keys(r) }
	case entraid.RevokeAppRoles, entraid.RestoreAppRoles, entraid.RevokeConsent, entraid.RestoreConsent:
		relation := "appRoleAssignments"
		if name == entraid.RevokeConsent || name == entraid.RestoreConsent {
			relation = "oauth2PermissionGrants"
		}
		b.State = func(r identity.Ref) any { return l.granted(r, relation) }
		switch name {
		case entraid.RestoreAppRoles:
			items, _ := l.world.Related(world.ServicePrincipals, l.workload().ObjectID, relation)
			b.Params = map[string]any{"grants": grantsJSON(l.t, items)}
			b.Fresh = prepared(entraid.RevokeAppRoles, nil)
		case entraid.RestoreConsent:
			items, _ := l.world.Related(world.ServicePrincipals, l.workload().ObjectID, relation)
			b.Params = map[string]any{"grants": grantsJSON(l.t, items)}
			b.Fresh = prepared(entraid.RevokeConsent, nil)
		default:
			b.Refused = map[string]identity.Ref{"Microsoft's own": microsoft}
		}
	}
}

func grantsJSON(t testing.TB, items []world.Item) string {
	t.Helper()
	var list []map[string]any
	for _, it := range items {
		o := it.Object()
		g := map[string]any{"resourceId": o["resourceId"]}
		for _, k := range []string{"appRoleId", "consentType", "scope"} {
			if o[k] != nil {
				g[k] = o[k]
			}
		}
		list = append(list, g)
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The suspect credential goes only when a newer one is there; others, and
// certificates of either object, stay as they are.
func TestOnlyTheSuspectCredential(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.RemoveCredential]
		r := l.workload()
		l.happens(world.Event{Type: world.EventAddCredential, ServicePrincipal: r.ObjectID, Title: "newest"})
		keys := l.keys(r)
		newest := action.Request{ID: "act_1", Account: r, Params: map[string]any{"key_ids": keys[2]}, ClientRequestID: "c1"}
		look := typ.Look(t.Context(), []action.Request{newest})[0]
		if fault.KindOf(look.Err) != fault.Held || !strings.Contains(look.Err.Error(), "newer credential") {
			t.Fatalf("the newest would be removed: %+v", look)
		}
		if o := typ.Do(t.Context(), []action.Request{newest})[0]; o.Verdict != action.Later || l.changes() != 0 {
			t.Fatalf("the newest was removed: %+v", o)
		}
		// A certificate of the application is suspect too.
		app, _ := l.world.GetBy(world.Applications, "appId", r.AppID)
		cert := func(id string) map[string]any {
			return map[string]any{"keyId": id, "displayName": "CN=" + id, "type": "AsymmetricX509Cert", "usage": "Verify", "key": "AAAA", "customKeyIdentifier": nil, "startDateTime": "1999-01-01T00:00:00Z", "endDateTime": "2090-01-01T00:00:00Z"}
		}
		const bad, good = "cccccccc-0000-4000-8000-000000000001", "cccccccc-0000-4000-8000-000000000002"
		if _, err := l.world.Update(world.Actor{}, world.Applications, app.ID(), world.Object{"keyCredentials": []any{cert(bad), cert(good)}}); err != nil {
			t.Fatal(err)
		}
		both := action.Request{ID: "act_2", Account: r, Params: map[string]any{"key_ids": strings.ToUpper(keys[0]) + ", " + bad}, ClientRequestID: "c2"}
		look = typ.Look(t.Context(), []action.Request{both})[0]
		if look.Err != nil || look.Refuse != "" || strings.ContainsAny(look.Text, "\r\n") {
			t.Fatalf("look %+v", look)
		}
		both.Before = look.State
		if o := typ.Do(t.Context(), []action.Request{both})[0]; o.Verdict != action.Accepted {
			t.Fatalf("outcome %+v", o)
		}
		if diff := cmp.Diff([]string{keys[1], keys[2], good}, l.keys(r)); diff != "" {
			t.Errorf("what is left: %s", diff)
		}
		app, _ = l.world.GetBy(world.Applications, "appId", r.AppID)
		kept, _ := app.Value("keyCredentials")
		if diff := cmp.Diff([]any{cert(good)}, kept); diff != "" {
			t.Errorf("the certificate that stays is changed: %s", diff)
		}
		if got := typ.ReadBack(t.Context(), []action.Request{both})[0]; !got.Seen {
			t.Errorf("reading %+v", got)
		}
		for _, text := range []string{"", "x", keys[0] + ",", "../" + keys[0]} {
			bad := action.Request{ID: "act_3", Account: r, Params: map[string]any{"key_ids": text}, ClientRequestID: "c3"}
			if l := typ.Look(t.Context(), []action.Request{bad})[0]; fault.KindOf(l.Err) != fault.Invalid {
				t.Errorf("key ids %q: %+v", text, l)
			}
			if o := typ.Do(t.Context(), []action.Request{bad})[0]; o.Verdict != action.Refused {
				t.Errorf("key ids %q: %+v", text, o)
			}
		}
	})
}

// Half of a list of changes that is taken is neither accepted nor put off: it is
// read, and the record of what was there stays the first one.
func TestHalfTakenIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.RevokeAppRoles]
		r := action.Request{ID: "act_1", Account: l.workload(), ClientRequestID: "c1"}
		look := typ.Look(t.Context(), []action.Request{r})[0]
		r.Before = look.State
		was := l.granted(r.Account, "appRoleAssignments")
		l.faults("503,count=1@DELETE /servicePrincipals")
		o := typ.Do(t.Context(), []action.Request{r})[0]
		if o.Verdict != action.Unknown || o.Requests != 2 || len(l.granted(r.Account, "appRoleAssignments")) != 1 {
			t.Fatalf("outcome %+v, left %v", o, l.granted(r.Account, "appRoleAssignments"))
		}
		if got := typ.ReadBack(t.Context(), []action.Request{r})[0]; got.Seen || got.Err != nil {
			t.Fatalf("half counts as all: %+v", got)
		}
		if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
			t.Fatalf("the rest: %+v", o)
		}
		params, ok := typ.(action.Undoer).Undo(r.Before)
		if !ok {
			t.Fatal("no undo")
		}
		back := byName(l.client)[entraid.RestoreAppRoles]
		u := action.Request{ID: "act_2", Account: r.Account, Params: params, ClientRequestID: "c2"}
		u.Before = back.Look(t.Context(), []action.Request{u})[0].State
		if o := back.Do(t.Context(), []action.Request{u})[0]; o.Verdict != action.Accepted {
			t.Fatalf("undo: %+v", o)
		}
		if diff := cmp.Diff(was, l.granted(r.Account, "appRoleAssignments")); diff != "" {
			t.Errorf("undone, and not as before: %s", diff)
		}
	})
}

// What was granted after the record was made is not touched.
func TestGrantedMeanwhileStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.RevokeConsent]
		r := action.Request{ID: "act_1", Account: l.workload(), ClientRequestID: "c1"}
		r.Before = typ.Look(t.Context(), []action.Request{r})[0].State
		who := l.fresh()
		if _, _, err := l.world.GrantConsent(world.Actor{}, world.Object{"clientId": r.Account.ObjectID, "consentType": "Principal", "principalId": who.ObjectID, "resourceId": l.resource(), "scope": "Files.Read"}); err != nil {
			t.Fatal(err)
		}
		if o := typ.Do(t.Context(), []action.Request{r})[0]; o.Verdict != action.Accepted {
			t.Fatalf("outcome %+v", o)
		}
		if got := l.granted(r.Account, "oauth2PermissionGrants"); len(got) != 1 || !strings.Contains(got[0], who.ObjectID) {
			t.Errorf("left %v", got)
		}
		got := typ.ReadBack(t.Context(), []action.Request{r})[0]
		if !got.Seen || !strings.Contains(got.Text, "1 in all") {
			t.Errorf("reading %+v", got)
		}
	})
}

// Without the permission the refusal names it, and nothing changes.
func TestPermissionMissing(t *testing.T) {
	t.Parallel()
	for name, typ := range byName(nil) {
		spec := typ.Spec()
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, everything())
				b := l.bench(name)
				r := action.Request{ID: "act_1", Account: b.Fresh(), Params: b.Params, ClientRequestID: "c1", Secret: []byte(strings.Repeat("Aa1!", 8))}
				r.Before = b.Type.Look(t.Context(), []action.Request{r})[0].State
				app := graphsim.Responder(clientID, "lab")
				app.Roles = []string{"User.Read.All", "Application.Read.All", "UserAuthenticationMethod.Read.All"}
				if err := l.tenant.SetApp(app); err != nil {
					t.Fatal(err)
				}
				c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: l.signIn(), Transport: l.tenant.Transport()})
				if err != nil {
					t.Fatal(err)
				}
				changes := l.changes()
				o := byName(c)[name].Do(t.Context(), []action.Request{r})[0]
				if o.Verdict != action.Refused {
					t.Fatalf("outcome %+v", o)
				}
				if !strings.Contains(o.Reason, spec.Permissions[0]) {
					t.Errorf("the reason does not name %s: %s", spec.Permissions[0], o.Reason)
				}
				if l.changes() != changes {
					t.Error("something changed")
				}
			})
		})
	}
}
