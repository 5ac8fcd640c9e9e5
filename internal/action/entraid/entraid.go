// Package entraid changes accounts in Microsoft Entra ID through Microsoft
// Graph: of people risk feedback, sessions, the enabled flag, passwords, and of
// workloads the same, their credentials and what they were granted. Through
// Defender for Identity, which is Graph too, it reaches accounts of Active
// Directory and of Okta. Each action brings an account to a state and proves it by reading.
//
// Sources: Microsoft Graph v1.0 reference (user, riskyUser, servicePrincipal,
// application, appRoleAssignment, oAuth2PermissionGrant), "Investigate and
// remediate risk" for what each change does to the risk state, and "Who can
// perform sensitive actions" for administrators as targets.
package entraid

import (
	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// The names of the actions.
const (
	ConfirmCompromised action.Name = "entra.user.confirm_compromised"
	DismissRisk        action.Name = "entra.user.dismiss_risk"
	RevokeSessions     action.Name = "entra.user.revoke_sessions"
	Disable            action.Name = "entra.user.disable"
	Enable             action.Name = "entra.user.enable"
	ResetPassword      action.Name = "entra.user.reset_password"
	HandOverPassword   action.Name = "entra.user.hand_over_password"
	ConfirmSafe        action.Name = "entra.user.confirm_safe"

	ConfirmSignInsCompromised action.Name = "entra.user.confirm_sign_ins_compromised"
	ConfirmSignInsSafe        action.Name = "entra.user.confirm_sign_ins_safe"
	DismissSignIns            action.Name = "entra.user.dismiss_sign_ins"
	RequirePasswordChange     action.Name = "entra.user.require_password_change"
	LiftPasswordChange        action.Name = "entra.user.lift_password_change"
	RemoveMethods             action.Name = "entra.user.remove_methods"
	HandOverAccessPass        action.Name = "entra.user.hand_over_access_pass"
	BlockByGroup              action.Name = "entra.user.block_by_group"
	UnblockByGroup            action.Name = "entra.user.unblock_by_group"
	RemoveFromGroup           action.Name = "entra.user.remove_from_group"
	ReturnToGroup             action.Name = "entra.user.return_to_group"
	RemoveRoles               action.Name = "entra.user.remove_roles"
	AssignRoles               action.Name = "entra.user.assign_roles"
	DisableDevices            action.Name = "entra.user.disable_devices"
	EnableDevices             action.Name = "entra.user.enable_devices"
	DisableInboxRules         action.Name = "entra.user.disable_inbox_rules"
	EnableInboxRules          action.Name = "entra.user.enable_inbox_rules"

	DefenderDisable    action.Name = "defender.account.disable"
	DefenderEnable     action.Name = "defender.account.enable"
	DefenderForceReset action.Name = "defender.account.force_password_reset"

	DefenderOktaDisable action.Name = "defender.okta.disable"
	DefenderOktaEnable  action.Name = "defender.okta.enable"
	DefenderOktaRevoke  action.Name = "defender.okta.revoke_sessions"

	ClassifyAlerts           action.Name = "defender.alerts.classify"
	RestoreAlerts            action.Name = "defender.alerts.restore"
	ClassifyAlertsOnPremises action.Name = "defender.alerts.classify_on_premises"
	RestoreAlertsOnPremises  action.Name = "defender.alerts.restore_on_premises"

	ConfirmAgent     action.Name = "entra.agent.confirm_compromised"
	ConfirmAgentSafe action.Name = "entra.agent.confirm_safe"
	DismissAgent     action.Name = "entra.agent.dismiss_risk"

	DisableWorkload  action.Name = "entra.workload.disable"
	EnableWorkload   action.Name = "entra.workload.enable"
	ConfirmWorkload  action.Name = "entra.workload.confirm_compromised"
	DismissWorkload  action.Name = "entra.workload.dismiss_risk"
	RemoveCredential action.Name = "entra.workload.remove_credential"
	RevokeAppRoles   action.Name = "entra.workload.revoke_app_roles"
	RestoreAppRoles  action.Name = "entra.workload.restore_app_roles"
	RevokeConsent    action.Name = "entra.workload.revoke_consent"
	RestoreConsent   action.Name = "entra.workload.restore_consent"
)

// privilegedRole is what the app's service principal must hold to change an
// administrator. Source: Microsoft Graph, "Who can perform sensitive actions".
const privilegedRole = "Privileged Authentication Administrator"

// Types returns the actions, which all speak through client. A nil client gives
// types that describe themselves and can do nothing else.
func Types(client *graph.Client) []action.Type {
	d := directory{graph: client}
	return []action.Type{
		confirmation{&feedback{directory: d, subjects: people(d), spec: confirmSpec(), call: "confirmCompromised", reached: confirmed, leaves: "adminConfirmedUserCompromised"}},
		&feedback{directory: d, subjects: people(d), spec: dismissSpec(), call: "dismiss", reached: closed},
		&feedback{directory: d, subjects: people(d), spec: safeSpec(), call: "confirmSafe", reached: vouched},
		&revoke{d},
		&enabled{directory: d, want: false},
		&enabled{directory: d, want: true},
		&password{directory: d},
		&password{directory: d, handOver: true},
		signInFeedback(d, ConfirmSignInsCompromised),
		signInFeedback(d, ConfirmSignInsSafe),
		signInFeedback(d, DismissSignIns),
		&forced{directory: directory{client, ",passwordProfile"}, want: true},
		&forced{directory: directory{client, ",passwordProfile"}, want: false},
		removeMethods(d),
		&accessPass{d},
		&membership{directory: d, name: BlockByGroup},
		&membership{directory: d, name: UnblockByGroup},
		&membership{directory: d, name: RemoveFromGroup},
		&membership{directory: d, name: ReturnToGroup},
		removeRoles(d),
		assignRoles(d),
		disableDevices(d),
		enableDevices(d),
		disableInboxRules(d),
		enableInboxRules(d),
		invoke(d, DefenderDisable),
		invoke(d, DefenderEnable),
		invoke(d, DefenderForceReset),
		invoke(d, DefenderOktaDisable),
		invoke(d, DefenderOktaEnable),
		invoke(d, DefenderOktaRevoke),
		judge(d, ClassifyAlerts),
		judge(d, RestoreAlerts),
		judge(d, ClassifyAlertsOnPremises),
		judge(d, RestoreAlertsOnPremises),

		confirmation{&feedback{directory: d, subjects: workloads(d), spec: confirmWorkloadSpec(), call: "confirmCompromised", reached: confirmed, leaves: "adminConfirmedServicePrincipalCompromised"}},
		&feedback{directory: d, subjects: workloads(d), spec: dismissWorkloadSpec(), call: "dismiss", reached: closed},
		confirmation{&feedback{directory: d, subjects: atRiskAgents(d), spec: confirmAgentSpec(), call: "confirmCompromised", reached: confirmed}},
		&feedback{directory: d, subjects: atRiskAgents(d), spec: agentSafeSpec(), call: "confirmSafe", reached: vouched},
		&feedback{directory: d, subjects: atRiskAgents(d), spec: dismissAgentSpec(), call: "dismiss", reached: closed},
		&workloadEnabled{directory: d, want: false},
		&workloadEnabled{directory: d, want: true},
		&removeCredential{d},
		&grants{directory: d, kind: appRoles(), restore: false},
		&grants{directory: d, kind: appRoles(), restore: true},
		&grants{directory: d, kind: consents(), restore: false},
		&grants{directory: d, kind: consents(), restore: true},
	}
}

// Routes returns what playbooks may ask for by intent. Active Directory joins
// each route with its own actions.
func Routes() []action.Route {
	route := func(name action.Name, title string, to action.Name) action.Route {
		return action.Route{Name: name, Title: title, To: map[identity.Provider]action.Name{identity.EntraID: to}}
	}
	return []action.Route{
		route("identity.disable", "Disable the account in the directory that masters it", Disable),
		route("identity.enable", "Enable the account in the directory that masters it", Enable),
		route("identity.reset_password", "Reset the password in the directory that masters it", ResetPassword),
	}
}
