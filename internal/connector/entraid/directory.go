package entraid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Directory reads who holds directory roles, active and eligible, and who is in
// the protected groups. One reading is one page; nothing is known by halves.
type Directory struct {
	Tenant
	ProtectedGroups []string // object ids
	Connected       []identity.Provider
}

var (
	_ connector.Source    = Directory{}
	_ connector.Permitted = Directory{}
)

// Name is connector.Source's.
func (Directory) Name() connector.Name { return "entraid.directory" }

// Permissions is connector.Permitted's. Graph: directoryRole-list,
// rbacapplication-list-roleeligibilityscheduleinstances (which takes
// RoleManagement.Read.Directory too), group-list-members; User.Read.All shows
// which members are enabled.
func (Directory) Permissions() []string {
	return []string{"RoleManagement.Read.Directory", "GroupMember.Read.All", "User.Read.All"}
}

// patient lets a reading of many requests wait when it is told how long: begun
// again from the start it would be refused again.
var patient = graph.Paging{Wait: time.Minute}

type directoryRole struct {
	ID             string `json:"id"`
	RoleTemplateID string `json:"roleTemplateId"`
	DisplayName    string `json:"displayName"`
}

type member struct {
	Type           string `json:"@odata.type"`
	ID             string `json:"id"`
	AccountEnabled *bool  `json:"accountEnabled"`
}

func (m member) isGroup() bool { return strings.HasSuffix(strings.ToLower(m.Type), "group") }

// eligibility is Graph's unifiedRoleEligibilityScheduleInstance, expanded.
type eligibility struct {
	PrincipalID      string  `json:"principalId"`
	RoleDefinitionID string  `json:"roleDefinitionId"`
	Principal        *member `json:"principal"`
	RoleDefinition   *struct {
		DisplayName string `json:"displayName"`
		TemplateID  string `json:"templateId"`
	} `json:"roleDefinition"`
}

func (e eligibility) role() identity.Role {
	r := identity.Role{TemplateID: e.RoleDefinitionID}
	if d := e.RoleDefinition; d != nil {
		r.TemplateID, r.Name = cmp.Or(d.TemplateID, r.TemplateID), d.DisplayName
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
	var roles []directoryRole
	for o, err := range graph.Objects[directoryRole](ctx, d.Graph, graph.Request{Path: "/directoryRoles", Priority: graph.Low}, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return facts, err
		}
		roles = append(roles, o.Value)
	}
	for _, r := range roles {
		members, err := d.members(ctx, graph.Path("directoryRoles", r.ID, "members"))
		if err != nil {
			return facts, err
		}
		for _, m := range members {
			facts.Hold(m.ID, identity.Role{TemplateID: r.RoleTemplateID, Name: r.DisplayName, Active: true})
			if r.RoleTemplateID == identity.GlobalAdministrator && m.AccountEnabled != nil && *m.AccountEnabled && !slices.Contains(facts.UsableGlobalAdmins, m.ID) {
				facts.UsableGlobalAdmins = append(facts.UsableGlobalAdmins, m.ID)
			}
		}
	}
	if err := d.eligible(ctx, &facts); err != nil {
		return facts, err
	}
	for _, g := range d.ProtectedGroups {
		members, err := d.members(ctx, graph.Path("groups", g, "transitiveMembers"))
		if errors.Is(err, fault.NotFound) {
			return facts, fmt.Errorf("the protected list names the group %s, which does not exist: %w", g, err)
		}
		if err != nil {
			return facts, err
		}
		if facts.GroupMembers == nil {
			facts.GroupMembers = map[string][]string{}
		}
		facts.GroupMembers[g] = []string{} // read, and perhaps empty
		for _, m := range members {
			facts.GroupMembers[g] = append(facts.GroupMembers[g], m.ID)
		}
	}
	return facts, nil
}

// eligible notes who may activate a role. A group that may stands for its
// members; a principal of a type that is not shown is taken for an account.
func (d Directory) eligible(ctx context.Context, facts *connector.DirectoryFacts) error {
	q := graph.Request{Path: "/roleManagement/directory/roleEligibilityScheduleInstances", Query: url.Values{"$expand": {"principal,roleDefinition"}}, Priority: graph.Low}
	for o, err := range graph.Objects[eligibility](ctx, d.Graph, q, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return err
		}
		if o.Value.PrincipalID == "" {
			return fault.Errorf(fault.Unavailable, "%s lists an assignment to nobody", q.Path)
		}
		holders := []member{{ID: o.Value.PrincipalID}}
		if p := o.Value.Principal; p != nil && p.isGroup() {
			if holders, err = d.members(ctx, graph.Path("groups", o.Value.PrincipalID, "transitiveMembers")); err != nil {
				return err
			}
		}
		for _, m := range holders {
			facts.Hold(m.ID, o.Value.role())
		}
	}
	return nil
}

// members lists the members at path; a group among them stands for its own
// members, however deep, because it gives its role to all of them.
func (d Directory) members(ctx context.Context, path string) ([]member, error) {
	var out []member
	for o, err := range graph.Objects[member](ctx, d.Graph, graph.Request{Path: path, Query: url.Values{"$select": {"id,accountEnabled"}}, Priority: graph.Low}, patient) {
		if err = errors.Join(err, o.Err); err != nil {
			return nil, err
		}
		if o.Value.ID == "" {
			return nil, fault.Errorf(fault.Unavailable, "%s lists a member without an id", path)
		}
		if !o.Value.isGroup() {
			out = append(out, o.Value)
			continue
		}
		if strings.HasSuffix(path, "transitiveMembers") {
			continue // its members are listed already
		}
		inner, err := d.members(ctx, graph.Path("groups", o.Value.ID, "transitiveMembers"))
		if err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}
