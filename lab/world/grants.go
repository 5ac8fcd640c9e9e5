package world

import (
	"fmt"
	"slices"
	"strings"
)

// AssignAppRole gives an application permission: POST
// /servicePrincipals/{id}/appRoleAssignments. 400 when it is given already, 404
// when one of the two service principals does not exist.
func (w *World) AssignAppRole(a Actor, id string, o Object) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	sps := w.tables[ServicePrincipals].(*table)
	sp, ok := sps.get(strings.ToLower(id))
	if !ok {
		return nil, nil, errNotFound(id)
	}
	text := func(name string) string { s, _ := o[name].(string); return strings.ToLower(s) }
	if text("principalId") != sp.id {
		return nil, nil, errBad("Invalid value specified for property 'principalId' of resource 'AppRoleAssignment'.")
	}
	resource, ok := sps.get(text("resourceId"))
	if !ok {
		return nil, nil, errNotFound(text("resourceId"))
	}
	if !isGUID(text("appRoleId")) {
		return nil, nil, errBad("Permission being assigned was not found on application '%s'.", resource.id)
	}
	if slices.ContainsFunc(w.rel.assignments[sp.id], func(r *record) bool {
		return r.obj["resourceId"] == resource.id && r.obj["appRoleId"] == text("appRoleId")
	}) {
		return nil, nil, errBad("Permission being assigned already exists on the object")
	}
	r := &record{w.newHex(43), nil}
	r.obj = Object{
		"id": r.id, "deletedDateTime": nil, "appRoleId": text("appRoleId"), "createdDateTime": stamp(now),
		"principalDisplayName": sp.obj["displayName"], "principalId": sp.id, "principalType": "ServicePrincipal",
		"resourceDisplayName": resource.obj["displayName"], "resourceId": resource.id,
	}
	w.rel.assignments[sp.id] = append(slices.Clone(w.rel.assignments[sp.id]), r)
	w.rel.assignedTo[resource.id] = append(slices.Clone(w.rel.assignedTo[resource.id]), r)
	c := &change{w: w, at: now, actor: a}
	c.did("servicePrincipals/"+sp.id, "appRoleAssignments/"+text("appRoleId"), false, true)
	c.audit("ApplicationManagement", "Add app role assignment to service principal", "Assign",
		Object{"id": resource.id, "displayName": resource.obj["displayName"], "userPrincipalName": nil, "type": "ServicePrincipal"}, nil)
	return r, c.effects, nil
}

// RemoveAppRole takes an application permission away: DELETE
// /servicePrincipals/{id}/appRoleAssignments/{assignment}; 404 when there is none.
func (w *World) RemoveAppRole(a Actor, id, assignment string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	id = strings.ToLower(id)
	list := w.rel.assignments[id]
	i := slices.IndexFunc(list, func(r *record) bool { return r.id == assignment })
	if i < 0 {
		return nil, errNotFound(assignment)
	}
	gone := list[i]
	w.rel.assignments[id] = slices.Delete(slices.Clone(list), i, i+1)
	resource := gone.obj["resourceId"].(string)
	w.rel.assignedTo[resource] = slices.DeleteFunc(slices.Clone(w.rel.assignedTo[resource]), func(r *record) bool { return r.id == assignment })
	c := &change{w: w, at: now, actor: a}
	c.did("servicePrincipals/"+id, "appRoleAssignments/"+gone.obj["appRoleId"].(string), true, false)
	c.audit("ApplicationManagement", "Remove app role assignment from service principal", "Unassign",
		Object{"id": resource, "displayName": gone.obj["resourceDisplayName"], "userPrincipalName": nil, "type": "ServicePrincipal"}, nil)
	return c.effects, nil
}

// GrantConsent gives an application delegated permissions: POST
// /oauth2PermissionGrants. 409 when the same client has a grant on the same
// resource for the same people already: that one is to be changed instead.
func (w *World) GrantConsent(a Actor, o Object) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	text := func(name string) string { s, _ := o[name].(string); return s }
	sps := w.tables[ServicePrincipals].(*table)
	for _, name := range []string{"clientId", "resourceId"} {
		if _, ok := sps.get(strings.ToLower(text(name))); !ok {
			return nil, nil, errNotFound(text(name))
		}
	}
	kind := text("consentType")
	if kind != "AllPrincipals" && kind != "Principal" {
		return nil, nil, errBad("Invalid value specified for property 'consentType' of resource 'OAuth2PermissionGrant'.")
	}
	if _, ok := w.people.user(text("principalId")); ok != (kind == "Principal") {
		return nil, nil, errBad("Invalid value specified for property 'principalId' of resource 'OAuth2PermissionGrant'.")
	}
	t := w.tables[OAuth2PermissionGrants].(*table)
	for _, r := range t.list {
		if r != nil && r.obj["clientId"] == text("clientId") && r.obj["resourceId"] == text("resourceId") &&
			r.obj["consentType"] == kind && (kind == "AllPrincipals" || r.obj["principalId"] == text("principalId")) {
			return nil, nil, refuse(409, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists.")
		}
	}
	id := w.newHex(43)
	r := t.add(id, Object{"id": id, "clientId": strings.ToLower(text("clientId")), "consentType": kind,
		"principalId": orNil(text("principalId")), "resourceId": strings.ToLower(text("resourceId")), "scope": text("scope")})
	c := &change{w: w, at: now, actor: a}
	c.did("oauth2PermissionGrants/"+id, "exists", false, true)
	c.audit("ApplicationManagement", "Add delegated permission grant", "Assign",
		Object{"id": text("clientId"), "displayName": nil, "userPrincipalName": nil, "type": "ServicePrincipal"}, nil)
	return r, c.effects, nil
}

// addCredential gives a workload's application a new client secret, as its owner
// would, and returns the key id.
func (c *change) addCredential(sp *record, name string) string {
	t := c.w.tables[Applications].(*table)
	it, ok := t.findBy("appId", sp.obj["appId"].(string))
	if !ok {
		return ""
	}
	app, _ := t.get(it.ID())
	id := c.w.newID()
	secret := Object{
		"keyId": id, "displayName": name, "hint": c.w.newHex(3), "secretText": nil, "customKeyIdentifier": nil,
		"startDateTime": stamp(c.at), "endDateTime": stamp(c.at.AddDate(0, 6, 0)),
	}
	t.edit(app.id, Object{"passwordCredentials": append(slices.Clone(app.obj["passwordCredentials"].([]any)), secret)})
	c.did("applications/"+app.id, "passwordCredentials/"+id, false, true)
	c.audit("ApplicationManagement", "Update application – Certificates and secrets management", "Update",
		Object{"id": app.id, "displayName": app.obj["displayName"], "userPrincipalName": nil, "type": "Application"}, nil)
	return id
}

func (c *change) applyAddCredential(e Event) error {
	sp, err := c.servicePrincipal(e.ServicePrincipal)
	if err != nil {
		return err
	}
	name := e.Title
	if name == "" {
		name = "rotated"
	}
	if c.addCredential(sp, name) == "" {
		return fmt.Errorf("the application of %q is not registered in this tenant", e.ServicePrincipal)
	}
	return nil
}
