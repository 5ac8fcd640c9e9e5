package world

import (
	"maps"
	"slices"
	"strings"
)

// Create adds a conditional access policy or a named location and returns it.
func (w *World) Create(a Actor, c Collection, o Object) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ch := &change{w: w, at: now, actor: a}
	if c != ConditionalAccessPolicies && c != NamedLocations {
		return nil, nil, refuse(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	if name, ok := o["displayName"].(string); !ok || name == "" {
		return nil, nil, errBad("A value is required for property 'displayName'.")
	}
	if c == ConditionalAccessPolicies {
		if err := checkPolicyState(o); err != nil {
			return nil, nil, err
		}
		if _, ok := o["conditions"].(map[string]any); !ok {
			return nil, nil, errBad("A value is required for property 'conditions'.")
		}
	} else if t, _ := o["@odata.type"].(string); t != "#microsoft.graph.ipNamedLocation" && t != "#microsoft.graph.countryNamedLocation" {
		return nil, nil, errBad("A value is required for property '@odata.type'.")
	}
	row := maps.Clone(o)
	id := w.newID()
	row["id"], row["createdDateTime"], row["modifiedDateTime"] = id, stamp(now), nil
	r := w.tables[c].(*table).add(id, row)
	ch.did(string(c)+"/"+id, "displayName", nil, o["displayName"])
	ch.audit("Policy", "Add "+policyNoun(c), "Add", Object{"id": id, "displayName": o["displayName"], "userPrincipalName": nil, "type": "Policy"}, nil)
	return r, ch.effects, nil
}

func checkPolicyState(o Object) error {
	if !slices.Contains([]any{"enabled", "disabled", "enabledForReportingButNotEnforced"}, o["state"]) {
		return errBad("Invalid value specified for property 'state' of resource 'ConditionalAccessPolicy'.")
	}
	return nil
}

func policyNoun(c Collection) string {
	if c == NamedLocations {
		return "named location"
	}
	return "conditional access policy"
}

func (c *change) patchPolicy(col Collection, id string, patch Object) error {
	r, ok := c.w.tables[col].(*table).get(strings.ToLower(id))
	if !ok {
		return errNotFound(id)
	}
	set := Object{}
	for name, v := range patch {
		if _, known := r.obj[name]; !known || name == "id" {
			return errBad("Property '%s' cannot be set.", name)
		}
		set[name] = v
	}
	if _, ok := set["state"]; ok {
		if err := checkPolicyState(set); err != nil {
			return err
		}
	}
	set["modifiedDateTime"] = stamp(c.at)
	c.put(col, r, set)
	c.audit("Policy", "Update "+policyNoun(col), "Update", Object{"id": r.id, "displayName": r.obj["displayName"], "userPrincipalName": nil, "type": "Policy"}, nil)
	return nil
}

// Delete removes a conditional access policy, named location, permission
// grant, role assignment or user.
func (w *World) Delete(a Actor, c Collection, id string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ch := &change{w: w, at: now, actor: a}
	switch c {
	case Users:
		u, ok := w.people.user(id)
		if !ok || u.deleted {
			return nil, errNotFound(id)
		}
		if err := w.mayChange(a, u, SetAccountEnabled); err != nil {
			return nil, err
		}
		ch.deleteUser(u)
		return ch.effects, nil
	case ConditionalAccessPolicies, NamedLocations, OAuth2PermissionGrants:
		t := w.tables[c].(*table)
		r, ok := t.find(id)
		if !ok {
			return nil, errNotFound(id)
		}
		t.remove(r.ID())
		name, _ := r.Value("displayName")
		ch.audit("Policy", "Delete "+string(c), "Delete", Object{"id": r.ID(), "displayName": name, "userPrincipalName": nil, "type": "Policy"}, nil)
	case RoleAssignments:
		if _, ok := w.tables[c].find(id); !ok {
			return nil, errNotFound(id)
		}
		w.revokeGrant(strings.ToLower(id))
		ch.audit("RoleManagement", "Remove member from role", "Unassign", Object{"id": id, "displayName": nil, "userPrincipalName": nil, "type": "Role"}, nil)
	default:
		return nil, refuse(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	ch.did(string(c)+"/"+id, "exists", true, false)
	return ch.effects, nil
}

// deleteUser removes a person from the directory. Their risk stays in the
// reports, marked isDeleted, and can no longer be changed.
func (c *change) deleteUser(u *person) {
	c.did("users/"+u.id, "exists", true, false)
	c.w.people.edit(u.id, func(u *person) { u.deleted = true })
	c.w.people.gone++
	for _, i := range c.w.roles.byPrincipal[u.id] {
		if g := c.w.roles.grants[i]; g.id != "" {
			c.w.revokeGrant(g.id)
		}
	}
	if r := c.w.risk.users[u.id]; r != nil {
		r.deleted = true
		c.showUser(r)
	}
	c.auditUser("Delete user", u)
}
