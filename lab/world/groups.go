package world

import (
	"slices"
	"strings"
)

// group is one group; it is replaced by edit, never changed.
type group struct {
	pos         int
	id          string
	name        string
	description string
	mail        string
	dynamic     string // membership rule; empty for assigned groups
	assignable  bool   // may hold directory roles
	onPrem      *adNames
	created     int64
	members     []string // user ids
	owners      []string
	nested      []int // positions of groups that are members
}

// groups is the groups collection.
type groups struct {
	list       []*group
	byID       map[string]*group
	assignable []int
	feed       feed
}

func (g *groups) span() int  { return len(g.list) }
func (g *groups) count() int { return len(g.list) }
func (g *groups) at(pos int) Item {
	return g.list[pos]
}
func (g *groups) find(key string) (Item, bool) {
	if x, ok := g.byID[strings.ToLower(key)]; ok {
		return x, true
	}
	return nil, false
}
func (g *groups) findBy(_, _ string) (Item, bool) { return nil, false }

func (g *groups) edit(id string, change func(*group)) {
	next := *g.byID[id]
	change(&next)
	g.list[next.pos], g.byID[id] = &next, &next
	g.feed.note(id, false)
}

func (g *group) ID() string { return g.id }

// Value renders one property.
func (g *group) Value(p string) (any, bool) {
	v, ok := g.Object()[p]
	return v, ok
}

// Object renders the group.
func (g *group) Object() Object {
	types := []any{}
	if g.dynamic != "" {
		types = append(types, "DynamicMembership")
	}
	o := Object{
		"id": g.id, "deletedDateTime": nil, "displayName": g.name, "description": orNil(g.description),
		"createdDateTime": second(g.created), "groupTypes": types, "securityEnabled": true,
		"mailEnabled": g.mail != "", "mail": orNil(g.mail), "mailNickname": strings.ToLower(strings.ReplaceAll(g.name, " ", "-")),
		"isAssignableToRole": g.assignable, "membershipRule": orNil(g.dynamic), "membershipRuleProcessingState": nil,
		"visibility": "Private", "proxyAddresses": []any{}, "securityIdentifier": cloudSID(g.id),
		"onPremisesSyncEnabled": nil, "onPremisesSecurityIdentifier": nil, "onPremisesSamAccountName": nil,
		"onPremisesDomainName": nil, "onPremisesLastSyncDateTime": nil,
	}
	if g.dynamic != "" {
		o["membershipRuleProcessingState"] = "On"
	}
	if g.onPrem != nil {
		o["onPremisesSyncEnabled"] = true
		o["onPremisesSecurityIdentifier"] = g.onPrem.sid
		o["onPremisesSamAccountName"] = g.onPrem.sam
		o["onPremisesDomainName"] = g.onPrem.domain
		o["onPremisesLastSyncDateTime"] = second(g.onPrem.syncedAt)
	}
	return o
}

// AddMember adds a person to a group, or a principal to a directory role;
// 400 when it is a member already.
func (w *World) AddMember(a Actor, c Collection, id, memberID string) ([]Effect, error) {
	return w.setMember(a, c, id, memberID, true)
}

// RemoveMember takes a member out; 404 when it is none.
func (w *World) RemoveMember(a Actor, c Collection, id, memberID string) ([]Effect, error) {
	return w.setMember(a, c, id, memberID, false)
}

func (w *World) setMember(a Actor, c Collection, id, memberID string, add bool) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ch := &change{w: w, at: now, actor: a}
	var err error
	switch c {
	case Groups:
		err = ch.setGroupMember(id, memberID, add)
	case DirectoryRoles:
		err = ch.setRoleMember(id, memberID, add)
	default:
		err = errBad("Resource '%s' has no members.", c)
	}
	if err != nil {
		return nil, err
	}
	return ch.effects, nil
}

func (c *change) setGroupMember(id, memberID string, add bool) error {
	w := c.w
	g, ok := w.groups.byID[strings.ToLower(id)]
	if !ok {
		return errNotFound(id)
	}
	u, ok := w.people.user(memberID)
	if !ok || u.deleted {
		return errNotFound(memberID)
	}
	if g.dynamic != "" || g.onPrem != nil {
		return errBad("Unable to update the specified properties for on-premises mastered or dynamic group '%s'.", g.id)
	}
	if g.assignable {
		if caller := w.activeRoles(c.actor.by()); c.actor != (Actor{}) && !slices.ContainsFunc(caller, func(r string) bool {
			return r == "Global Administrator" || r == "Privileged Role Administrator"
		}) {
			return errDenied()
		}
	}
	is := slices.Contains(g.members, u.id)
	if add == is {
		if add {
			return errBad("One or more added object references already exist for the following modified properties: 'members'.")
		}
		return errNotFound(memberID)
	}
	c.did("groups/"+g.id, "members/"+u.id, is, add)
	w.groups.edit(g.id, func(g *group) {
		if add {
			g.members = append(slices.Clone(g.members), u.id)
		} else {
			g.members = slices.DeleteFunc(slices.Clone(g.members), func(m string) bool { return m == u.id })
		}
	})
	w.people.edit(u.id, func(u *person) {
		if add {
			u.groups = append(slices.Clone(u.groups), g.pos)
		} else {
			u.groups = slices.DeleteFunc(slices.Clone(u.groups), func(p int) bool { return p == g.pos })
		}
	})
	activity := "Remove member from group"
	if add {
		activity = "Add member to group"
	}
	c.audit("GroupManagement", activity, "Assign", Object{"id": u.id, "displayName": u.display, "userPrincipalName": u.upn, "type": "User"},
		[]Object{modified("Group.ObjectID", nil, g.id)})
	return nil
}

func (c *change) setRoleMember(id, memberID string, add bool) error {
	w := c.w
	it, ok := w.tables[DirectoryRoles].find(id)
	if !ok {
		if it, ok = w.tables[DirectoryRoles].findBy("roleTemplateId", id); !ok {
			return errNotFound(id)
		}
	}
	v, _ := it.Value("roleTemplateId")
	template := v.(string)
	var held string
	for _, g := range w.roles.grants {
		if g.id != "" && !g.eligible && g.role == template && g.principal == memberID {
			held = g.id
		}
	}
	switch {
	case add && held != "":
		return errBad("A conflicting object with one or more of the specified property values is present in the directory.")
	case add:
		if _, ok := w.people.user(memberID); !ok {
			return errNotFound(memberID)
		}
		w.grantRole(memberID, template, false, false)
	case held == "":
		return errNotFound(memberID)
	default:
		w.revokeGrant(held)
	}
	c.did("directoryRoles/"+it.ID(), "members/"+memberID, !add, add)
	activity := "Remove member from role"
	if add {
		activity = "Add member to role"
	}
	c.audit("RoleManagement", activity, "Assign", Object{"id": memberID, "displayName": nil, "userPrincipalName": nil, "type": "Other"}, nil)
	return nil
}
