package world

import (
	"slices"
	"strings"
	"time"
)

// agents is ID Protection for agents, which Graph has in beta only. An agent is
// known here once something was detected about it.
type agents struct{ list []*agentRisk }

type agentRisk struct {
	id, name             string
	state, level, detail string
	updated              time.Time
	processing           int
}

func (r *agentRisk) object() Object {
	return Object{
		"@odata.type": "#microsoft.graph.riskyAgentIdentity", "id": r.id, "agentDisplayName": r.name, "blueprintId": nil,
		"identityType": "agentIdentity", "isDeleted": false, "isEnabled": true, "isProcessing": r.processing > 0,
		"riskDetail": r.detail, "riskLevel": r.level, "riskState": r.state, "riskLastModifiedDateTime": stamp(r.updated),
	}
}

// RiskyAgents lists the agents that were ever at risk, oldest first.
func (w *World) RiskyAgents() []Item {
	w.rlock()
	defer w.mu.RUnlock()
	out := make([]Item, len(w.agents.list))
	for i, r := range w.agents.list {
		out[i] = &record{r.id, r.object()}
	}
	return out
}

func (w *World) agent(id string) *agentRisk {
	i := slices.IndexFunc(w.agents.list, func(r *agentRisk) bool { return r.id == strings.ToLower(id) })
	if i < 0 {
		return nil
	}
	return w.agents.list[i]
}

// AgentFeedback is POST /identityProtection/riskyAgents/{verdict} in beta.
// Asynchronous like feedback on people.
func (w *World) AgentFeedback(a Actor, v Verdict, ids []string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ids, err := checkIDs("agentIds", ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if w.agent(id) == nil {
			return nil, refuse(404, "ResourceNotFound", "Agent '%s' does not exist in the tenant.", id)
		}
	}
	after := map[Verdict][3]string{
		ConfirmCompromised: {stateCompromised, levelHigh, "adminConfirmedAgentCompromised"},
		ConfirmSafe:        {stateSafe, levelNone, "adminConfirmedAgentSafe"},
		Dismiss:            {stateDismissed, levelNone, "adminDismissedRiskForAgent"},
	}[v]
	c := &change{w: w, at: now, actor: a}
	due := plus(now, w.delays.Feedback)
	for _, id := range ids {
		r := w.agent(id)
		if v != ConfirmCompromised && !isOpen(r.state) {
			continue
		}
		r.processing++
		c.did("riskyAgents/"+r.id, "isProcessing", r.processing > 1, true)
		c.later("riskyAgents/"+r.id, "riskState", r.state, after[0], due)
		w.after(now, due, func(at time.Time) {
			r.processing--
			r.state, r.level, r.detail, r.updated = after[0], after[1], after[2], at
		})
	}
	return c.effects, nil
}

// applyAgentDetection puts the agent called Title at risk; Of gives its id, "" a
// new one.
func (c *change) applyAgentDetection(e Event) error {
	id := strings.ToLower(e.Of)
	if id == "" {
		id = c.w.newID()
	}
	r := c.w.agent(id)
	if r == nil {
		r = &agentRisk{id: id}
		c.w.agents.list = append(c.w.agents.list, r)
	}
	level := e.RiskLevel
	if level == "" {
		level = levelMedium
	}
	c.did("riskyAgents/"+id, "riskState", r.state, stateAtRisk)
	r.name, r.state, r.level, r.detail, r.updated = e.Title, stateAtRisk, level, "none", c.at
	c.named(e.Name, id)
	return nil
}
