package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Directory reads who holds directory roles, active and eligible, built-in and
// custom, of the whole tenant and of a unit; who is in the protected groups; and whose
// the protected user principal names are. One reading is one page; nothing is known by
// halves.
type Directory struct {
	Tenant
	// Protected returns what the protected list names besides single ids: groups by
	// object id, and user principal names. It is asked at each reading; nil: nothing.
	Protected func() (groups, names []string)
	Connected []identity.Provider
	// ResetClearsRisk is what the configuration says of a setting that Graph does not
	// show; nil: nothing.
	ResetClearsRisk *bool
}

var (
	_ connector.Source    = Directory{}
	_ connector.Permitted = Directory{}
)

// Name is connector.Source's.
func (Directory) Name() connector.Name { return "entraid.directory" }

// Permissions is connector.Permitted's. Graph: rbacapplication-list-roleassignments,
// rbacapplication-list-roleeligibilityscheduleinstances (which takes
// RoleManagement.Read.Directory too), group-list-members; User.Read.All shows
// which holders are enabled, and whose a name is.
func (Directory) Permissions() []string {
	return []string{"RoleManagement.Read.Directory", "GroupMember.Read.All", "User.Read.All"}
}

// patient lets a reading of many requests wait when it is told how long: begun
// again from the start it would be refused again.
var patient = graph.Paging{Wait: time.Minute}

type member struct {
	Type           string `json:"@odata.type"`
	ID             string `json:"id"`
	AccountEnabled *bool  `json:"accountEnabled"`
}

func (m member) is(kind string) bool {
	return strings.EqualFold(strings.TrimPrefix(m.Type, "#"), "microsoft.graph."+kind)
}

// An assignment is Graph's unifiedRoleAssignment, or its
// unifiedRoleEligibilityScheduleInstance.
type assignment struct {
	PrincipalID      string  `json:"principalId"`
	RoleDefinitionID string  `json:"roleDefinitionId"`
	DirectoryScopeID string  `json:"directoryScopeId"` // "/" for the whole tenant
	AppScopeID       string  `json:"appScopeId"`
	Principal        *member `json:"principal"`
}

// definition is Graph's unifiedRoleDefinition. A custom role is its own template.
type definition struct {
	ID          string `json:"id"`
	TemplateID  string `json:"templateId"`
	DisplayName string `json:"displayName"`
}

// role is what the assignment gives; a role that is not defined any more keeps its
// id.
func (a assignment) role(defined map[string]definition, active bool) identity.Role {
	d := defined[strings.ToLower(a.RoleDefinitionID)]
	r := identity.Role{TemplateID: cmp.Or(d.TemplateID, a.RoleDefinitionID), Name: d.DisplayName, Active: active}
	if r.Scope = cmp.Or(a.DirectoryScopeID, a.AppScopeID); r.Scope == "/" {
		r.Scope = ""
	}
	return r
}

// Pages is connector.Source's: it always yields one page, the whole reading.
func (d Directory) Pages(ctx context.Context, _ connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		facts, err := d.read(ctx)
		if err != nil {
			yield(connector.Page{}, fmt.Errorf("read directory roles: %w", err))
			return
		}
		yield(connector.Page{Directory: &facts, Next: connector.Cursor(facts.AsOf.UTC().Format(time.RFC3339))}, nil)
	}
}

func (d Directory) read(ctx context.Context) (connector.DirectoryFacts, error) {
	facts := connector.DirectoryFacts{AsOf: d.Now(), Holders: map[string][]identity.Role{}, Connected: d.Connected}
	defined := map[string]definition{}
	r := graph.Request{Path: "/roleManagement/directory/roleDefinitions", Priority: graph.Low}
	for o, err := range graph.Objects[definition](ctx, d.Graph, r, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return facts, err
		}
		defined[strings.ToLower(o.Value.ID)] = o.Value
	}
	admins := map[string]*bool{} // who is Global Administrator now, and whether the account is enabled
	for _, of := range []struct {
		path   string
		active bool
	}{{"/roleManagement/directory/roleAssignments", true}, {"/roleManagement/directory/roleEligibilityScheduleInstances", false}} {
		err := d.assignments(ctx, of.path, func(a assignment, m member) {
			role := a.role(defined, of.active)
			facts.Hold(m.ID, role)
			if of.active && role.Scope == "" && strings.EqualFold(role.TemplateID, identity.GlobalAdministrator) && (m.Type == "" || m.is("user")) {
				if admins[m.ID] == nil {
					admins[m.ID] = m.AccountEnabled
				}
			}
		})
		if err != nil {
			return facts, err
		}
	}
	var err error
	var groups, names []string
	if d.Protected != nil {
		groups, names = d.Protected()
	}
	if facts.UsableGlobalAdmins, err = d.enabled(ctx, admins); err != nil {
		return facts, err
	}
	if facts.GroupMembers, err = d.groups(ctx, groups); err != nil {
		return facts, err
	}
	if slices.Contains(d.Connected, identity.ActiveDirectory) {
		s := Synchronisation(ctx, d.Graph, d.Now())
		s.ResetClearsRisk = d.ResetClearsRisk
		facts.Synchronisation = &s
	}
	facts.Named, err = d.named(ctx, names)
	return facts, err
}

// SyncPermission is optional: without it the settings of the synchronisation are not
// known.
const SyncPermission = "OnPremDirectorySynchronization.Read.All"

// Synchronisation reads how the tenant is synchronised. What cannot be read is not
// known, with the reason in words; it is never an error. Graph v1.0:
// onPremisesDirectorySynchronization, which has no property for "allow on-premises
// password change to reset user risk".
func Synchronisation(ctx context.Context, client *graph.Client, now time.Time) identity.Synchronisation {
	out := identity.Synchronisation{AsOf: now, Unread: "Graph shows no synchronisation"}
	type settings struct {
		Features struct {
			PasswordSync      *bool `json:"passwordSyncEnabled"`
			PasswordWriteback *bool `json:"passwordWritebackEnabled"`
		} `json:"features"`
	}
	r := graph.Request{Path: "/directory/onPremisesSynchronization", Priority: graph.Low}
	for o, err := range graph.Objects[settings](ctx, client, r, graph.Paging{}) {
		switch err = errors.Join(err, o.Err); {
		case errors.Is(err, fault.Denied):
			out.Unread = "Cordon may not ask: grant " + SyncPermission
			return out
		case err != nil:
			out.Unread = err.Error()
			return out
		}
		out.PasswordHashes, out.WriteBack, out.Unread = o.Value.Features.PasswordSync, o.Value.Features.PasswordWriteback, ""
	}
	return out
}

// assignments gives every account that holds a role at path, with how. A group
// stands for its members, however deep; a principal of a type that is not shown is
// taken for an account.
func (d Directory) assignments(ctx context.Context, path string, hold func(assignment, member)) error {
	// One property at a time: not every cloud expands two.
	q := graph.Request{Path: path, Query: url.Values{"$expand": {"principal"}}, Priority: graph.Low}
	groups := map[string][]member{} // one group often holds several roles
	for o, err := range graph.Objects[assignment](ctx, d.Graph, q, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return err
		}
		a := o.Value
		if a.PrincipalID == "" {
			return fault.Errorf(fault.Unavailable, "%s lists an assignment to nobody", path)
		}
		holders := []member{{ID: a.PrincipalID}}
		if a.Principal != nil {
			a.Principal.ID = a.PrincipalID
			holders[0] = *a.Principal
		}
		if holders[0].is("group") {
			if groups[a.PrincipalID] == nil {
				if groups[a.PrincipalID], err = d.members(ctx, graph.Path("groups", a.PrincipalID, "transitiveMembers")); err != nil {
					return err
				}
			}
			holders = groups[a.PrincipalID]
		}
		for _, m := range holders {
			hold(a, m)
		}
	}
	return nil
}

// enabled returns which of the accounts are enabled, sorted; those of which it is not
// known yet are asked for.
func (d Directory) enabled(ctx context.Context, accounts map[string]*bool) ([]string, error) {
	var out, ask []string
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		switch on := accounts[id]; {
		case on == nil:
			ask = append(ask, id)
		case *on:
			out = append(out, id)
		}
	}
	found, err := d.users(ctx, ask)
	for n, u := range found {
		if u.AccountEnabled != nil && *u.AccountEnabled {
			out = append(out, ask[n])
		}
	}
	slices.Sort(out)
	return out, err
}

// named says whose the protected names are: an object id, or "" for nobody's.
func (d Directory) named(ctx context.Context, names []string) (map[string]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	found, err := d.users(ctx, names)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for n, u := range found {
		out[strings.ToLower(names[n])] = u.ID
	}
	return out, nil
}

// users reads users by object id or user principal name, twenty in one request. A
// user that does not exist is empty.
func (d Directory) users(ctx context.Context, keys []string) ([]member, error) {
	var out []member
	for some := range slices.Chunk(keys, graph.MaxBatch) {
		parts := make([]graph.Part, len(some))
		for n, k := range some {
			parts[n] = graph.Part{Request: graph.Request{Path: graph.Path("users", k), Query: url.Values{"$select": {"id,accountEnabled"}}}}
		}
		res, err := d.Graph.Batch(ctx, parts)
		if err != nil {
			return nil, fmt.Errorf("read %d users: %w", len(some), err)
		}
		for n, p := range res.Parts {
			var m member
			switch {
			case errors.Is(p.Err, fault.NotFound):
			case p.Err != nil:
				return nil, fmt.Errorf("read user %s: %w", some[n], p.Err)
			case json.Unmarshal(p.Response.Body, &m) != nil || m.ID == "":
				return nil, fault.Errorf(fault.Unavailable, "read user %s: Graph answered something else", some[n])
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// groups reads the members of the protected groups.
func (d Directory) groups(ctx context.Context, ids []string) (map[string][]string, error) {
	var out map[string][]string
	for _, g := range ids {
		members, err := d.members(ctx, graph.Path("groups", g, "transitiveMembers"))
		if errors.Is(err, fault.NotFound) {
			return nil, fmt.Errorf("the protected list names the group %s, which does not exist: %w", g, err)
		}
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[g] = []string{} // read, and perhaps empty
		for _, m := range members {
			out[g] = append(out[g], m.ID)
		}
	}
	return out, nil
}

// members lists who is in a group, at its transitiveMembers: the groups in it are
// left out, because their members are listed.
func (d Directory) members(ctx context.Context, path string) ([]member, error) {
	out := []member{}
	for o, err := range graph.Objects[member](ctx, d.Graph, graph.Request{Path: path, Query: url.Values{"$select": {"id,accountEnabled"}}, Priority: graph.Low}, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return nil, err
		}
		if o.Value.ID == "" {
			return nil, fault.Errorf(fault.Unavailable, "%s lists a member without an id", path)
		}
		if !o.Value.is("group") {
			out = append(out, o.Value)
		}
	}
	return out, nil
}
