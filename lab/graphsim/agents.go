package graphsim

import "github.com/seed-f47efad2/cordon/lab/world"

// agentSpec is what the list of risky agents documents, in beta.
func agentSpec() *spec {
	s := &spec{typ: "riskyAgent", top: 20, max: 500, selects: true,
		filters: filters(opDate, names("riskLastModifiedDateTime"), opText, names("agentDisplayName"),
			opEq, names("id", "isDeleted", "isProcessing", "riskDetail", "riskLevel", "riskState", "identityType"))}
	s.props = properties(s.typ)
	return s
}

// onlyBeta answers as v1.0 does to what only beta knows.
func onlyBeta(run func(*call) (reply, error)) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		if c.version != "beta" {
			return reply{}, &graphError{400, "BadRequest", "Resource not found for the segment 'riskyAgents'."}
		}
		return run(c)
	}
}

func listAgents(c *call) (reply, error) {
	return c.page(listing{spec: c.route.spec, src: fromSlice(c.t.world.RiskyAgents()), context: "identityProtection/riskyAgents"})
}

func agentFeedback(v world.Verdict) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			IDs []string `json:"agentIds"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		return noContent(), c.apply(func() ([]world.Effect, error) { return c.t.world.AgentFeedback(c.actor(), v, in.IDs) })
	}
}
