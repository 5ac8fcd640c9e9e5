package world

import (
	"slices"
	"strings"
)

// A roleDefinition is one of Entra's built-in roles; its template id is the
// same in every tenant.
type roleDefinition struct {
	template, name string
}

// The built-in roles that the tenant knows. Ids and names are Microsoft's
// published ones.
var builtInRoles = []roleDefinition{
	{"62e90394-69f5-4237-9190-012177145e10", "Global Administrator"},
	{"e8611ab8-c189-46e8-94e1-60213ab1f814", "Privileged Role Administrator"},
	{"7be44c8a-adaf-4e2a-84d6-ab2649e08a13", "Privileged Authentication Administrator"},
	{"fe930be7-5e62-47db-91af-98c3a49a38b1", "User Administrator"},
	{"c4e39bd9-1100-46d3-8c65-fb160da0071f", "Authentication Administrator"},
	{"729827e3-9c14-49f7-bb1b-9608f156bbb8", "Helpdesk Administrator"},
	{"966707d0-3269-4727-9be2-8c3a10f19b9d", "Password Administrator"},
	{"194ae4cb-b126-40b2-bd5b-6091b380977d", "Security Administrator"},
	{"5f2222b1-57c3-48ba-8ad5-d4759f1fde6f", "Security Operator"},
	{"5d6b6bb7-de71-4623-b4af-96380a352509", "Security Reader"},
	{"f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Global Reader"},
	{"9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "Application Administrator"},
	{"158c047a-c907-4556-b7ef-446551a6b5f7", "Cloud Application Administrator"},
	{"b1be1c3e-b65d-4f19-8427-f6fa0d97feb9", "Conditional Access Administrator"},
	{"8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2", "Hybrid Identity Administrator"},
	{"29232cdf-9323-42fd-ade2-1d097af3e4de", "Exchange Administrator"},
	{"f28a1f50-f6e7-4571-818b-6a12f2af6b6c", "SharePoint Administrator"},
	{"7698a772-787b-4ac8-901f-60d6b08affd2", "Cloud Device Administrator"},
	{"fdd7a751-b60b-444a-984c-02652fe8fa1c", "Groups Administrator"},
	{"9360feb5-f418-4baa-8175-e2a00bac4301", "Directory Writers"},
	{"88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "Directory Readers"},
	{"95e79109-95c0-4d8e-aee3-d01accf2d47b", "Guest Inviter"},
	{"790c1fb9-7f7d-4f88-86a1-ef1f95c05c1b", "Message Center Reader"},
	{"4a5d8f65-41da-4de4-8968-e035b65339cf", "Reports Reader"},
	{"75934031-6c7e-415a-99d7-48dbd49e875e", "Usage Summary Reports Reader"},
	{"d29b2b05-8046-44ba-8758-1e26182fcf32", "Directory Synchronization Accounts"},
}

func roleByName(nameOrTemplate string) (roleDefinition, bool) {
	for _, r := range builtInRoles {
		if strings.EqualFold(r.name, nameOrTemplate) || strings.EqualFold(r.template, nameOrTemplate) {
			return r, true
		}
	}
	return roleDefinition{}, false
}

// Which of the six roles that may reset passwords may do so for a person
// holding a given role, after Microsoft's table "Who can perform sensitive
// actions". Roles that are not in it can be changed by the two strongest only.
var (
	strongest = []string{"Privileged Authentication Administrator", "Global Administrator"}
	changedBy = map[string][]string{
		"Directory Readers":            {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Guest Inviter":                {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Password Administrator":       {"Password Administrator", "Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Message Center Reader":        {"Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Reports Reader":               {"Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Usage Summary Reports Reader": {"Helpdesk Administrator", "Authentication Administrator", "User Administrator"},
		"Authentication Administrator": {"Authentication Administrator"},
		"Helpdesk Administrator":       {"Helpdesk Administrator", "User Administrator"},
		"Groups Administrator":         {"User Administrator"},
		"User Administrator":           {"User Administrator"},
	}
)

// grant is one assignment of a role.
type grant struct {
	id, role, principal string // role is a template id
	eligible            bool
}

// roles holds the assignments.
type roles struct {
	grants      []grant
	byPrincipal map[string][]int
}

// active returns the names of the roles a principal holds now, directly or
// through a role-assignable group; eligible ones do not count.
func (w *World) activeRoles(principal string) []string { return w.roleNames(principal, false) }

func (w *World) roleNames(principal string, eligible bool) []string {
	var names []string
	collect := func(id string) {
		for _, i := range w.roles.byPrincipal[id] {
			if g := w.roles.grants[i]; g.id != "" && g.eligible == eligible {
				r, _ := roleByName(g.role)
				if !slices.Contains(names, r.name) {
					names = append(names, r.name)
				}
			}
		}
	}
	collect(principal)
	if u, ok := w.people.user(principal); ok {
		for _, pos := range u.groups {
			if g := w.groups.list[pos]; g.assignable {
				collect(g.id)
			}
		}
	}
	return names
}

// MayChange is Entra's rule on sensitive changes. A person without an active
// directory role may be changed by every app that has the permission. For the
// others the caller's own service principal (or, for a person, that person)
// must actively hold a role that may change each role the target holds;
// members and owners of role-assignable groups count as privileged. The error
// is Graph's 403, or 404 when there is no such person.
func (w *World) MayChange(a Actor, userID string, s Sensitive) error {
	w.rlock()
	defer w.mu.RUnlock()
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return errNotFound(userID)
	}
	return w.mayChange(a, u, s)
}

// mayChange does not look at s yet: Microsoft has one table for all sensitive
// actions. The parameter keeps the callers honest about what they change.
func (w *World) mayChange(a Actor, u *person, _ Sensitive) error {
	if a == (Actor{}) {
		return nil // the service itself
	}
	target := w.activeRoles(u.id)
	guarded := w.inAssignableGroup(u)
	if len(target) == 0 && !guarded {
		if a.UserID == "" {
			return nil
		}
	}
	caller := w.activeRoles(a.by())
	if slices.ContainsFunc(caller, func(r string) bool { return slices.Contains(strongest, r) }) {
		return nil
	}
	if guarded {
		return errDenied()
	}
	if len(target) == 0 {
		// A person who changes a role-less person needs any of the six roles.
		target = []string{"Directory Readers"}
	}
	for _, held := range target {
		if !slices.ContainsFunc(caller, func(r string) bool { return slices.Contains(changedBy[held], r) }) {
			return errDenied()
		}
	}
	return nil
}

func (w *World) inAssignableGroup(u *person) bool {
	for _, pos := range u.groups {
		if w.groups.list[pos].assignable {
			return true
		}
	}
	return slices.ContainsFunc(w.groups.assignable, func(pos int) bool {
		return slices.Contains(w.groups.list[pos].owners, u.id)
	})
}

// grantRole adds an assignment and everything that shows it.
func (w *World) grantRole(principal, template string, eligible bool, isGroup bool) {
	g := grant{w.newID(), template, principal, eligible}
	if w.roles.byPrincipal == nil {
		w.roles.byPrincipal = map[string][]int{}
	}
	w.roles.byPrincipal[principal] = append(w.roles.byPrincipal[principal], len(w.roles.grants))
	w.roles.grants = append(w.roles.grants, g)
	base := func() Object {
		return Object{"id": g.id, "principalId": principal, "roleDefinitionId": template, "directoryScopeId": "/", "appScopeId": nil}
	}
	instance := func(id, principal, member string) Object {
		o := base()
		o["id"], o["principalId"], o["memberType"] = id, principal, member
		o["startDateTime"], o["endDateTime"] = nil, nil
		return o
	}
	if eligible {
		o := instance(g.id+"-1", principal, "Direct")
		o["roleEligibilityScheduleId"] = g.id
		w.tables[RoleEligibilityInstances].(*table).add(g.id+"-1", o)
		return
	}
	w.tables[RoleAssignments].(*table).add(g.id, base())
	add := func(id, principal, member string) {
		o := instance(id, principal, member)
		o["assignmentType"] = "Assigned"
		o["roleAssignmentOriginId"], o["roleAssignmentScheduleId"] = g.id, g.id
		w.tables[RoleAssignmentInstances].(*table).add(id, o)
	}
	add(g.id+"-1", principal, "Direct")
	if isGroup {
		for i, m := range w.groups.byID[principal].members {
			add(g.id+"-"+hexDigits[i%16:i%16+1]+"-"+m[:8], m, "Group")
		}
	}
	w.activateRole(template)
}

// activateRole lists a role under directoryRoles, where only roles that were
// ever used appear.
func (w *World) activateRole(template string) {
	t := w.tables[DirectoryRoles].(*table)
	if _, ok := t.findBy("roleTemplateId", template); ok {
		return
	}
	r, _ := roleByName(template)
	id := w.newID()
	t.add(id, Object{"id": id, "deletedDateTime": nil, "displayName": r.name, "description": r.name + " (built in)", "roleTemplateId": template})
}

// revokeGrant takes an active assignment away.
func (w *World) revokeGrant(id string) {
	for i := range w.roles.grants {
		g := &w.roles.grants[i]
		if g.id != id {
			continue
		}
		w.tables[RoleAssignments].(*table).remove(id)
		w.tables[RoleEligibilityInstances].(*table).remove(id + "-1")
		instances := w.tables[RoleAssignmentInstances].(*table)
		for _, r := range slices.Clone(instances.list) {
			if r != nil && strings.HasPrefix(r.id, id+"-") {
				instances.remove(r.id)
			}
		}
		g.id = ""
		return
	}
}

// roleMembers lists the principals that hold a role, active and direct.
func (w *World) roleMembers(template string) []string {
	var ids []string
	for _, g := range w.roles.grants {
		if g.id != "" && !g.eligible && g.role == template {
			ids = append(ids, g.principal)
		}
	}
	return ids
}
