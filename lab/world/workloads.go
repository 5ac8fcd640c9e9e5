package world

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// workloads is ID Protection for service principals.
type workloads struct {
	risky map[string]*riskyWorkload
}

// riskyWorkload is one row of riskyServicePrincipals. There is no remediated
// and no confirmedSafe for workloads.
type riskyWorkload struct {
	id, appID, name, kind string
	state, level, detail  string
	updated               time.Time
	processing            int
	detections            []string // ids
	history               []*record
}

// eventKindsWorkload gives the default level of the documented detections.
var eventKindsWorkload = map[string]string{
	"investigationsThreatIntelligence":          levelHigh,
	"suspiciousSignins":                         levelMedium,
	"adminConfirmedServicePrincipalCompromised": levelHigh,
	"leakedCredentials":                         levelHigh,
	"maliciousApplication":                      levelHigh,
	"suspiciousApplication":                     levelMedium,
	"anomalousServicePrincipalActivity":         levelMedium,
	"suspiciousAPITraffic":                      levelMedium,
}

// AddApp registers an application, its service principal, its directory roles
// and its consented permissions, and returns the actor it is as a caller.
// Registering the same AppID again replaces roles and permissions.
func (w *World) AddApp(a App) (Actor, error) {
	w.lock()
	defer w.mu.Unlock()
	if !isGUID(a.AppID) {
		return Actor{}, fmt.Errorf("world: app id %q is not a GUID", a.AppID)
	}
	var templates []string
	for _, name := range a.DirectoryRoles {
		r, ok := roleByName(name)
		if !ok {
			return Actor{}, fmt.Errorf("world: app %s: no directory role %q", a.AppID, name)
		}
		templates = append(templates, r.template)
	}
	sp, ok := w.tables[ServicePrincipals].findBy("appId", a.AppID)
	if !ok {
		sp = w.addApplication(cmp.Or(a.DisplayName, "App "+a.AppID[:8]), strings.ToLower(a.AppID), 0)
	}
	id := sp.ID()
	for _, i := range w.roles.byPrincipal[id] {
		if g := w.roles.grants[i]; g.id != "" {
			w.revokeGrant(g.id)
		}
	}
	for _, t := range templates {
		w.grantRole(id, t, false, false)
	}
	w.setAppRoles(id, a.AppRoles)
	name, _ := sp.Value("displayName")
	return Actor{AppID: strings.ToLower(a.AppID), ServicePrincipalID: id, DisplayName: name.(string)}, nil
}

// addApplication adds an application with its service principal; secrets says
// how many client secrets it has.
func (w *World) addApplication(name, appID string, secrets int) Item {
	var passwords []any
	for i := range secrets {
		passwords = append(passwords, Object{
			"keyId": w.newID(), "displayName": fmt.Sprintf("secret %d", i+1), "hint": w.newHex(3), "secretText": nil,
			"customKeyIdentifier": nil, "startDateTime": second(w.start.AddDate(0, -5+i, 0).Unix()),
			"endDateTime": second(w.start.AddDate(1, -5+i, 0).Unix()),
		})
	}
	appObject := w.newID()
	w.tables[Applications].(*table).add(appObject, Object{
		"id": appObject, "deletedDateTime": nil, "appId": appID, "displayName": name, "description": nil,
		"createdDateTime": second(w.start.AddDate(-1, 0, 0).Unix()), "signInAudience": "AzureADMyOrg",
		"publisherDomain": CloudDomain, "identifierUris": []any{}, "keyCredentials": []any{},
		"passwordCredentials": orEmpty(passwords), "disabledByMicrosoftStatus": nil, "isDisabled": nil, "tags": []any{},
	})
	id := w.newID()
	return w.tables[ServicePrincipals].(*table).add(id, Object{
		"id": id, "deletedDateTime": nil, "appId": appID, "displayName": name, "appDisplayName": name,
		"accountEnabled": true, "appOwnerOrganizationId": w.tenant, "appRoleAssignmentRequired": false,
		"servicePrincipalType": "Application", "signInAudience": "AzureADMyOrg", "disabledByMicrosoftStatus": nil,
		"keyCredentials": []any{}, "passwordCredentials": []any{}, "servicePrincipalNames": []any{appID},
		"replyUrls": []any{}, "tags": []any{}, "alternativeNames": []any{}, "appRoles": []any{}, "isDisabled": nil,
		"description": nil, "homepage": nil,
	})
}

// setAppRoles replaces the Graph permissions of a service principal. The ids
// of app roles are derived from the permission's name, since the lab does not
// carry Microsoft's list.
func (w *World) setAppRoles(principal string, permissions []string) {
	graph, ok := w.tables[ServicePrincipals].findBy("appId", graphAppID)
	if !ok {
		return
	}
	sp, _ := w.tables[ServicePrincipals].find(principal)
	name, _ := sp.Value("displayName")
	kept := slices.DeleteFunc(w.rel.assignedTo[graph.ID()], func(r *record) bool { return r.obj["principalId"] == principal })
	var list []*record
	for _, p := range permissions {
		id := w.newHex(43)
		list = append(list, &record{id, Object{
			"id": id, "deletedDateTime": nil, "appRoleId": nameGUID(p), "createdDateTime": second(w.start.Unix()),
			"principalDisplayName": name, "principalId": principal, "principalType": "ServicePrincipal",
			"resourceDisplayName": "Microsoft Graph", "resourceId": graph.ID(),
		}})
	}
	w.rel.assignments[principal] = list
	w.rel.assignedTo[graph.ID()] = append(kept, list...)
}

const graphAppID = "00000003-0000-0000-c000-000000000000"

func (c *change) patchWorkload(col Collection, id string, patch Object) error {
	t := c.w.tables[col].(*table)
	r, ok := t.get(strings.ToLower(id))
	if !ok {
		return errNotFound(id)
	}
	set := Object{}
	for name, v := range patch {
		switch name {
		case "accountEnabled", "isDisabled":
			if _, ok := v.(bool); !ok || name == "accountEnabled" && col == Applications {
				return errBad("Invalid value specified for property '%s'.", name)
			}
		case "passwordCredentials", "keyCredentials", "tags":
			if _, ok := v.([]any); !ok {
				return errBad("Invalid value specified for property '%s'.", name)
			}
		case "description":
		default:
			return errBad("Property '%s' cannot be set.", name)
		}
		set[name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		c.did(string(col)+"/"+r.id, name, r.obj[name], set[name])
	}
	t.edit(r.id, set)
	activity := "Update service principal"
	if col == Applications {
		activity = "Update application"
	} else if b, ok := set["accountEnabled"].(bool); ok {
		if rw := c.w.sps.risky[r.id]; rw != nil {
			c.showWorkload(rw)
		}
		if !b {
			activity = "Disable service principal"
		}
	}
	c.audit("ApplicationManagement", activity, "Update",
		Object{"id": r.id, "displayName": r.obj["displayName"], "userPrincipalName": nil, "type": "ServicePrincipal"}, nil)
	return nil
}

// RemovePassword removes a client secret of a service principal or application.
func (w *World) RemovePassword(a Actor, c Collection, id, keyID string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	t, ok := w.tables[c].(*table)
	if !ok || c != ServicePrincipals && c != Applications {
		return nil, errBad("Resource '%s' has no passwords.", c)
	}
	r, ok := t.get(strings.ToLower(id))
	if !ok {
		return nil, errNotFound(id)
	}
	list := slices.Clone(r.obj["passwordCredentials"].([]any))
	i := slices.IndexFunc(list, func(v any) bool { o, _ := v.(Object); return o["keyId"] == keyID })
	if i < 0 {
		return nil, errBad("No password credential found with keyId.")
	}
	t.edit(r.id, Object{"passwordCredentials": slices.Delete(list, i, i+1)})
	ch := &change{w: w, at: now, actor: a}
	ch.did(string(c)+"/"+r.id, "passwordCredentials/"+keyID, true, false)
	ch.audit("ApplicationManagement", "Update application – Certificates and secrets management", "Update",
		Object{"id": r.id, "displayName": r.obj["displayName"], "userPrincipalName": nil, "type": "Application"}, nil)
	return ch.effects, nil
}

// riskyWorkloadOf returns a workload's row, making it when there is none.
func (c *change) riskyWorkloadOf(sp *record) *riskyWorkload {
	if r := c.w.sps.risky[sp.id]; r != nil {
		return r
	}
	text := func(p string) string { s, _ := sp.obj[p].(string); return s }
	r := &riskyWorkload{id: sp.id, appID: text("appId"), name: text("displayName"), kind: text("servicePrincipalType"),
		state: stateNone, level: levelNone, detail: "none", updated: c.at}
	c.w.sps.risky[sp.id] = r
	c.w.tables[RiskyServicePrincipals].(*table).add(sp.id, c.w.workloadObject(r))
	return r
}

func (w *World) workloadObject(r *riskyWorkload) Object {
	enabled := false
	if sp, ok := w.tables[ServicePrincipals].find(r.id); ok {
		v, _ := sp.Value("accountEnabled")
		enabled, _ = v.(bool)
	}
	return Object{
		"id": r.id, "appId": r.appID, "displayName": r.name, "servicePrincipalType": r.kind, "isEnabled": enabled,
		"isProcessing": r.processing > 0, "riskLevel": r.level, "riskState": r.state, "riskDetail": r.detail,
		"riskLastUpdatedDateTime": stamp(r.updated),
	}
}

func (c *change) showWorkload(r *riskyWorkload) {
	c.w.tables[RiskyServicePrincipals].(*table).replace(r.id, c.w.workloadObject(r))
}

func (c *change) setWorkload(r *riskyWorkload, state, level, detail string, why []any) {
	object := "riskyServicePrincipals/" + r.id
	c.did(object, "riskState", r.state, state)
	c.did(object, "riskLevel", r.level, level)
	r.state, r.level, r.detail, r.updated = state, level, detail, c.at
	c.showWorkload(r)
	o := c.w.workloadObject(r)
	o["id"] = c.w.newHex(64)
	o["initiatedBy"] = orNil(c.actor.by())
	o["activity"] = Object{"riskEventTypes": orEmpty(why), "detail": detail}
	r.history = append(r.history, &record{o["id"].(string), o})
}

// detectWorkload adds a detection to a service principal.
func (c *change) detectWorkload(sp *record, eventType, state, level string, keyIDs []any, more Object) string {
	w := c.w
	r := c.riskyWorkloadOf(sp)
	id := w.newHex(64)
	o := Object{
		"id": id, "requestId": nil, "correlationId": nil, "riskEventType": eventType, "riskState": state, "riskLevel": level,
		"riskDetail": "none", "source": sourceIDP, "detectionTimingType": "offline", "activity": "servicePrincipal",
		"tokenIssuerType": "AzureAD", "ipAddress": nil, "location": nil, "activityDateTime": stamp(c.at),
		"detectedDateTime": stamp(c.at), "lastUpdatedDateTime": stamp(c.at), "servicePrincipalId": sp.id,
		"servicePrincipalDisplayName": r.name, "appId": r.appID, "keyIds": orEmpty(keyIDs), "additionalInfo": "[]",
	}
	maps.Copy(o, more)
	w.tables[ServicePrincipalRiskDetections].(*table).add(id, o)
	r.detections = append(r.detections, id)
	c.did("servicePrincipalRiskDetections/"+id, "riskEventType", nil, eventType)
	if eventType == "maliciousApplication" {
		// Microsoft disables the application itself.
		w.tables[ServicePrincipals].(*table).edit(sp.id, Object{"disabledByMicrosoftStatus": "DisabledDueToViolationOfServicesAgreement"})
	}
	return id
}

// ServicePrincipalFeedback is POST
// /identityProtection/riskyServicePrincipals/{verdict}; there is no
// confirmSafe for workloads. Asynchronous like feedback on people.
func (w *World) ServicePrincipalFeedback(a Actor, v Verdict, ids []string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ids, err := checkIDs("servicePrincipalIds", ids)
	if err != nil {
		return nil, err
	}
	if v == ConfirmSafe {
		return nil, errBad("Resource not found for the segment 'confirmSafe'.")
	}
	var list []*record
	for _, id := range ids {
		sp, ok := w.tables[ServicePrincipals].(*table).get(id)
		if !ok {
			return nil, refuse(404, "ResourceNotFound", "Service principal '%s' does not exist in the tenant.", id)
		}
		list = append(list, sp)
	}
	c := &change{w: w, at: now, actor: a}
	due := plus(now, w.delays.Feedback)
	for _, sp := range list {
		if v == Dismiss && (w.sps.risky[sp.id] == nil || !isOpen(w.sps.risky[sp.id].state)) {
			continue
		}
		r := c.riskyWorkloadOf(sp)
		r.processing++
		c.showWorkload(r)
		object := "riskyServicePrincipals/" + sp.id
		c.did(object, "isProcessing", r.processing > 1, true)
		after := map[Verdict]string{ConfirmCompromised: stateCompromised, Dismiss: stateDismissed}[v]
		c.later(object, "riskState", r.state, after, due)
		w.after(now, due, func(at time.Time) {
			c := &change{w: w, at: at, actor: a}
			r.processing--
			c.workloadVerdict(sp, r, v)
		})
	}
	return c.effects, nil
}

func (c *change) workloadVerdict(sp *record, r *riskyWorkload, v Verdict) {
	if v == ConfirmCompromised {
		const t = "adminConfirmedServicePrincipalCompromised"
		c.detectWorkload(sp, t, stateCompromised, levelHigh, nil, Object{"riskDetail": t})
		c.setWorkload(r, stateCompromised, levelHigh, t, nil)
		return
	}
	t := c.w.tables[ServicePrincipalRiskDetections].(*table)
	for _, id := range r.detections {
		if d, _ := t.get(id); isOpen(d.obj["riskState"].(string)) {
			t.edit(id, Object{"riskState": stateDismissed, "riskDetail": "adminDismissedAllRiskForServicePrincipal", "lastUpdatedDateTime": stamp(c.at)})
		}
	}
	c.setWorkload(r, stateDismissed, levelNone, "adminDismissedAllRiskForServicePrincipal", nil)
}
