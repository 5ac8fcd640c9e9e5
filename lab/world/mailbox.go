package world

import (
	"fmt"
	"slices"
	"strings"
)

// Rules lists the inbox rules of a person's mailbox, in their order; 404 when
// there is no such person or no mailbox: a guest's is at home.
func (w *World) Rules(userID string) ([]Item, error) {
	w.rlock()
	defer w.mu.RUnlock()
	u, err := w.mailbox(userID)
	if err != nil {
		return nil, err
	}
	return items(w.rel.rules[u.id]), nil
}

func (w *World) mailbox(userID string) (*person, error) {
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return nil, refuse(404, "ErrorInvalidUser", "The requested user '%s' is invalid.", userID)
	}
	if u.guest() {
		return nil, refuse(404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
	}
	return u, nil
}

// UpdateRule changes displayName, sequence or isEnabled of an inbox rule.
func (w *World) UpdateRule(a Actor, userID, id string, patch Object) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	u, i, err := w.rule(userID, id)
	if err != nil {
		return nil, nil, err
	}
	old := w.rel.rules[u.id][i]
	if old.obj["isReadOnly"] == true {
		return nil, nil, refuse(400, "ErrorAccessDenied", "The rule is read-only.")
	}
	next := Object{}
	for k, v := range old.obj {
		next[k] = v
	}
	c := &change{w: w, at: now, actor: a}
	for name, v := range patch {
		_, flag := v.(bool)
		switch {
		case strings.HasPrefix(name, "@"):
			continue
		case name == "isEnabled" && !flag, name != "isEnabled" && name != "displayName" && name != "sequence":
			return nil, nil, refuse(400, "RequestBodyRead", "The property '%s' cannot be set to that.", name)
		}
		c.did("users/"+u.id, "messageRules/"+id+"/"+name, old.obj[name], v)
		next[name] = v
	}
	r := &record{old.id, next}
	list := slices.Clone(w.rel.rules[u.id])
	list[i] = r
	w.rel.rules[u.id] = list
	return r, c.effects, nil
}

// DeleteRule removes an inbox rule.
func (w *World) DeleteRule(a Actor, userID, id string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	u, i, err := w.rule(userID, id)
	if err != nil {
		return nil, err
	}
	w.rel.rules[u.id] = slices.Delete(slices.Clone(w.rel.rules[u.id]), i, i+1)
	c := &change{w: w, at: now, actor: a}
	c.did("users/"+u.id, "messageRules/"+id, true, false)
	return c.effects, nil
}

func (w *World) rule(userID, id string) (*person, int, error) {
	u, err := w.mailbox(userID)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(w.rel.rules[u.id], func(r *record) bool { return r.id == id })
	if i < 0 {
		return nil, 0, refuse(404, "ErrorItemNotFound", "The specified object was not found in the store.")
	}
	return u, i, nil
}

// applyInboxRule makes an inbox rule, as its owner or whoever has the mailbox.
func (c *change) applyInboxRule(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	to := []any{Object{"emailAddress": Object{"name": "Somewhere else", "address": "drop@elsewhere.example"}}}
	does := map[string]Object{
		"forward": {"forwardTo": to, "stopProcessingRules": true},
		"delete":  {"delete": true, "stopProcessingRules": true},
		"hide":    {"moveToFolder": "AQMkAGRzcwAuAAAD", "markAsRead": true},
		"sort":    {"moveToFolder": "AQMkAGNld3MuAAAD"},
	}[e.Description]
	if does == nil {
		return fmt.Errorf("an inbox rule does forward, delete, hide or sort, not %q", e.Description)
	}
	id := "AQAAA" + c.w.newHex(4) + "8="
	list := c.w.rel.rules[u.id]
	c.w.rel.rules[u.id] = append(slices.Clone(list), &record{id, Object{
		"id": id, "displayName": e.Title, "sequence": len(list) + 1, "isEnabled": true, "hasError": false, "isReadOnly": false,
		"conditions": Object{"subjectContains": []any{"invoice"}}, "actions": does,
	}})
	c.did("users/"+u.id, "messageRules/"+id, false, true)
	return nil
}

// applyAddMethod registers an authentication method, as its owner or whoever is
// signed in as them.
func (c *change) applyAddMethod(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	kinds := []string{"fido2", "microsoftAuthenticator", "phone", "email", "softwareOath", "windowsHelloForBusiness", "platformCredential"}
	if !slices.Contains(kinds, e.Title) {
		return fmt.Errorf("an authentication method is one of %s, not %q", strings.Join(kinds, ", "), e.Title)
	}
	m := c.w.ownMethods(u)
	id := c.w.newID()
	o := Object{"@odata.type": "#microsoft.graph." + e.Title + "AuthenticationMethod", "id": id, "createdDateTime": second(c.at.Unix())}
	if e.Title == "phone" { // phones do not say when
		o["createdDateTime"], o["phoneNumber"], o["phoneType"] = nil, "+1 555 0100", "alternateMobile"
	}
	m.list = append(slices.Clone(m.list), &record{id, o})
	c.did("users/"+u.id, "authentication/methods/"+id, false, true)
	c.auditUser("User registered security info", u)
	return nil
}
