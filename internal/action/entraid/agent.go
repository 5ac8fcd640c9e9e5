package entraid

import "github.com/seed-f47efad2/cordon/internal/action"

// atRiskAgents are agents, which Graph has in beta only: who leaves the stream of
// agents switched off has none in Cordon, and these actions are never asked for.
func atRiskAgents(directory) subjects {
	return subjects{atRisk: "riskyAgents", fields: "id,isDeleted,isProcessing,riskLevel,riskState,riskDetail", ids: "agentIds", beta: true}
}

func agentSpec() action.Spec {
	s := feedbackSpec()
	s.Permissions = []string{"IdentityRiskyAgent.ReadWrite.All"}
	return s
}

const inBeta = "Graph offers it in beta only, and may change it. Only for agents that Entra ID Protection holds at risk or did."

func confirmAgentSpec() action.Spec {
	s := agentSpec()
	s.Name, s.Title = ConfirmAgent, "Confirm the agent compromised"
	s.Summary = "Entra ID Protection counts the agent as compromised, at high risk: risk-based access rules for agents apply."
	s.Undo = DismissAgent
	s.Proof = "`riskState` is `confirmedCompromised` and nothing is being processed."
	s.Limits = inBeta + " It disables nothing by itself: that is for the agent's sponsor. Undone only where no risk stood before."
	return s
}

func agentSafeSpec() action.Spec {
	s := agentSpec()
	s.Name, s.Title = ConfirmAgentSafe, "Confirm the agent safe"
	s.Summary = "Entra ID Protection counts the agent as safe, and its detections as false."
	s.Proof = "`riskState` is `confirmedSafe` or `none`, and nothing is being processed."
	s.Irreversible = "Microsoft offers no way to reopen a risk that was closed"
	s.Limits = inBeta
	return s
}

func dismissAgentSpec() action.Spec {
	s := agentSpec()
	s.Name, s.Title = DismissAgent, "Dismiss the agent's risk"
	s.Summary = "Entra ID Protection counts the agent as not at risk."
	s.Proof = "`riskState` is `none`, `dismissed` or another closed state, and nothing is being processed."
	s.Irreversible = "Microsoft offers no way to reopen a risk that was dismissed"
	s.Limits = inBeta
	return s
}
