// Package access says who may do what in Cordon. An operator is a person or a
// token using Cordon, never an identity at risk. It is pure: no I/O, no clock.
package access

import (
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Role is a set of permissions with a name an organisation would use.
type Role string

// The roles, from least to most.
const (
	Auditor   Role = "auditor"   // reads everything, the trail included; changes nothing
	Analyst   Role = "analyst"   // works the queue: verdicts, notes, holds; cannot approve
	Responder Role = "responder" // approves, rejects and undoes
	Author    Role = "author"    // switches playbooks
	Owner     Role = "owner"     // everything, the global stop included
)

// Permission is one thing an operator may do.
type Permission string

// The permissions.
const (
	Read    Permission = "read"    // cases, identities, signals, runs
	Audit   Permission = "audit"   // the trail
	Decide  Permission = "decide"  // verdicts
	Plan    Permission = "plan"    // start a playbook by hand
	Approve Permission = "approve" // approve and reject
	Undo    Permission = "undo"
	Hold    Permission = "hold"   // switch the global stop on
	Resume  Permission = "resume" // switch the global stop off
)

var grants = map[Role][]Permission{
	Auditor:   {Read, Audit},
	Analyst:   {Read, Decide, Plan, Hold},
	Responder: {Read, Decide, Plan, Approve, Undo, Hold},
	Author:    {Read, Plan, Hold},
	Owner:     {Read, Audit, Decide, Plan, Approve, Undo, Hold, Resume},
}

// Permissions returns all permissions, in a fixed order.
func Permissions() []Permission {
	return []Permission{Read, Audit, Decide, Plan, Approve, Undo, Hold, Resume}
}

// Roles returns all roles, in a fixed order.
func Roles() []Role { return []Role{Auditor, Analyst, Responder, Author, Owner} }

// Known reports whether r is a role.
func (r Role) Known() bool { return slices.Contains(Roles(), r) }

// OperatorID names an operator.
type OperatorID string

// An Operator is whoever uses Cordon.
type Operator struct {
	ID     OperatorID
	Name   string
	Roles  []Role
	Groups []string // the groups a playbook's approval names

	// Account is the Entra object id (or UPN) of the operator's own account: it
	// lets Cordon refuse approvals by the subject of a plan. Empty for tokens.
	Account string
	Tenant  identity.Tenant // "" means all tenants
}

// Can reports whether the operator holds p.
func (o Operator) Can(p Permission) bool {
	return slices.ContainsFunc(o.Roles, func(r Role) bool { return slices.Contains(grants[r], p) })
}

// Require returns fault.Denied, naming the roles that would do, unless o holds p.
func (o Operator) Require(p Permission) error {
	if o.Can(p) {
		return nil
	}
	var able []Role
	for _, r := range Roles() {
		if slices.Contains(grants[r], p) {
			able = append(able, r)
		}
	}
	return fault.Errorf(fault.Denied, "operator %s may not %s; it takes one of the roles %v", o.ID, p, able)
}

// An Actor is whoever did something: an operator, or a part of Cordon itself.
type Actor string

// ByOperator returns the actor of an operator.
func ByOperator(id OperatorID) Actor { return Actor("operator:" + string(id)) }

// BySystem returns the actor of a part of Cordon: ingest, dispatch, sequencer.
func BySystem(part string) Actor { return Actor("cordon:" + part) }

// ByPlaybook returns the actor of a playbook's run.
func ByPlaybook(id string) Actor { return Actor(fmt.Sprintf("playbook:%s", id)) }
