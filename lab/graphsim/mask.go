package graphsim

import (
	"maps"
	"slices"
	"strings"
)

// Members of riskDetail declared after unknownFutureValue.
const hiddenDetails = " m365DAdminDismissedDetection adminConfirmedServicePrincipalCompromised " +
	"adminDismissedAllRiskForServicePrincipal userChangedPasswordOnPremises adminDismissedRiskForSignIn " +
	"adminConfirmedAccountSafe microsoftRevokedSessions "

// hiddenMembers returns the enum members of a property, each between spaces,
// that the service sends as "unknownFutureValue" unless the request says
// "Prefer: include-unknown-enum-members". From the CSDL of Graph v1.0.
func hiddenMembers(property string) string {
	switch property {
	case "activity":
		return " servicePrincipal "
	case "riskDetail", "detail":
		return hiddenDetails
	case "result":
		return " reportOnlySuccess reportOnlyFailure reportOnlyNotApplied reportOnlyInterrupted "
	case "status":
		return " awaitingAction "
	case "builtInControls":
		return " riskRemediation "
	case "includePlatforms", "excludePlatforms":
		return " linux "
	case "remediationStatus":
		return " active pendingApproval declined unremediated running partiallyRemediated "
	case "serviceSource":
		return " microsoftDefenderForCloud microsoftSentinel microsoftInsiderRiskManagement " +
			"microsoftThreatIntelligence microsoftSecurityForAI "
	case "detectionSource":
		return " microsoftDefenderForCloud microsoftDefenderForIoT microsoftDefenderForServers " +
			"microsoftDefenderForStorage microsoftDefenderForDNS microsoftDefenderForDatabases " +
			"microsoftDefenderForContainers microsoftDefenderForNetwork microsoftDefenderForAppService " +
			"microsoftDefenderForKeyVault microsoftDefenderForResourceManager microsoftDefenderForApiManagement " +
			"nrtAlerts scheduledAlerts microsoftDefenderThreatIntelligenceAnalytics builtInMl " +
			"microsoftInsiderRiskManagement microsoftThreatIntelligence microsoftDefenderForAIServices " +
			"securityCopilot microsoftSentinel "
	}
	return ""
}

// mask returns v with hidden enum members replaced, and whether any was. It
// copies what it changes and nothing else: objects are shared with the world.
// property is the name that v stands under.
func mask(property string, v any) (any, bool) {
	switch x := v.(type) {
	case string:
		if x != "" && strings.Contains(hiddenMembers(property), " "+x+" ") {
			return "unknownFutureValue", true
		}
	case map[string]any:
		out, changed := x, false
		for k, old := range x {
			n, diff := mask(k, old)
			if !diff {
				continue
			}
			if !changed {
				out, changed = maps.Clone(x), true
			}
			out[k] = n
		}
		return out, changed
	case []any:
		out, changed := x, false
		for i, old := range x {
			n, diff := mask(property, old)
			if !diff {
				continue
			}
			if !changed {
				out, changed = slices.Clone(x), true
			}
			out[i] = n
		}
		return out, changed
	}
	return v, false
}
