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

// Assess returns the assessment of in at now with the standard weights. It is a
// noisy-OR of the open signals' probabilities, each decayed by its kind's
// half-life, the same attack from the same place counting once; signals of several
// products or kill-chain stages within a day corroborate each other, whichever
// account they are about. Each account is judged alone and the highest one is the
// identity's; what is known of the others stands beside it. The result is never
// below the highest level a source itself holds for an account, nor below low while
// a source holds a detection of low or more open; that then stands as a line of its
// own. The order of in.Signals and duplicates change nothing.
func Assess(in Input, now time.Time) Assessment { return AssessWith(nil, in, now) }

// AssessWith is Assess with other weights; nil means the standard ones.
func AssessWith(w *Weights, in Input, now time.Time) Assessment {
	n := w.numbers()
	out := Assessment{Tenant: in.Tenant, Identity: in.Identity, Rules: Rules, At: now}
	if n.custom != nil {
		out.Rules = w.Version()
	}
	var book accountBook
	list := n.contributions(in, now, &book)
	floors := n.floors(in, list, &book)

	best, accounts := n.judge(list, floors, &book)
	lines := arrange(list, best)
	marginal := make([]float64, len(lines))
	prev, rest, days := 0.0, 1.0, daybook{n: &n}
	for k, l := range lines {
		for _, m := range l.members {
			days.add(list[m])
		}
		if l.counts {
			rest *= 1 - list[l.lead].p
		}
		s := score(rest, days.factor())
		marginal[k], prev = s-prev, s
	}
	total := int(math.Round(prev))
	points := largestRemainder(marginal, total)
	out.Reasons = make([]Reason, 0, len(lines)+1)
	several := len(book.list) > 1
	for k, l := range lines {
		c := list[l.lead]
		r := Reason{Text: c.text(), Points: points[k], Source: c.s.Source, Signal: c.s.ExternalID, At: c.at, Lowered: c.lowered}
		if c.s.Type != c.s.Title {
			r.Type = c.s.Type
		}
		if several {
			r.Account = book.names(c.accounts)
		}
		if !l.counts {
			r.Text += "; the highest account counts, and this is not about it"
		}
		out.Reasons = append(out.Reasons, r)
		if !slices.Contains(out.Causes, c.e.Cause) {
			out.Causes = append(out.Causes, c.e.Cause)
		}
	}
	f := floors[best]
	if least := n.leastScore(f.level); least > total {
		r := Reason{Text: f.why, Points: least - total}
		if several {
			r.Account = book.names(1 << best)
		}
		out.Reasons = append(out.Reasons, r)
		total = least
	}
	out.Score, out.Level = total, n.levelOf(total)
	if several {
		out.Accounts = accounts
	}
	out.Notes = notes(in)
	return out
}

// A contribution is one signal that counts.
type contribution struct {
	s        *signal.Signal
	e        detection.Entry
	known    bool
	p        float64
	floor    signal.Level
	attack   string
	at       time.Time
	micros   int64  // of at
	accounts uint64 // of the accountBook, one bit each
	lowered  []string
	said     string // what lowered it
}

// text is the line of the explanation; only those that are shown need one.
func (c *contribution) text() string {
	var b strings.Builder
	b.WriteString(detection.Title(*c.s))
	if !c.known {
		b.WriteString(" (a kind of signal Cordon does not know; scored by its level)")
	}
	if c.s.IP != "" {
		b.WriteString(" from ")
		b.WriteString(c.s.IP)
	}
	b.WriteString(c.said)
	return b.String()
}

// contributions returns what counts, strongest first.
func (n *numbers) contributions(in Input, now time.Time, book *accountBook) []*contribution {
	book.fill(in)
	arena := make([]contribution, len(in.Signals))
	list := make([]*contribution, 0, len(in.Signals))
	for k := range in.Signals {
		s := &in.Signals[k]
		if !counts(s, &in) {
			continue
		}
		c := &arena[k]
		c.s, c.at = s, s.At()
		c.micros = c.at.UnixMicro()
		c.e, c.known = detection.Of(*s)
		var halfLife float64
		c.p, halfLife, c.floor = n.of(&c.e)
		if c.p == 0 {
			c.p = n.prior(s.Level)
		}
		if days := now.Sub(c.at).Hours() / 24; halfLife > 0 && days > 0 {
			c.p *= math.Exp2(-days / halfLife)
		}
		c.except(in, now)
		if !s.State.Open() {
			c.said += "; closed in Defender, " + made(*s) + ", and counts until a verdict is given here"
		}
		c.attack, c.accounts = c.e.Attack, book.of(s.Subject)
		list = append(list, c)
	}
	slices.SortFunc(list, byStrength)
	return slices.CompactFunc(list, func(a, b *contribution) bool {
		return a.s.Source == b.s.Source && a.s.ExternalID == b.s.ExternalID && byStrength(a, b) == 0
	})
}

// made says what somebody made of an alert at its source.
func made(s signal.Signal) string {
	switch s.Classification {
	case "":
		return "where nobody said what it was"
	case signal.TruePositive:
		return "as a true positive"
	}
	return fmt.Sprintf("as %q", s.Classification)
}

// except lowers c by the exceptions that cover it, once however many they are, and
// says so.
func (c *contribution) except(in Input, now time.Time) {
	if c.e.Family != detection.Place && c.e.Learns == 0 {
		return
	}
	var said []string
	for k := range in.Exceptions {
		if x := &in.Exceptions[k]; x.InForce(now) && x.covers(*c.s, &c.e, in.Identity) {
			c.lowered = append(c.lowered, x.ID)
			said = append(said, fmt.Sprintf("%s %q until %s, %s: %s", x.Kind, x.Name, x.Until.UTC().Format(time.DateOnly), x.Owner, x.Reason))
		}
	}
	if len(said) > 0 {
		slices.Sort(c.lowered)
		slices.Sort(said)
		c.p *= lowered
		c.said = "; counts for less: " + strings.Join(said, "; ")
	}
}

// byStrength orders what happened before what an administrator, or we, said of it:
// the first line is the reason that a case shows.
func byStrength(a, b *contribution) int {
	if a.s.Feedback() != b.s.Feedback() {
		if a.s.Feedback() {
			return 1
		}
		return -1
	}
	if c := cmp.Or(cmp.Compare(b.p, a.p), a.at.Compare(b.at), strings.Compare(string(a.s.Source), string(b.s.Source)),
		strings.Compare(a.s.ExternalID, b.s.ExternalID), strings.Compare(a.attack, b.attack), strings.Compare(a.s.IP, b.s.IP), cmp.Compare(a.accounts, b.accounts)); c != 0 {
		return c
	}
	return strings.Compare(a.text(), b.text())
}

// counts reports whether a signal still speaks: its source keeps it open and no
// later verdict of an operator closed it.
// An alert whose work ended at its source while the case is open speaks until then.
func counts(s *signal.Signal, in *Input) bool {
	if !s.State.Open() && !closedInCase(s, in) {
		return false
	}
	v := in.Verdict
	if s.Source == signal.Watch && v.Word != "" && !s.UpdatedAt.After(v.At) {
		return false // nobody else closes it
	}
	return v.Word != "safe" && v.Word != "benign" || s.UpdatedAt.After(v.At)
}

// closedInCase reports whether s is an alert that was closed at its source while the
// identity's case was open, without being called false or expected.
func closedInCase(s *signal.Signal, in *Input) bool {
	return !in.CaseSince.IsZero() && s.ClosedUnjudged() && s.UpdatedAt.After(in.CaseSince)
}

// same reports whether two contributions are the same attack from the same place,
// told twice or in two formats: only the strongest adds to the score.
func same(a, b *contribution) bool { return a.attack == b.attack && a.s.IP == b.s.IP }

// judge returns the number of the account with the highest score and the opinions
// of all, highest first.
func (n *numbers) judge(list []*contribution, floors []floor, book *accountBook) (best int, out []AccountScore) {
	days := daybook{n: n}
	for k := range list {
		days.add(list[k])
	}
	type scored struct {
		number int
		total  int
		exact  float64
	}
	all := make([]scored, 0, len(book.list))
	for a := range book.list {
		rest := 1.0
		for k := range list {
			if c := list[k]; c.accounts&(1<<a) != 0 && !stronger(list[:k], c, 1<<a) {
				rest *= 1 - c.p
			}
		}
		exact := score(rest, days.factor())
		all = append(all, scored{a, max(int(math.Round(exact)), n.leastScore(floors[a].level)), exact})
	}
	slices.SortStableFunc(all, func(x, y scored) int { return cmp.Or(cmp.Compare(y.total, x.total), cmp.Compare(y.exact, x.exact)) })
	for _, s := range all {
		out = append(out, AccountScore{book.list[s.number].name, n.levelOf(s.total), s.total})
	}
	if len(all) > 0 {
		best = all[0].number
	}
	return best, out
}

// stronger reports whether the list holds the same attack on one of the accounts.
func stronger(list []*contribution, c *contribution, accounts uint64) bool {
	for k := range list {
		if list[k].accounts&accounts != 0 && same(list[k], c) {
			return true
		}
	}
	return false
}

// A line is one line of the explanation: an attack from a place, with all that
// tells of it.
type line struct {
	lead    int // of the contributions: the strongest
	members []int
	counts  bool // it is about the account whose score is the identity's
}

// arrange makes lines of the contributions: those of the account first, strongest
// first, then those of the others.
func arrange(list []*contribution, account int) []line {
	bit := uint64(1) << account
	var out []line
	for _, own := range []bool{true, false} {
		from := len(out)
	next:
		for k := range list {
			if (list[k].accounts&bit != 0) != own {
				continue
			}
			for l := from; l < len(out); l++ {
				if c := list[out[l].lead]; same(c, list[k]) && (own || c.accounts&list[k].accounts != 0) {
					out[l].members = append(out[l].members, k)
					continue next
				}
			}
			out = append(out, line{lead: k, members: []int{k}, counts: own})
		}
	}
	return out
}

// score is 0 to 100 for the probability that nothing is the matter and the factor on
// the odds.
func score(rest, factor float64) float64 {
	p := 1 - rest
	if p <= 0 {
		return 0
	}
	p = math.Min(p, 0.999999)
	odds := p / (1 - p) * factor
	return 100 * odds / (1 + odds)
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
	return slices.ContainsFunc(in.Accounts, func(a signal.AccountRisk) bool {
		return a.State.Open() && !a.Deleted && (in.Verdict.Word == "" || in.Verdict.Word != "compromised" && a.UpdatedAt.After(in.Verdict.At))
	})
}

// firstTold is when the source first had the signal.
func firstTold(s signal.Signal) time.Time {
	if !s.DetectedAt.IsZero() {
		return s.DetectedAt
	}
	return s.At()
}

// A floor is the level an account's assessment may not fall below, and why.
type floor struct {
	level signal.Level
	why   string
}

// floors returns each account's floor: the highest level a source holds for it, a
// signal whose kind has a floor, or low while any is open.
func (n *numbers) floors(in Input, list []*contribution, book *accountBook) []floor {
	out := make([]floor, max(1, len(book.list)))
	raise := func(accounts uint64, l signal.Level, text func() string) {
		for a := range out {
			if accounts&(1<<a) != 0 && l.Rank() > out[a].level.Rank() {
				out[a] = floor{l, text()}
			}
		}
	}
	for k := range list {
		c := list[k]
		raise(c.accounts, c.floor, func() string { return fmt.Sprintf("%s is never below %s until it is remediated", c.text(), c.floor) })
	}
	accounts := slices.Clone(in.Accounts)
	slices.SortFunc(accounts, func(a, b signal.AccountRisk) int {
		return cmp.Or(strings.Compare(a.Subject.Name(), b.Subject.Name()), strings.Compare(string(a.State), string(b.State)), strings.Compare(string(a.Level), string(b.Level)))
	})
	for _, a := range accounts {
		if a.State.Open() && !a.Deleted && !overruled(a, in.Verdict) {
			raise(book.of(a.Subject), a.Level, func() string {
				return fmt.Sprintf("Microsoft Entra ID Protection holds %s at %s (%s)", a.Subject.Name(), a.Level, a.State)
			})
		}
	}
	for k := range list {
		switch c := list[k]; {
		case c.s.State == signal.StateConfirmedCompromised:
			raise(c.accounts, signal.LevelHigh, func() string { return "confirmed compromised at its source" })
		case c.s.Level.Rank() >= signal.LevelLow.Rank():
			// However little its type says and however old it is: what its source holds
			// open is not nothing. How much higher is the account's level to say.
			raise(c.accounts, signal.LevelLow, func() string {
				if !c.s.State.Open() {
					return "an alert was closed at its source, and a verdict is awaited here"
				}
				return "its source still holds a detection open"
			})
		}
	}
	if in.Verdict.Word == "compromised" && speaks(in) {
		raise(math.MaxUint64, signal.LevelHigh, func() string { return "an operator's verdict: compromised; its source has not closed it yet" })
	}
	return out
}

// overruled reports whether an operator said safe or benign after the source last
// changed its opinion of the account.
func overruled(a signal.AccountRisk, v Verdict) bool {
	return (v.Word == "safe" || v.Word == "benign") && !a.UpdatedAt.After(v.At)
}

// notes says what the numbers do not.
func notes(in Input) []string {
	var out []string
	for _, a := range in.Accounts {
		switch {
		case !a.State.Open() || a.Deleted:
		case overruled(a, in.Verdict):
			out = append(out, fmt.Sprintf("Microsoft Entra ID Protection still holds %s at %s (%s): the verdict %s is Cordon's and was not given there", a.Subject.Name(), a.Level, a.State, in.Verdict.Word))
		case a.Level == signal.LevelHidden:
			out = append(out, fmt.Sprintf("the licence hides the level of %s: it counts as medium", a.Subject.Name()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// speaks reports whether any source still holds anything open.
func speaks(in Input) bool {
	return slices.ContainsFunc(in.Signals, func(s signal.Signal) bool { return counts(&s, &in) }) ||
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

// Returned says why risk that comes after a verdict comes again; empty without one.
// It names the same cause where it is one, and the account that drives it.
func Returned(in Input, a Assessment) string {
	if in.Verdict.Word == "" || in.Verdict.Word == "joined" {
		return ""
	}
	before := map[string]bool{}
	var first *signal.Signal
	for n := range in.Signals {
		s := &in.Signals[n]
		e, _ := detection.Of(*s)
		switch {
		case s.Feedback():
		case !firstTold(*s).After(in.Verdict.At):
			before[e.Attack] = true
		case counts(s, &in) && (first == nil || byAge(s, first) < 0):
			first = s
		}
	}
	text := fmt.Sprintf("after the verdict %s of %s", in.Verdict.Word, in.Verdict.At.UTC().Format(time.RFC3339))
	if first != nil {
		e, _ := detection.Of(*first)
		text += ": " + detection.Title(*first)
		if before[e.Attack] {
			text += ", the same cause as before"
		}
		text += ", about " + first.Subject.Name()
	} else {
		for _, acc := range in.Accounts {
			if acc.State.Open() && !acc.Deleted && acc.UpdatedAt.After(in.Verdict.At) {
				text += fmt.Sprintf(": Microsoft holds %s at %s again", acc.Subject.Name(), acc.Level)
				break
			}
		}
	}
	if d := a.Driver(); d != "" {
		text += "; driven by " + d
	}
	return text
}

func byAge(a, b *signal.Signal) int {
	return cmp.Or(a.At().Compare(b.At()), strings.Compare(string(a.Source), string(b.Source)), strings.Compare(a.ExternalID, b.ExternalID))
}
