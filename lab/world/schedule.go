package world

import (
	"strings"
	"time"
)

// RequestRole is POST /roleManagement/directory/roleAssignmentScheduleRequests, or
// for eligible roleEligibilityScheduleRequests: adminRemove and adminAssign. It
// answers with the request; the assignment follows after Delays.Revocation.
func (w *World) RequestRole(a Actor, eligible bool, o Object) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	text := func(name string) string { s, _ := o[name].(string); return s }
	principal, role := strings.ToLower(text("principalId")), strings.ToLower(text("roleDefinitionId"))
	if _, ok := w.object(principal); !ok {
		return nil, nil, refuse(404, "SubjectNotFound", "The subject is not found.")
	}
	def, ok := roleByName(role)
	if !ok || def.template != role {
		return nil, nil, refuse(400, "RoleNotFound", "The role is not found.")
	}
	if text("directoryScopeId") != "/" {
		return nil, nil, refuse(400, "InvalidScope", "The directoryScopeId is not valid.")
	}
	var held string
	for _, g := range w.roles.grants {
		if g.id != "" && g.eligible == eligible && g.role == role && g.principal == principal {
			held = g.id
		}
	}
	object := map[bool]string{false: "roleAssignmentScheduleInstances/", true: "roleEligibilityScheduleInstances/"}[eligible] + principal
	c := &change{w: w, at: now, actor: a}
	due := plus(now, w.delays.Revocation)
	var status string
	var do func(time.Time)
	switch text("action") {
	case "adminRemove":
		if held == "" {
			return nil, nil, refuse(400, "RoleAssignmentDoesNotExist", "The Role assignment does not exist.")
		}
		status, do = "Revoked", func(time.Time) { w.revokeGrant(held) }
		c.later(object, role, true, false, due)
		c.audit("RoleManagement", "Remove member from role (PIM activation expired or removed)", "Unassign", Object{"id": principal, "displayName": nil, "userPrincipalName": nil, "type": "User"}, nil)
	case "adminAssign":
		if held != "" {
			return nil, nil, refuse(400, "RoleAssignmentExists", "The Role assignment already exists.")
		}
		if _, ok := o["scheduleInfo"].(map[string]any); !ok {
			return nil, nil, refuse(400, "InvalidScheduleInfo", "The schedule information is missing.")
		}
		status, do = "Provisioned", func(time.Time) { w.grantRole(principal, role, eligible, false) }
		c.later(object, role, false, true, due)
		c.audit("RoleManagement", "Add member to role (PIM)", "Assign", Object{"id": principal, "displayName": nil, "userPrincipalName": nil, "type": "User"}, nil)
	default:
		return nil, nil, refuse(400, "InvalidAction", "The action '%s' is not supported.", text("action"))
	}
	w.after(now, due, do)
	id := w.newID()
	return &record{id, Object{
		"id": id, "status": status, "createdDateTime": stamp(now), "completedDateTime": stamp(now), "approvalId": nil, "customData": nil,
		"action": text("action"), "principalId": principal, "roleDefinitionId": role, "directoryScopeId": "/", "appScopeId": nil,
		"isValidationOnly": false, "targetScheduleId": nil, "justification": orNil(text("justification")), "scheduleInfo": o["scheduleInfo"],
	}}, c.effects, nil
}
