package risk

import (
	"slices"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// TransitionID numbers a transition of Microsoft's life cycle of risk, T1 to T24.
type TransitionID string

// Password says whether whoever knew the password is shut out by a transition.
type Password string

// The answers.
const (
	PasswordNew      Password = "new"       // a new one was set
	PasswordSame     Password = "unchanged" // nothing happened to it
	PasswordNone     Password = "none"      // no password is involved
	PasswordUnproven Password = "unproven"  // it depends on what was done elsewhere
)

// A Transition is one way in which Microsoft Entra ID Protection's opinion of a
// user, of sign-ins and of detections changes. Source: "Remediate risks and unblock
// users" and "Investigate risk" of the product's documentation, and the enumeration
// riskDetail of Microsoft Graph.
type Transition struct {
	ID      TransitionID `json:"id"`
	Actor   string       `json:"actor"`   // who does it
	Act     string       `json:"act"`     // what they do
	Details []string     `json:"details"` // the riskDetail it leaves; none: it leaves no trace there
	// State is what the risk becomes of what it closes or confirms; empty: nothing
	// changes.
	State    signal.State `json:"state,omitempty"`
	Password Password     `json:"password"`
	Final    bool         `json:"final,omitempty"` // it cannot be undone
	Text     string       `json:"text"`            // what it means, for an analyst
}

// Transitions returns T1 to T24 in order.
func Transitions() []Transition {
	const (
		remediated = signal.StateRemediated
		dismissed  = signal.StateDismissed
		safe       = signal.StateConfirmedSafe
		confirmed  = signal.StateConfirmedCompromised
	)
	return []Transition{
		{"T1", "the user", "passes the multifactor authentication that a sign-in risk policy demanded", []string{"userPassedMFADrivenByRiskBasedPolicy"}, remediated, PasswordNone, false,
			"The sign-in is closed; what is known of the user otherwise stays. A stolen token carries the claim with it: of such sign-ins it proves nothing."},
		{"T2", "the user", "completes the secure password change that a policy demanded", []string{"userPerformedSecuredPasswordReset"}, remediated, PasswordNew, false,
			"Everything is closed and the password is new. Only \"require risk remediation\" revokes sessions as well."},
		{"T3", "the user", "resets the password through self-service", []string{"userPerformedSecuredPasswordReset"}, remediated, PasswordNew, false,
			"Everything is closed and the password is new."},
		{"T4", "the user, without a password", "signs in again after Microsoft revoked the sessions", []string{"microsoftRevokedSessions"}, remediated, PasswordNone, false,
			"Everything is closed with the next successful sign-in; there is no password to know."},
		{"T5", "the user, and Microsoft", "signs in again after Microsoft disabled the attacker's device and revoked the sessions", []string{"microsoftRevokedSessions"}, remediated, PasswordNone, false,
			"As T4, and the device that was added is disabled."},
		{"T6", "an administrator", "sets a temporary password", []string{"adminGeneratedTemporaryPassword"}, remediated, PasswordNew, false,
			"Everything is closed. The password is safe once the user has changed the temporary one."},
		{"T7", "the user, asked by an administrator", "makes a secure password change", []string{"userPerformedSecuredPasswordChange"}, remediated, PasswordNew, false,
			"Everything is closed and the password is new."},
		{"T8", "the user or an administrator", "changes the password in Active Directory, and the tenant lets that clear risk", []string{"userChangedPasswordOnPremises"}, remediated, PasswordNew, false,
			"Everything is closed and the password is new, in both directories."},
		{"T9", "the user or an administrator", "changes the password in Active Directory, and the tenant does not let that clear risk", nil, "", PasswordNew, false,
			"The password is new and the user is still shown at risk: the setting is off, as it is by default."},
		{"T10", "the user", "changes the password as everybody may", nil, "", PasswordNew, false,
			"The risk stays: whoever knew the password could have done the same."},
		{"T11", "an administrator", "dismisses the risk of the user", []string{"adminDismissedAllRiskForUser"}, dismissed, PasswordSame, true,
			"Everything is closed, and the password is what it was. It cannot be undone."},
		{"T12", "an administrator", "dismisses the risk of a sign-in", []string{"adminDismissedRiskForSignIn"}, dismissed, PasswordSame, true,
			"The sign-in is closed and the user is judged by what is left."},
		{"T13", "an administrator", "confirms a sign-in as safe", []string{"adminConfirmedSigninSafe"}, safe, PasswordSame, true,
			"The sign-in counts for nothing any more, and the engine learns from it."},
		{"T14", "an administrator", "confirms a sign-in as compromised", []string{"adminConfirmedSigninCompromised"}, confirmed, PasswordSame, true,
			"The user goes to high at once; nothing is reset, disabled or revoked."},
		{"T15", "an administrator", "confirms the user as compromised", []string{"adminConfirmedUserCompromised", "adminConfirmedServicePrincipalCompromised", "adminConfirmedAgentCompromised"}, confirmed, PasswordSame, false,
			"The user is high until remediated; nothing is reset, disabled or revoked."},
		{"T16", "an administrator", "confirms the user as safe", []string{"adminConfirmedAccountSafe", "adminConfirmedAgentSafe"}, safe, PasswordSame, true,
			"Everything is closed as a mistake and the engine learns the user anew. It cannot be undone."},
		{"T17", "an analyst in Microsoft Defender", "closes the alert of a detection", []string{"m365DAdminDismissedDetection"}, dismissed, PasswordSame, true,
			"The detection is dismissed here because its alert was closed there."},
		{"T18", "Microsoft", "finds the sign-in safe afterwards: a second factor, or a later model", []string{"aiConfirmedSigninSafe"}, dismissed, PasswordNone, false,
			"The sign-in is closed by the service itself."},
		{"T19", "the blocked user", "signs in from a familiar place or device", []string{"aiConfirmedSigninSafe"}, dismissed, PasswordNone, false,
			"The sign-in is closed by the service itself."},
		{"T20", "Microsoft", "finds several weak signals to be one attack", []string{"aiElevatedAccountRisk"}, signal.StateAtRisk, PasswordSame, false,
			"The user is high because of what came together; no single detection says so."},
		{"T21", "Microsoft", "acts itself: revokes sessions, or disables the user or a device", nil, "", PasswordUnproven, false,
			"The directory's audit log names Microsoft as the initiator; an administrator may take it back."},
		{"T22", "time", "passes six months over a low risk", nil, signal.StateNone, PasswordSame, false,
			"A low risk ages out. Nobody looked at it."},
		{"T23", "time", "passes over a medium or high risk", nil, "", PasswordSame, false,
			"Medium and high stay until somebody remediates or dismisses them."},
		{"T24", "an administrator", "confirms the user as compromised, waits until that is shown as high, and dismisses it", []string{"adminDismissedAllRiskForUser"}, dismissed, PasswordUnproven, true,
			"The way to close what was remediated elsewhere: the engine keeps the true positive."},
	}
}

// TransitionOf returns the transition of that number, and whether there is one.
func TransitionOf(id TransitionID) (Transition, bool) {
	all := Transitions()
	if n := slices.IndexFunc(all, func(t Transition) bool { return t.ID == id }); n >= 0 {
		return all[n], true
	}
	return Transition{}, false
}

// Explained says which transitions leave a riskDetail. Several may: T2 and T3 leave
// the same, and so do T4 and T5, T18 and T19, T11 and T24. A detail that says
// nothing (none, hidden) or that nobody knows has none.
func Explained(detail string) []Transition {
	var out []Transition
	for _, t := range Transitions() {
		if slices.Contains(t.Details, detail) {
			out = append(out, t)
		}
	}
	switch detail {
	case "adminDismissedAllRiskForServicePrincipal", "adminDismissedRiskForAgent":
		t, _ := TransitionOf("T11")
		out = append(out, t)
	}
	return out
}

// DetailWords says a riskDetail in words, with Microsoft's own word left to who
// shows it; "" for one that says nothing.
func DetailWords(detail string) string {
	switch detail {
	case "", "none":
		return ""
	case "hidden":
		return "the licence hides what happened"
	case "unknownFutureValue":
		return "something this version of the interface has no word for"
	}
	t := Explained(detail)
	if len(t) == 0 {
		return "a word that Cordon does not know"
	}
	text := t[0].Actor + " " + t[0].Act
	if len(t) > 1 {
		text += ", or " + t[1].Actor + " " + t[1].Act
	}
	return text
}
