package entraid_test

import (
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

// A role is held through groups too, active or eligible, however the group came
// to it.
func TestDirectorySeesThroughGroups(t *testing.T) {
	t.Parallel()
	const root = "/v1.0/directoryRoles"
	tenant := answers(t, map[string]string{
		root:                                `{"id":"r1","roleTemplateId":"` + identity.GlobalAdministrator + `","displayName":"Global Administrator"},{"id":"r2","roleTemplateId":"t2","displayName":"Helpdesk Administrator"}`,
		root + "/r1/members":                of(person, "Ada") + "," + of(gone, "old") + "," + of(group, "g1") + "," + of(app, "sp"),
		root + "/r2/members":                of(person, "ada"),
		"/v1.0/groups/g1/transitiveMembers": of(person, "nested") + "," + of(group, "g2") + "," + of(person, "deep"),
		"/v1.0/groups/g3/transitiveMembers": of(person, "maybe"),
		"/v1.0/groups/gp/transitiveMembers": of(person, "guarded"),
		"/v1.0/roleManagement/directory/roleEligibilityScheduleInstances": `{"principalId":"bob","roleDefinitionId":"d1","principal":` + of(person, "bob") + `,"roleDefinition":{"displayName":"User Administrator","templateId":"t3"}},
			{"principalId":"g3","roleDefinitionId":"t4","principal":` + of(group, "g3") + `},{"principalId":"hidden","roleDefinitionId":"t4"}`,
	})
	facts, err := readOnce(t, entraid.Directory{Tenant: tenant, ProtectedGroups: []string{"gp"}, Connected: []identity.Provider{identity.EntraID}})
	if err != nil {
		t.Fatal(err)
	}
	global := identity.Role{TemplateID: identity.GlobalAdministrator, Name: "Global Administrator", Active: true}
	want := map[string][]identity.Role{
		"ada": {global, {TemplateID: "t2", Name: "Helpdesk Administrator", Active: true}}, "old": {global}, "sp": {global}, "nested": {global}, "deep": {global},
		"bob": {{TemplateID: "t3", Name: "User Administrator"}}, "maybe": {{TemplateID: "t4"}}, "hidden": {{TemplateID: "t4"}},
	}
	if d := cmp.Diff(want, facts.Holders); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"Ada", "nested", "deep"}, facts.UsableGlobalAdmins); d != "" {
		t.Errorf("usable global administrators: %s", d)
	}
	if d := cmp.Diff(map[string][]string{"gp": {"guarded"}}, facts.GroupMembers); d != "" {
		t.Error(d)
	}
}

// Half a reading is none: somebody who is missing from it would count as holding
// no role.
func TestDirectoryIsReadWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	sound := map[string]string{
		"/v1.0/directoryRoles":                                            `{"id":"r1","roleTemplateId":"t1","displayName":"One"}`,
		"/v1.0/directoryRoles/r1/members":                                 of(person, "ada"),
		"/v1.0/roleManagement/directory/roleEligibilityScheduleInstances": "",
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
	if _, err := readOnce(t, entraid.Directory{Tenant: answers(t, sound), ProtectedGroups: []string{"nowhere"}}); err == nil {
		t.Error("a protected group that does not exist is no error")
	}
}
