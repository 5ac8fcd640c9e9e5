package entraid_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/actiontest"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// agent returns another agent at risk each time.
func (l *lab) agent() identity.Ref {
	l.t.Helper()
	l.next++
	id := fmt.Sprintf("a9e47000-0000-4000-8000-%012d", l.next)
	l.happens(world.Event{Type: world.EventAgentDetection, Title: hostile, Of: id})
	return identity.Ref{Provider: identity.EntraID, Kind: identity.KindAgent, ObjectID: id, DisplayName: hostile}
}

func (l *lab) agentBench(b *actiontest.Bench, name action.Name) {
	b.Refused, b.Fresh = nil, l.agent
	b.State = func(r identity.Ref) any {
		for _, it := range l.world.RiskyAgents() {
			if v, _ := it.Value("riskState"); it.ID() == r.ObjectID {
				return v == "atRisk" || v == "confirmedCompromised"
			}
		}
		return nil
	}
	if name == entraid.ConfirmAgent { // at risk once, and not now
		b.Fresh = func() identity.Ref {
			r := l.agent()
			if _, err := l.world.AgentFeedback(world.Actor{}, world.Dismiss, []string{r.ObjectID}); err != nil {
				l.t.Fatal(err)
			}
			<-time.After(time.Minute)
			return r
		}
	}
}

// What Microsoft has found about an agent is not dismissed by taking our own word
// back.
func TestAgentRiskThatStood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, everything())
		typ := byName(l.client)[entraid.ConfirmAgent]
		look := typ.Look(t.Context(), []action.Request{{ID: "act_1", Account: l.agent(), ClientRequestID: "c1"}})[0]
		if look.Err != nil || look.Refuse != "" {
			t.Fatalf("look %+v", look)
		}
		if _, ok := typ.(action.Undoer).Undo(look.State); ok {
			t.Error("it would be undone by dismissing what stood before")
		}
	})
}
