package risk

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// The thresholds of the score and the least score of each level.
const (
	lowFrom    = 20
	mediumFrom = 40
	highFrom   = 70
)

func levelOf(score int) signal.Level {
	switch {
	case score >= highFrom:
		return signal.LevelHigh
	case score >= mediumFrom:
		return signal.LevelMedium
	case score >= lowFrom:
		return signal.LevelLow
	}
	return signal.LevelNone
}

func leastScore(l signal.Level) int { return [...]int{0, lowFrom, mediumFrom, highFrom}[l.Rank()] }

// prior is the probability a level stands for when the type has none of its own.
func prior(l signal.Level) float64 { return [...]float64{0.02, 0.15, 0.40, 0.80}[l.Rank()] }

// A contribution is one signal that counts.
type contribution struct {
	text       string
	p          float64
	floor      signal.Level
	cause      signal.Cause
	stage      string
	product    string
	group      string
	source     signal.Source
	externalID string
	at         time.Time
}

// Assess returns the assessment of in at now. It is a noisy-OR of the open
// signals' probabilities, each decayed by its type's half-life, the same type
// from the same place counting once; signals of several products or kill-chain
// stages within a day corroborate each other; the result is never below the
// highest level a source itself holds for an account, nor below low while a source
// holds a detection of low or more open; that then stands as a line of its own.
// The order of in.Signals and duplicates change nothing.
func Assess(in Input, now time.Time) Assessment {
	groups := contributions(in, now)
	out := Assessment{Tenant: in.Tenant, Identity: in.Identity, Rules: Rules, At: now}

	// Marginal contributions in the order of strength: each line is what the
	// score rises by when this signal joins the ones above it.
	var marginal []float64
	prev := 0.0
	for n := range groups {
		s := score(groups[:n+1])
		marginal = append(marginal, s-prev)
		prev = s
	}
	total := int(math.Round(prev))
	points := largestRemainder(marginal, total)
	for n, g := range groups {
		out.Reasons = append(out.Reasons, Reason{Text: g.text, Points: points[n], Source: g.source, Signal: g.externalID, At: g.at})
		if !slices.Contains(out.Causes, g.cause) {
			out.Causes = append(out.Causes, g.cause)
		}
	}
	floor, why := floorOf(in, groups)
	if least := leastScore(floor); least > total {
		out.Reasons = append(out.Reasons, Reason{Text: why, Points: least - total})
		total = least
	}
	out.Score, out.Level = total, levelOf(total)
	return out
}

// A group is the same attack from the same place: only the strongest signal adds
// to the score, however often and in whatever format it is told; all of them
// corroborate others.
type group struct {
	contribution
	all []contribution
}

// contributions returns the groups of in that count, strongest first.
func contributions(in Input, now time.Time) []group {
	best := map[string]group{}
	for _, s := range in.Signals {
		if !counts(s, in) {
			continue
		}
		t, known := detection.Of(s)
		p := t.Prior
		if p == 0 {
			p = prior(s.Level)
		}
		if days := now.Sub(s.At()).Hours() / 24; t.HalfLife > 0 && days > 0 {
			p *= math.Exp2(-days / t.HalfLife)
		}
		text := cmp.Or(s.Title, s.Type)
		if !known {
			text += " (a kind of signal Cordon does not know; scored by its level)"
		}
		if s.IP != "" {
			text += " from " + s.IP
		}
		c := contribution{
			text: text, p: p, floor: t.Floor, cause: t.Cause, stage: t.Tactic, product: s.Source.Product(),
			group: t.Attack + "|" + s.IP, source: s.Source, externalID: s.ExternalID, at: s.At(),
		}
		g, known := best[c.group]
		if g.all = append(g.all, c); !known || byStrength(c, g.contribution) < 0 {
			g.contribution = c
		}
		best[c.group] = g
	}
	out := make([]group, 0, len(best))
	for _, g := range best {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b group) int { return byStrength(a.contribution, b.contribution) })
	return out
}

func byStrength(a, b contribution) int {
	return cmp.Or(cmp.Compare(b.p, a.p), a.at.Compare(b.at), strings.Compare(string(a.source), string(b.source)),
		strings.Compare(a.externalID, b.externalID), strings.Compare(a.group, b.group), strings.Compare(a.text, b.text))
}

// counts reports whether a signal still speaks: its source keeps it open and no
// later verdict of an operator closed it.
func counts(s signal.Signal, in Input) bool {
	if !s.State.Open() {
		return false
	}
	v := in.Verdict
	return v.Word != "safe" && v.Word != "benign" || s.UpdatedAt.After(v.At)
}

// Unheard reports whether something open speaks that the last verdict did not
// know, whatever its word: without one, anything open. A source's record of a
// verdict, our own confirmation perhaps, is nothing new.
func Unheard(in Input) bool {
	for _, s := range in.Signals {
		switch {
		case !s.State.Open():
		case in.Verdict.Word == "", !s.Feedback() && firstTold(s).After(in.Verdict.At):
			return true
		case in.Verdict.Word != "compromised" && !s.Feedback() && s.UpdatedAt.After(in.Verdict.At):
			return true
		}
	}
	accounts := slices.Clone(in.Accounts)
	slices.SortFunc(accounts, func(a, b signal.AccountRisk) int {
		return cmp.Or(strings.Compare(a.Subject.Name(), b.Subject.Name()), strings.Compare(string(a.State), string(b.State)), strings.Compare(string(a.Level), string(b.Level)))
	})
	for _, a := range accounts {
		if a.State.Open() && !a.Deleted && (in.Verdict.Word == "" || in.Verdict.Word != "compromised" && a.UpdatedAt.After(in.Verdict.At)) {
			return true
		}
	}
	return false
}

// firstTold is when the source first had the signal.
func firstTold(s signal.Signal) time.Time {
	if !s.DetectedAt.IsZero() {
		return s.DetectedAt
	}
	return s.At()
}

// score is the noisy-OR of the groups with corroboration, 0 to 100. Another group
// never lowers it.
func score(groups []group) float64 {
	rest := 1.0
	for _, g := range groups {
		rest *= 1 - g.p
	}
	p := 1 - rest
	if p <= 0 {
		return 0
	}
	p = math.Min(p, 0.999999)
	odds := p / (1 - p) * corroboration(groups)
	return 100 * odds / (1 + odds)
}

// corroboration is the factor on the odds when signals of several products or
// kill-chain stages fall within one day: the best day counts, 1 to 4.
func corroboration(groups []group) float64 {
	best := 1.0
	for _, g := range groups {
		for _, anchor := range g.all {
			best = math.Max(best, dayBefore(anchor.at, groups))
		}
	}
	return math.Min(best, 4)
}

func dayBefore(end time.Time, groups []group) float64 {
	var stages, products []string
	for _, g := range groups {
		for _, c := range g.all {
			if age := end.Sub(c.at); c.p < 0.1 || age < 0 || age > 24*time.Hour {
				continue
			}
			if !slices.Contains(stages, c.stage) {
				stages = append(stages, c.stage)
			}
			if !slices.Contains(products, c.product) {
				products = append(products, c.product)
			}
		}
	}
	return 1 + 0.5*float64(max(0, len(stages)-1)) + 0.5*float64(max(0, len(products)-1))
}

// floorOf returns the level no assessment may fall below and why: the highest
// level a source holds for an account, a signal whose type has a floor, or low
// while any is open.
func floorOf(in Input, groups []group) (signal.Level, string) {
	floor, why := signal.LevelNone, ""
	raise := func(l signal.Level, text string) {
		if l.Rank() > floor.Rank() {
			floor, why = l, text
		}
	}
	for _, g := range groups {
		raise(g.floor, fmt.Sprintf("%s is never below %s until it is remediated", g.text, g.floor))
	}
	accounts := slices.Clone(in.Accounts)
	slices.SortFunc(accounts, func(a, b signal.AccountRisk) int {
		return cmp.Or(strings.Compare(a.Subject.Name(), b.Subject.Name()), strings.Compare(string(a.State), string(b.State)), strings.Compare(string(a.Level), string(b.Level)))
	})
	for _, a := range accounts {
		if a.State.Open() && !a.Deleted && (in.Verdict.Word == "" || a.UpdatedAt.After(in.Verdict.At) || in.Verdict.Word == "compromised") {
			raise(a.Level, fmt.Sprintf("Microsoft Entra ID Protection holds %s at %s (%s)", a.Subject.Name(), a.Level, a.State))
		}
	}
	for _, s := range in.Signals {
		switch {
		case !counts(s, in):
		case s.State == signal.StateConfirmedCompromised:
			raise(signal.LevelHigh, "confirmed compromised at its source")
		case s.Level.Rank() >= signal.LevelLow.Rank():
			// However little its type says and however old it is: what its source holds
			// open is not nothing. How much higher is the account's level to say.
			raise(signal.LevelLow, "its source still holds a detection open")
		}
	}
	if in.Verdict.Word == "compromised" && speaks(in) {
		raise(signal.LevelHigh, "an operator's verdict: compromised; its source has not closed it yet")
	}
	return floor, why
}

// speaks reports whether any source still holds anything open.
func speaks(in Input) bool {
	return slices.ContainsFunc(in.Signals, func(s signal.Signal) bool { return s.State.Open() }) ||
		slices.ContainsFunc(in.Accounts, func(a signal.AccountRisk) bool { return a.State.Open() && !a.Deleted })
}

// largestRemainder rounds parts to integers that sum to total, giving the spare
// points to the largest fractions and, among equals, to the first.
func largestRemainder(parts []float64, total int) []int {
	out := make([]int, len(parts))
	order := make([]int, len(parts))
	sum := 0
	for n, p := range parts {
		out[n] = int(math.Floor(p))
		sum += out[n]
		order[n] = n
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(parts[b]-math.Floor(parts[b]), parts[a]-math.Floor(parts[a]))
	})
	for n := 0; sum < total && len(order) > 0; n, sum = n+1, sum+1 {
		out[order[n%len(order)]]++
	}
	return out
}
