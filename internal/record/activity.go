package record

import (
	"slices"
	"strings"
)

// An Activity is something that an audit log tells of and that Microsoft's guide to
// security operations asks to watch.
type Activity struct {
	Name  string   `json:"name"`  // as the log spells it, or the number of a Windows event
	Means string   `json:"means"` // for people
	Rows  []string `json:"rows"`  // that ask for it, by the numbers of Cordon's reference
}

// activities are the activities of Entra's audit log, and the events of domain
// controllers, that the guide names or describes. Sources: Microsoft Entra security
// operations guide; audit activity reference; Windows security events.
func activities() []Activity {
	list := []Activity{}
	for _, row := range [][3]string{
		{"Add user", "an account was made", "UA1 UA2 UA3 UA4 UA5 UA6 UA9 UA10 PA24"},
		{"Delete user", "an account was deleted", "UA1 UA2 UA4 UA9"},
		{"Update user", "an account was changed; so a guest becomes a member", "UA28 PA19"},
		{"Invite external user", "a guest was invited", "UA29 PA20"},
		{"Add member to role", "a directory role was given", "UA4 AP3 PA24 DE8"},
		{"Add member to role (permanent)", "a directory role was given for good, outside Privileged Identity Management", "PA31"},
		{"Add member to role completed (PIM activation)", "an eligible role was activated", "PA32"},
		{"Add member to role completed (eligible)", "somebody may activate a role", "PA30"},
		{"Add eligible member to role", "somebody may activate a role", "AP3 PA26 PI10"},
		{"Add eligible member (permanent)", "somebody may activate a role for good", "PA26 PI10"},
		{"Add eligible member (eligible)", "somebody may activate a role", "PA26 PI10"},
		{"Add eligible member to role in PIM completed (time bound)", "somebody may activate a role for a time", "PA26 PA30 PI10"},
		{"Add eligible member to role in PIM completed (permanent)", "somebody may activate a role for good", "PA26 PA30 PI10"},
		{"Add scoped member to role", "a directory role was given over a part of the tenant", "AP3"},
		{"Remove eligible member", "somebody may not activate a role any more", "PI11"},
		{"Update role setting in PIM", "what activating a role asks for was changed", "PA34 PI12"},
		{"Disable PIM alert", "an alert of Privileged Identity Management was switched off", "PA17 PI14"},
		{"Request approved", "an elevation was approved", "PA33 PI13"},
		{"Request denied", "an elevation was denied", "PA33 PI13"},
		{"Assigns the caller to user access admin", "somebody made themselves administrator of all Azure subscriptions", "PA36"},
		{"Update application", "an application was changed: addresses, identifiers, credentials", "AP1 AP14 AP15 AP16 AP18"},
		{"Update application - Certificates and secrets management", "an application's credentials were changed", "AP1"},
		{"Update service principal", "a service principal was changed", "AP1 AP14 AP15 AP16 AP18"},
		{"Add service principal credentials", "an application was given a credential", "AP1"},
		{"Add app role assignment to service principal", "an application was given a permission of its own", "AP4 AP6 AP7"},
		{"Add delegated permission grant", "an application may act for people", "AP5 AP6 AP8"},
		{"Consent to application", "somebody let an application act for them or for all", "AP10 AP11"},
		{"Add owner to application", "somebody may change the application now", "AP17"},
		{"Add owner to service principal", "somebody may change the service principal now", "AP17"},
		{"Fraud reported - user is blocked for MFA", "somebody reported a prompt that was not theirs, and is blocked", "PA10"},
		{"Fraud reported - no action taken", "somebody reported a prompt that was not theirs", "PA10"},
		{"Reset user password", "an administrator set a password", "PA14"},
		{"Reset password (by admin)", "an administrator set a password", "PA14"},
		{"Reset password (self-service)", "somebody set their password without knowing the old one", "PA14"},
		{"Change user password", "a password was changed", "PA14"},
		{"Change password (self-service)", "a password was changed", "PA14"},
		{"User registered security info", "somebody registered a method to sign in", "PA25"},
		{"User registered security information", "somebody registered a method to sign in", "PA25"},
		{"User deleted security info", "somebody removed a method to sign in", "PA25"},
		{"User changed default security info", "somebody's usual method to sign in is another", "PA25"},
		{"Admin registered security info", "an administrator registered a method for somebody, such as a Temporary Access Pass", "PA29"},
		{"Set device registration policies", "who may register devices, and whether it takes a second factor, was changed", "DE2"},
		{"Read BitLocker key", "a recovery key was read", "DE7"},
		{"Create Company", "one of ours made another tenant", "IF14"},
		{"Add conditional access policy", "an access rule was made", "IF33 DE3"},
		{"Update conditional access policy", "an access rule was changed", "IF35 DE3"},
		{"Delete conditional access policy", "an access rule was removed", "IF34 DE3"},
		{"Add named location", "a place was made known to access rules", "DE3"},
		{"Update named location", "a place that access rules know was changed", "DE3"},
		{"Remove member from group", "somebody left a group, which an access rule may go by", "IF36"},
		{"Add member to group", "somebody joined a group, which an access rule may go by", "IF37"},
		{"4699", "a scheduled task was deleted", "IF29"},
		{"4701", "a scheduled task was switched off", "IF29"},
		{"4702", "a scheduled task was changed", "IF29"},
	} {
		list = append(list, Activity{Name: row[0], Means: row[1], Rows: strings.Fields(row[2])})
	}
	return list
}

// known are the activities by their names as they are compared, the longest first.
var known = func() (list []Activity) {
	list = activities()
	slices.SortStableFunc(list, func(a, b Activity) int { return len(b.Name) - len(a.Name) })
	return list
}()

// Activities returns the activities that are understood.
func Activities() []Activity { return activities() }

// ActivityOf returns what the record tells of, and whether that is one of the
// activities. Case, blanks and the length of dashes do not count, and what follows the
// name in the log does not either ("Add member to role completed (PIM activation)" is
// also "Add member to role").
func ActivityOf(r Record) (Activity, bool) {
	if r.Source != DirectoryAudit && r.Source != WindowsEvent && r.Source != DirectoryChange {
		return Activity{}, false
	}
	name := activityName(r.Type)
	for _, a := range known {
		if rest, ok := strings.CutPrefix(name, activityName(a.Name)); ok && (rest == "" || rest[0] == ' ' || rest[0] == '.') {
			return a, true
		}
	}
	return Activity{}, false
}

var dashes = strings.NewReplacer("–", "-", "—", "-", "\u2011", "-", "\u00a0", " ")

func activityName(s string) string {
	return strings.ToLower(strings.Join(strings.Fields(dashes.Replace(s)), " "))
}
