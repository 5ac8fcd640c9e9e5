package entraid

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// several makes the writes that one target takes, in order, and sums up what
// became of them. Those that are done already (gone says so of a refusal) count as
// taken. Once some were taken and others not, the outcome is Unknown: what the
// action replaced was recorded before the first, and must not be recorded anew.
func (d directory) several(ctx context.Context, spec action.Spec, writes []graph.Request, gone func(*graph.Error) bool) action.Outcome {
	var sum action.Outcome
	taken := 0
	for len(writes) > 0 {
		n := min(len(writes), graph.MaxBatch)
		for _, o := range d.together(ctx, spec, writes[:n], gone) {
			sum.Requests++
			if o.RequestID != "" && (sum.RequestID == "" || o.Verdict != action.Accepted) {
				sum.RequestID = o.RequestID
			}
			sum.Pressure, sum.After, sum.Throttled = max(sum.Pressure, o.Pressure), max(sum.After, o.After), sum.Throttled || o.Throttled
			if o.Verdict == action.Accepted {
				taken++
			} else if worse(o.Verdict, sum.Verdict) {
				sum.Verdict, sum.Reason = o.Verdict, o.Reason
			}
		}
		writes = writes[n:]
		if sum.Verdict != "" {
			break
		}
	}
	switch {
	case sum.Verdict == "":
		sum.Verdict = action.Accepted
	case taken > 0:
		sum.Verdict, sum.Reason = action.Unknown, fmt.Sprintf("%d changes were taken and others not: %s", taken, sum.Reason)
	}
	return sum
}

// worse orders what did not work: what may have happened counts before what may be
// asked again, and that before what was refused.
func worse(a, than action.Verdict) bool {
	rank := map[action.Verdict]int{action.Refused: 1, action.Later: 2, action.Unknown: 3}
	return rank[a] > rank[than]
}

// together sends up to graph.MaxBatch writes in one request.
func (d directory) together(ctx context.Context, spec action.Spec, writes []graph.Request, gone func(*graph.Error) bool) []action.Outcome {
	judge := func(res graph.Response, err error) action.Outcome {
		var e *graph.Error
		if errors.As(err, &e) && gone(e) {
			err = nil
		}
		o := outcome(spec, res, err)
		o.RequestID, o.Pressure = res.RequestID, res.Throttle.Percentage
		return o
	}
	if len(writes) == 1 {
		w := writes[0]
		w.Priority = graph.High
		res, err := d.graph.Do(ctx, w)
		return []action.Outcome{judge(res, err)}
	}
	parts := make([]graph.Part, len(writes))
	for n, w := range writes {
		w.Priority = graph.High
		parts[n] = graph.Part{Request: w}
	}
	res, err := d.graph.Batch(ctx, parts)
	if err != nil {
		return []action.Outcome{judge(res.Response, err)}
	}
	out := make([]action.Outcome, len(parts))
	for n, p := range res.Parts {
		out[n] = judge(p.Response, p.Err)
		if out[n].RequestID == "" {
			out[n].RequestID = res.Response.RequestID
		}
	}
	return out
}

// notThere reports a refusal because what was to be removed is not there.
func notThere(e *graph.Error) bool { return errors.Is(e, fault.NotFound) }
