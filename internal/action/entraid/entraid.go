// Package entraid changes accounts in Microsoft Entra ID through Microsoft
// Graph: risk feedback, sessions, the enabled flag, passwords. Each action
// brings an account to a state and proves it by reading the directory.
//
// Sources: Microsoft Graph v1.0 reference (user, riskyUser), "Investigate and
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
)

// privilegedRole is what the app's service principal must hold to change an
// administrator. Source: Microsoft Graph, "Who can perform sensitive actions".
const privilegedRole = "Privileged Authentication Administrator"

// Types returns the actions, which all speak through client. A nil client gives
// types that describe themselves and can do nothing else.
func Types(client *graph.Client) []action.Type {
	d := directory{client}
	return []action.Type{
		confirmation{&feedback{directory: d, spec: confirmSpec(), path: "confirmCompromised", reached: confirmed, leaves: "adminConfirmedUserCompromised"}},
		&feedback{directory: d, spec: dismissSpec(), path: "dismiss", reached: closed},
		&revoke{d},
		&enabled{directory: d, want: false},
		&enabled{directory: d, want: true},
		&password{directory: d},
		&password{directory: d, handOver: true},
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
