package console

import (
	"bytes"
	"encoding/json"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// What the filters of the lists offer.

// Statuses are the statuses of cases, open ones first.
func (queuePage) Statuses() []string {
	return []string{string(casefile.Open), string(casefile.Waiting), string(casefile.Acting), string(casefile.Contained), string(casefile.Closed)}
}

// Levels are the levels of a case.
func (queuePage) Levels() []string { return []string{"high", "medium", "low"} }

// ByStatus counts the cases, by the word of their status.
func (p queuePage) ByStatus() map[string]int {
	out := map[string]int{}
	for s, n := range p.Queue.Counts.Cases {
		out[string(s)] = n
	}
	return out
}

// States are the states of runs.
func (runsPage) States() []string {
	var out []string
	for _, s := range []run.State{run.Settling, run.Waiting, run.Acting, run.Contained, run.Done, run.HeldState, run.Refused, run.Observed, run.Failed, run.Rejected, run.Expired, run.Cancelled} {
		out = append(out, string(s))
	}
	return out
}

// States are the states of requests, and all of them.
func (approvalsPage) States() []string {
	return []string{"pending", "approved", "rejected", "expired", "void", "all"}
}

// States are the states of actions.
func (actionsPage) States() []string {
	return []string{"requested", "approved", "held", "running", "accepted", "unconfirmed", "verified", "failed", "refused", "reverted", "expired", "cancelled"}
}

// maxRaw bounds how much of a raw record a page shows, in characters.
const maxRaw = 20_000

// Raw is the signal's raw record, indented, with what could mislead replaced.
func (p signalPage) Raw() string {
	var b bytes.Buffer
	if err := json.Indent(&b, p.Signal.Raw, "", "  "); err != nil {
		return "not kept"
	}
	var out bytes.Buffer
	for n, line := range bytes.Split(b.Bytes(), []byte("\n")) {
		if out.Len() > maxRaw {
			out.WriteString("\n…")
			break
		}
		if n > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(clip(maxRaw, string(line)))
	}
	return out.String()
}
