package entraid_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/graph/graphtest"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

const (
	person = `{"@odata.type":"#microsoft.graph.user","id":"%","accountEnabled":true}`
	gone   = `{"@odata.type":"#microsoft.graph.user","id":"%","accountEnabled":false}`
	group  = `{"@odata.type":"#microsoft.graph.group","id":"%"}`
	app    = `{"@odata.type":"#microsoft.graph.servicePrincipal","id":"%"}`
)

// answers is a Graph that knows a few paths.
func answers(t *testing.T, pages map[string]string) entraid.Tenant {
	t.Helper()
	c, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: graphtest.Token("t"),
		Transport: graphtest.Transport(func(r *http.Request) (*http.Response, error) {
			if body, ok := pages[r.URL.Path]; ok {
				return graphtest.Answer(200, `{"value":[`+body+`]}`), nil
			}
			if r.URL.Path == "/v1.0/$batch" {
				return graphtest.Answer(200, batchOf(t, r, pages)), nil
			}
			return graphtest.Answer(404, `{"error":{"code":"Request_ResourceNotFound","message":"no"}}`), nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	return entraid.Tenant{ID: "t", Graph: c, Now: func() time.Time { return time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC) }}
}

func of(kind, id string) string { return strings.Replace(kind, "%", id, 1) }

func readOnce(t *testing.T, d entraid.Directory) (*connector.DirectoryFacts, error) {
	t.Helper()
	for p, err := range d.Pages(t.Context(), "") {
		return p.Directory, err
	}
	t.Fatal("it read nothing")
	return nil, nil
}

// batchOf answers a batch of GETs of single users.
func batchOf(t *testing.T, r *http.Request, pages map[string]string) string {
	t.Helper()
	var in struct {
		Requests []struct{ ID, URL string } `json:"requests"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		t.Error(err)
	}
	var out []string
	for _, q := range in.Requests {
		path, _, _ := strings.Cut(q.URL, "?")
		if body, ok := pages["/v1.0/"+strings.TrimPrefix(path, "/")]; ok {
			out = append(out, `{"id":"`+q.ID+`","status":200,"body":`+body+`}`)
		} else {
			out = append(out, `{"id":"`+q.ID+`","status":404,"body":{"error":{"code":"Request_ResourceNotFound","message":"no"}}}`)
		}
	}
	return `{"responses":[` + strings.Join(out, ",") + `]}`
}

const (
	definitions = "/v1.0/roleManagement/directory/roleDefinitions"
	active      = "/v1.0/roleManagement/directory/roleAssignments"
	eligible    = "/v1.0/roleManagement/directory/roleEligibilityScheduleInstances"
)

func holds(who, role, scope, principal string) string {
	return `{"principalId":"` + who + `","roleDefinitionId":"` + role + `","directoryScopeId":"` + scope + `","principal":` + principal + `}`
}

// A role is held through groups too, active or eligible, however the group came
// to it; a custom role is one, and so is one of a unit.
func TestDirectoryReadsEveryRole(t *testing.T) {
	t.Parallel()
	ga := identity.GlobalAdministrator
	tenant := answers(t, map[string]string{
		definitions: `{"id":"` + ga + `","templateId":"` + ga + `","displayName":"Global Administrator"},{"id":"own","templateId":"own","displayName":"Unit help"},{"id":"D3","templateId":"t3","displayName":"User Administrator"}`,
		active: strings.Join([]string{
			holds("Ada", ga, "/", of(person, "Ada")), holds("old", ga, "/", of(gone, "old")), holds("g1", ga, "/", of(group, "g1")), holds("sp", ga, "/", of(app, "sp")),
			holds("quiet", ga, "/", `{"@odata.type":"#microsoft.graph.user","id":"quiet"}`), holds("hidden", ga, "/", "null"),
			holds("ada", "own", "/administrativeUnits/u1", of(person, "ada")), holds("unit", ga, "/administrativeUnits/u1", of(person, "unit")),
		}, ","),
		"/v1.0/groups/g1/transitiveMembers": of(person, "nested") + "," + of(group, "g2") + "," + of(gone, "asleep"),
		"/v1.0/groups/g3/transitiveMembers": of(person, "maybe"),
		"/v1.0/groups/gp/transitiveMembers": of(person, "guarded"),
		eligible:                            holds("bob", "d3", "/", of(person, "bob")) + "," + holds("g3", "gone", "/", of(group, "g3")),
		"/v1.0/users/quiet":                 of(person, "quiet"),
		"/v1.0/users/hidden":                of(gone, "hidden"),
		"/v1.0/users/Board@corp.example":    of(person, "b0a2d"),
	})
	facts, err := readOnce(t, entraid.Directory{
		Tenant: tenant, Connected: []identity.Provider{identity.EntraID},
		Protected: func() ([]string, []string) {
			return []string{"gp"}, []string{"Board@corp.example", "nobody@corp.example"}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	global := identity.Role{TemplateID: ga, Name: "Global Administrator", Active: true}
	want := map[string][]identity.Role{
		"ada": {global, {TemplateID: "own", Name: "Unit help", Active: true, Scope: "/administrativeUnits/u1"}},
		"old": {global}, "sp": {global}, "quiet": {global}, "hidden": {global}, "nested": {global}, "asleep": {global},
		"unit": {{TemplateID: ga, Name: "Global Administrator", Active: true, Scope: "/administrativeUnits/u1"}},
		"bob":  {{TemplateID: "t3", Name: "User Administrator"}}, "maybe": {{TemplateID: "gone"}},
	}
	if d := cmp.Diff(want, facts.Holders); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Ada", "nested", "quiet"}, facts.UsableGlobalAdmins); d != "" {
		t.Errorf("usable global administrators: %s", d)
	}
	if d := cmp.Diff(map[string][]string{"gp": {"guarded"}}, facts.GroupMembers); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"board@corp.example": "b0a2d", "nobody@corp.example": ""}, facts.Named); d != "" {
		t.Error(d)
	}
}

// A protected name protects the account that has it now, by whatever name Cordon knows
// that account; who has no such name is known not to.
func TestProtectedNamesAreResolved(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 3, 2, 0, 0, 0, time.UTC)
	d := connector.DirectoryFacts{AsOf: at, Named: map[string]string{"board@corp.example": "b0a2d"}}
	policy := identity.Policy{List: []identity.Protected{{Match: "Board@corp.example", Reason: "the board's"}}}
	protection := func(id, upn string) identity.Protection {
		f, known := d.Of(id)
		if !known {
			t.Fatal("nothing is known")
		}
		no := false
		f.AsOf, f.Synced = at, &no
		i := identity.Identity{Kind: identity.KindPerson, Accounts: []identity.Account{{Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: id, UPN: upn}, Facts: f}}}
		return policy.Protect(i, 2, at, at)
	}
	if p := protection("B0A2D", "renamed@corp.example"); !p.Protected() || p.Unknown {
		t.Errorf("the account that has the name: %+v", p)
	}
	if p := protection("other", ""); p.Protected() {
		t.Errorf("another, whose name nobody has read: %+v", p)
	}
}

// Half a reading is none: somebody who is missing from it would count as holding
// no role.
func TestDirectoryIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	sound := map[string]string{
		definitions: `{"id":"r1","templateId":"t1","displayName":"One"}`,
		active:      holds("ada", "r1", "/", of(person, "ada")),
		eligible:    "",
	}
	if f, err := readOnce(t, entraid.Directory{Tenant: answers(t, sound)}); err != nil || len(f.Holders) != 1 {
		t.Fatalf("%v, %v", f, err)
	}
	for path := range sound {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			pages := map[string]string{}
			for p, body := range sound {
				if p != path {
					pages[p] = body
				}
			}
			if f, err := readOnce(t, entraid.Directory{Tenant: answers(t, pages)}); !errors.Is(err, fault.NotFound) || f != nil {
				t.Errorf("%v, %v", f, err)
			}
		})
	}
	nowhere := func() ([]string, []string) { return []string{"nowhere"}, nil }
	if _, err := readOnce(t, entraid.Directory{Tenant: answers(t, sound), Protected: nowhere}); err == nil {
		t.Error("a protected group that does not exist is no error")
	}
}

// How the tenant is synchronised is read with the directory where a domain is connected,
// and what may not be read keeps nothing else from being known.
func TestSynchronisationIsReadWithTheDirectory(t *testing.T) {
	t.Parallel()
	yes := true
	pages := map[string]string{"/v1.0/roleManagement/directory/roleDefinitions": "", "/v1.0/roleManagement/directory/roleAssignments": "",
		"/v1.0/roleManagement/directory/roleEligibilityScheduleInstances": ""}
	d := entraid.Directory{Tenant: answers(t, pages), Connected: []identity.Provider{identity.EntraID, identity.ActiveDirectory}, ResetClearsRisk: &yes}
	got, err := readOnce(t, d)
	if err != nil || got.Synchronisation == nil || got.Synchronisation.PasswordHashes != nil || got.Synchronisation.Unread == "" || got.Synchronisation.ResetClearsRisk != &yes {
		t.Errorf("not shown: %+v, %v", got.Synchronisation, err)
	}
	pages["/v1.0/directory/onPremisesSynchronization"] = `{"id":"t","features":{"passwordSyncEnabled":true,"passwordWritebackEnabled":false}}`
	got, err = readOnce(t, d)
	if err != nil || got.Synchronisation.Unread != "" || !*got.Synchronisation.PasswordHashes || *got.Synchronisation.WriteBack {
		t.Errorf("read: %+v, %v", got.Synchronisation, err)
	}
	d.Connected = d.Connected[:1]
	if got, err = readOnce(t, d); err != nil || got.Synchronisation != nil {
		t.Errorf("without a domain: %+v, %v", got.Synchronisation, err)
	}
}
