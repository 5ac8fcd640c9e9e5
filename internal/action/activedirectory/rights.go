package activedirectory

import (
	"slices"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A Right is one thing that Cordon's account must be allowed to do to objects of a
// class below an organisational unit, and no more than that.
type Right struct {
	Class     string // "user" or "group": the objects it is about
	ClassGUID string // of that class
	Attribute string // the attribute that is read and written; "" for an extended right
	Extended  string // the extended right in Windows' words; "" for an attribute
	GUID      string // of the attribute (schemaIDGUID) or the extended right (rightsGuid)
}

// EnableDelegation is what ClearDelegation and its undo need besides rights on
// objects: a privilege on every domain controller, which no descriptor gives.
const EnableDelegation = "SeEnableDelegationPrivilege"

// The classes and the extended right. Source: MS-ADSC, MS-ADTS 5.1.3.2.1.
const (
	userClass      = "bf967aba-0de6-11d0-a285-00aa003049e2"
	groupClass     = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	forceChange    = "00299570-246d-11d0-a768-00aa006e0529" // User-Force-Change-Password
	resetInWindows = "Reset Password"
)

// attributeGUIDs are the schemaIDGUIDs of what actions write. Source: MS-ADA1 to 3.
var attributeGUIDs = map[string]string{
	control:        "bf967a68-0de6-11d0-a285-00aa003049e2",
	"pwdLastSet":   "bf967a0a-0de6-11d0-a285-00aa003049e2",
	"lockoutTime":  "28630ebf-41d5-11d1-a9c1-0000f80367c1",
	accountExpires: "bf967915-0de6-11d0-a285-00aa003049e2",
	workstations:   "bf9679d7-0de6-11d0-a285-00aa003049e2",
	logonHours:     "bf9679ab-0de6-11d0-a285-00aa003049e2",
	keyCredentials: "5b47d60f-6090-40b2-9f37-2a4de88f3063",
	delegatesTo:    "800d94d7-b7a1-42a1-b14d-7cae1423d07f",
	actedOnBy:      "3f78c3e5-f79a-46bd-a0b8-9d18116ddc79",
	"member":       "bf9679c0-0de6-11d0-a285-00aa003049e2",
}

// written are the attributes of users that each action writes.
var written = map[action.Name][]string{
	Disable: {control}, Enable: {control},
	ResetPassword: {"pwdLastSet"}, // and the extended right
	Unlock:        {"lockoutTime"},
	RequireChange: {"pwdLastSet"}, WaiveChange: {"pwdLastSet"},
	ClearKeyCredentials: {keyCredentials}, RestoreKeyCredentials: {keyCredentials},
	ClearDelegation: {delegatesTo, actedOnBy, control}, RestoreDelegation: {delegatesTo, actedOnBy, control},
	Expire: {accountExpires}, RestoreExpiry: {accountExpires},
	RestrictLogon: {workstations, logonHours}, RestoreLogon: {workstations, logonHours},
}

// Rights are the least rights that the actions need, each once, the same order
// always: extended rights first, then by class and attribute. privileged says that
// EnableDelegation is needed too. An unknown action needs nothing.
func Rights(actions ...action.Name) (rights []Right, privileged bool) {
	attributes, reset, groups := map[string]bool{}, false, false
	for _, n := range actions {
		for _, a := range written[n] {
			attributes[a] = true
		}
		reset = reset || n == ResetPassword
		groups = groups || n == RemoveFromGroup || n == AddToGroup
		privileged = privileged || n == ClearDelegation || n == RestoreDelegation
	}
	if reset {
		rights = append(rights, Right{Class: "user", ClassGUID: userClass, Extended: resetInWindows, GUID: forceChange})
	}
	var names []string
	for a := range attributes {
		names = append(names, a)
	}
	slices.Sort(names)
	for _, a := range names {
		rights = append(rights, Right{Class: "user", ClassGUID: userClass, Attribute: a, GUID: attributeGUIDs[a]})
	}
	if groups {
		rights = append(rights, Right{Class: "group", ClassGUID: groupClass, Attribute: "member", GUID: attributeGUIDs["member"]})
	}
	return rights, privileged
}
