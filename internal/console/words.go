package console

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/risk"
	"github.com/seed-f47efad2/cordon/internal/run"
	"github.com/seed-f47efad2/cordon/internal/signal"
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

// Name is what the kind of signal is displayed as; its type stands beside it.
func (p signalPage) Name() string { return detection.Title(p.Signal) }

// Detail says Microsoft's riskDetail in words.
func (p signalPage) Detail() string {
	if p.Signal.Source == signal.DefenderAlert {
		return ""
	}
	return risk.DetailWords(p.Signal.Detail)
}

// download answers with v as a file of JSON.
func (c *Console) download(w http.ResponseWriter, r *http.Request, name string, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		c.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	if _, err := w.Write(b); err != nil {
		c.log.DebugContext(r.Context(), "the browser went away during a download", "error", err)
	}
}
