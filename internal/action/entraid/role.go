package entraid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A roleHeld is Graph's unifiedRoleAssignmentScheduleInstance or
// unifiedRoleEligibilityScheduleInstance, the fields we use, under their names.
type roleHeld struct {
	ID               string     `json:"id,omitempty"`
	PrincipalID      string     `json:"principalId,omitempty"`
	RoleDefinitionID string     `json:"roleDefinitionId"`
	DirectoryScopeID string     `json:"directoryScopeId"`
	AssignmentType   string     `json:"assignmentType,omitempty"` // Assigned or Activated
	MemberType       string     `json:"memberType,omitempty"`     // Direct, Group or Inherited
	EndDateTime      graph.Time `json:"endDateTime,omitzero"`
	Eligible         bool       `json:"eligible,omitempty"` // ours: of the list of eligible ones
}

func (h roleHeld) key() string {
	return strings.ToLower(fmt.Sprint(h.RoleDefinitionID, " ", h.DirectoryScopeID, " ", h.Eligible))
}

// direct reports whether the role can be taken away from the person alone.
func (h roleHeld) direct() bool {
	return h.MemberType == "" || strings.EqualFold(h.MemberType, "Direct")
}

func (h roleHeld) requests() string {
	if h.Eligible {
		return "/roleManagement/directory/roleEligibilityScheduleRequests"
	}
	return "/roleManagement/directory/roleAssignmentScheduleRequests"
}

const (
	paramRole  = "role"
	paramRoles = "roles"
)

// readRoles lists the roles a user holds, active and eligible.
func (d directory) readRoles(ctx context.Context, id string) (out []roleHeld, at time.Time, err error) {
	for _, list := range []string{"roleAssignmentScheduleInstances", "roleEligibilityScheduleInstances"} {
		var found map[string]roleHeld
		found, at, err = collect(ctx, d.graph, graph.Request{
			Path: graph.Path("roleManagement", "directory", list), Priority: graph.High, Query: url.Values{"$filter": {"principalId eq '" + id + "'"}},
		}, func(h roleHeld) string { return h.ID })
		if err != nil {
			return nil, at, fmt.Errorf("read the directory roles: %w", err)
		}
		for _, h := range found {
			if !strings.EqualFold(h.PrincipalID, id) {
				return nil, at, fault.Errorf(fault.Unavailable, "read the directory roles: Graph answered with those of somebody else")
			}
			h.Eligible = list == "roleEligibilityScheduleInstances"
			out = append(out, h)
		}
	}
	return out, at, nil
}

func (d directory) roles(spec action.Spec) *chores[roleHeld] {
	spec.Version, spec.Provider = 1, identity.EntraID
	spec.Batch, spec.Bucket, spec.Propagation, spec.Within = 1, action.BucketDirectoryWrite, time.Minute, 10*time.Minute
	return &chores[roleHeld]{
		directory: d, spec: spec,
		read: func(ctx context.Context, id string, _ action.Request) ([]roleHeld, time.Time, error) {
			return d.readRoles(ctx, id)
		},
		key: roleHeld.key,
		text: func(list []roleHeld) string {
			return listed(list, func(h roleHeld) string {
				how := "active"
				switch {
				case h.Eligible:
					how = "eligible"
				case strings.EqualFold(h.AssignmentType, "Activated"):
					how = "activated"
				}
				return roleName(h.RoleDefinitionID) + " (" + how + ")"
			})
		},
	}
}

// roleName is the name of the roles that matter most; the others go by their id.
func roleName(id string) string {
	if strings.EqualFold(id, identity.GlobalAdministrator) {
		return "Global Administrator"
	}
	return "role " + line(id)
}

func removeRoles(d directory) action.Type {
	c := d.roles(action.Spec{
		Name: RemoveRoles, Effect: action.EffectRestrict, Undo: AssignRoles,
		Title:       "Remove directory roles",
		Summary:     "The person holds none of the directory roles any more, neither active nor eligible.",
		Permissions: []string{"RoleAssignmentSchedule.Remove.Directory", "RoleEligibilitySchedule.Remove.Directory", "RoleManagement.Read.Directory", "User.Read.All"},
		Remedies:    []signal.Cause{signal.CauseDirectory},
		Limits:      "Needs Privileged Identity Management. Roles held through a group stay: take the person out of the group. The last usable Global Administrator is protected. An activation that ends is not undone: the person activates again. Tokens already issued keep the roles up to about an hour.",
		Proof:       "None of the recorded roles is listed among the active or eligible assignments.",
		Params: action.Params{
			{Name: paramRole, Type: "string", Text: "Only this one: the role's template id; without it all."},
			{Name: paramRoles, Type: "string", Text: "Only these assignments: a JSON list as it is recorded."},
		},
	})
	c.already = "holds no directory role of its own"
	c.todo = func(r action.Request, there []roleHeld) (left []roleHeld, refuse string, err error) {
		only, _ := r.Params[paramRole].(string)
		if only != "" && !isGUID(strings.ToLower(only)) {
			return nil, "", fault.Errorf(fault.Invalid, "%s: %q is not a template id", paramRole, line(only))
		}
		named, err := rolesOf(r, false)
		if err != nil {
			return nil, "", err
		}
		through := false
		for _, h := range there {
			switch {
			case only != "" && !strings.EqualFold(h.RoleDefinitionID, only):
			case named != nil && !slices.ContainsFunc(named, func(n roleHeld) bool { return n.key() == h.key() }):
			case h.direct():
				left = append(left, h)
			default:
				through = true
			}
		}
		if len(left) == 0 && through {
			refuse = "the role is held through a group: take the person out of the group"
		}
		return left, refuse, nil
	}
	c.write = func(id string, _ action.Request, h roleHeld) graph.Request {
		return graph.Request{Method: http.MethodPost, Path: h.requests(), Body: map[string]any{
			"action": "adminRemove", "principalId": id, "roleDefinitionId": h.RoleDefinitionID, "directoryScopeId": h.DirectoryScopeID,
			"justification": "Containment by Cordon",
		}}
	}
	c.done = func(e *graph.Error) bool {
		return notThere(e) || e.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(e.Code+" "+e.Message), "doesnotexist")
	}
	return reversible[roleHeld]{c, func(list []roleHeld) map[string]any {
		return recorded(slices.DeleteFunc(slices.Clone(list), func(h roleHeld) bool {
			return !h.Eligible && strings.EqualFold(h.AssignmentType, "Activated") // the person activates again
		}))
	}}
}

// rolesOf reads the parameter that lists assignments; nil when it is not given and
// need not be.
func rolesOf(r action.Request, required bool) ([]roleHeld, error) {
	text, _ := r.Params[paramRoles].(string)
	if text == "" && !required {
		return nil, nil
	}
	var named []roleHeld
	if err := json.Unmarshal([]byte(text), &named); err != nil || len(named) == 0 || len(named) > maxGrants {
		return nil, fault.Errorf(fault.Invalid, "%s: not a JSON list of 1 to %d roles", paramRoles, maxGrants)
	}
	for _, n := range named {
		if !isGUID(strings.ToLower(n.RoleDefinitionID)) || !strings.HasPrefix(n.DirectoryScopeID, "/") {
			return nil, fault.Errorf(fault.Invalid, "%s: an entry names no role and scope", paramRoles)
		}
	}
	return named, nil
}

// recorded makes the parameter that rolesOf reads; nil of none.
func recorded(list []roleHeld) map[string]any {
	var back []roleHeld
	for _, h := range list {
		h.ID, h.PrincipalID, h.AssignmentType, h.MemberType = "", "", "", ""
		back = append(back, h)
	}
	if back == nil {
		return nil
	}
	return map[string]any{paramRoles: string(raw(back))}
}

func assignRoles(d directory) action.Type {
	c := d.roles(action.Spec{
		Name: AssignRoles, Effect: action.EffectRelease, Undo: RemoveRoles,
		Title:       "Assign directory roles again",
		Summary:     "The person holds the named directory roles again, active or eligible as they were.",
		Permissions: []string{"RoleAssignmentSchedule.ReadWrite.Directory", "RoleEligibilitySchedule.ReadWrite.Directory", "User.Read.All"},
		Limits:      "Needs Privileged Identity Management. Its permissions let their holder make anybody an administrator: give them only where undoing by Cordon is wanted. An assignment that has run out meanwhile is not made again.",
		Proof:       "Each of the named roles is listed among the active or eligible assignments.",
		Params:      action.Params{{Name: paramRoles, Type: "string", Required: true, Text: "What to give back: the JSON list that was recorded when it was taken."}},
	})
	c.already = "holds the named roles"
	c.todo = func(r action.Request, there []roleHeld) (left []roleHeld, refuse string, err error) {
		named, err := rolesOf(r, true)
		if err != nil {
			return nil, "", err
		}
		held := map[string]bool{}
		for _, h := range there {
			held[h.key()] = held[h.key()] || h.direct()
		}
		for _, n := range named {
			if !held[n.key()] {
				left = append(left, n)
			}
		}
		return left, "", nil
	}
	c.write = func(id string, _ action.Request, h roleHeld) graph.Request {
		expires := map[string]any{"type": "noExpiration"}
		if end := h.EndDateTime.At; !end.IsZero() {
			expires = map[string]any{"type": "afterDateTime", "endDateTime": end.UTC().Format(time.RFC3339)}
		}
		return graph.Request{Method: http.MethodPost, Path: h.requests(), Body: map[string]any{
			"action": "adminAssign", "principalId": id, "roleDefinitionId": h.RoleDefinitionID, "directoryScopeId": h.DirectoryScopeID,
			"justification": "Containment by Cordon is undone", "scheduleInfo": map[string]any{"expiration": expires},
		}}
	}
	c.done = func(e *graph.Error) bool {
		return (e.Status == http.StatusBadRequest || e.Status == http.StatusConflict) && strings.Contains(strings.ToLower(e.Code+" "+e.Message), "roleassignmentexists")
	}
	return reversible[roleHeld]{c, recorded}
}
