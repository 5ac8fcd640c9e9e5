package world

import (
	"fmt"
	"time"
)

// change is one mutation while it runs: who, when, and what it did. It exists
// only under the write lock.
type change struct {
	w       *World
	at      time.Time
	actor   Actor
	effects []Effect
}

// did notes an effect that is there already.
func (c *change) did(object, field string, before, after any) {
	c.effects = append(c.effects, Effect{Object: object, Field: field, Before: before, After: after})
}

// later notes an effect that is only accepted.
func (c *change) later(object, field string, before, after any, due time.Time) {
	e := Effect{Object: object, Field: field, Before: before, After: after}
	if due.After(c.at) {
		e.Due = due
	}
	c.effects = append(c.effects, e)
}

// by is the actor as risk history names it: an object id, or nothing for the
// service itself.
func (a Actor) by() string {
	if a.UserID != "" {
		return a.UserID
	}
	return a.ServicePrincipalID
}

// initiatedBy renders the actor for the directory audit.
func (a Actor) initiatedBy() Object {
	if a.UserID != "" {
		return Object{"app": nil, "user": Object{
			"id": a.UserID, "displayName": orNil(a.DisplayName), "userPrincipalName": orNil(a.UserPrincipalName),
			"ipAddress": orNil(a.IPAddress),
		}}
	}
	name := a.DisplayName
	if name == "" {
		name = "Microsoft"
	}
	return Object{"user": nil, "app": Object{
		"appId": orNil(a.AppID), "displayName": name, "servicePrincipalId": orNil(a.ServicePrincipalID),
		"servicePrincipalName": nil,
	}}
}

// modified is one modifiedProperties entry; values are JSON text, as the
// service writes them.
func modified(name string, before, after any) Object {
	text := func(v any) any {
		switch v := v.(type) {
		case nil:
			return nil
		case string:
			return fmt.Sprintf("[%q]", v)
		default:
			return fmt.Sprintf("[%v]", v)
		}
	}
	return Object{"displayName": name, "oldValue": text(before), "newValue": text(after)}
}

// auditUser writes a line of the directory audit about a person.
func (c *change) auditUser(activity string, u *person, properties ...Object) {
	c.audit("UserManagement", activity, "Update", Object{
		"id": u.id, "displayName": u.display, "userPrincipalName": u.upn, "type": "User",
	}, properties)
}

// audit writes a line of the directory audit.
func (c *change) audit(category, activity, operation string, target Object, properties []Object) string {
	list := make([]any, len(properties))
	for i, p := range properties {
		list[i] = p
	}
	target["modifiedProperties"] = list
	target["groupType"] = nil
	correlation := c.w.newID()
	id := fmt.Sprintf("Directory_%s_%s_%d", correlation, c.w.newHex(5), len(c.w.tables[DirectoryAudits].(*table).list))
	c.w.tables[DirectoryAudits].(*table).add(id, Object{
		"id":                  id,
		"category":            category,
		"correlationId":       correlation,
		"result":              "success",
		"resultReason":        "",
		"activityDisplayName": activity,
		"activityDateTime":    stamp(c.at),
		"loggedByService":     "Core Directory",
		"operationType":       operation,
		"initiatedBy":         c.actor.initiatedBy(),
		"targetResources":     []any{target},
		"additionalDetails":   []any{},
	})
	return id
}

func enabledActivity(enabled bool) string {
	if enabled {
		return "Enable account"
	}
	return "Disable account"
}
