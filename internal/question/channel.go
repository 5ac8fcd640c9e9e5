package question

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Reach says whom a channel reaches, and where.
type Reach string

// The reaches.
const (
	ReachAccount Reach = "account" // comes out in the account itself: its mail, its chats
	ReachPerson  Reach = "person"  // reaches the person another way: telephone, pager, a desk
	ReachManager Reach = "manager" // reaches the person's manager
)

// A Channel is one way of asking.
type Channel struct {
	ID    string
	Reach Reach
}

// Choose returns the channel by which the question is asked, and why that one, in
// words: one beside the account before the account itself, which is used only when
// nobody who has what the attacker has can read there (Readable). ok is false when
// there is none; why then says why.
func Choose(q Question, channels []Channel, mfa *bool) (c Channel, why string, ok bool) {
	want := []Reach{ReachPerson, ReachAccount}
	if q.Who == Manager {
		want = []Reach{ReachManager}
	}
	readable := Readable(q.Causes, mfa)
	var passed []string
	for _, r := range want {
		for _, c := range channels {
			switch {
			case c.Reach != r:
			case r == ReachAccount && readable != "":
				passed = append(passed, c.ID)
			case r == ReachAccount:
				return c, fmt.Sprintf("%s, which comes out in the account: what the signals speak of (%s) does not let anybody read there", c.ID, joined(q.Causes)), true
			case r == ReachManager:
				return c, c.ID + ", which reaches the manager", true
			default:
				return c, c.ID + ", which reaches the person beside the account", true
			}
		}
	}
	why = fmt.Sprintf("no channel reaches the %s beside the account", q.Who)
	if len(passed) > 0 {
		why += fmt.Sprintf("; %s comes out in the account, and %s", strings.Join(passed, ", "), readable)
	}
	return Channel{}, why, false
}

// Readable says why an attacker may read what comes out in the account, or "" when
// what the signals speak of does not give them that: a password alone where a second
// factor is registered, or the credential of an application. What is not known counts
// as readable. mfa is whether a second factor is registered; nil: not known.
func Readable(causes []signal.Cause, mfa *bool) string {
	if len(causes) == 0 {
		return "nothing says what the attacker got hold of"
	}
	for _, c := range causes {
		switch {
		case c == signal.CauseWorkload:
		case c == signal.CausePassword && mfa != nil && *mfa:
		case c == signal.CausePassword && mfa == nil:
			return "whoever knows the password may read there: whether a second factor is registered is not known"
		case c == signal.CausePassword:
			return "whoever knows the password reads there: no second factor is registered"
		case c == signal.CauseUnknown:
			return "what the attacker got hold of is not known"
		default:
			return fmt.Sprintf("the cause is %s: whoever has it may read there", c)
		}
	}
	return ""
}

func joined(causes []signal.Cause) string {
	var out []string
	for _, c := range causes {
		out = append(out, string(c))
	}
	return strings.Join(out, ", ")
}

// Standing is what speaks about the identity when a "yes" is weighed.
type Standing struct {
	Level   signal.Level
	Believe signal.Level // up to this level a "yes" that is borne out counts
	Open    []signal.Signal
	Causes  []signal.Cause // of Open
	// Privileged is whether it holds a directory role; nil: not known.
	Privileged *bool
	From       string // the address that answered; "" when it is not known
}

// Doubts returns why a "yes" to the question proves nothing, whatever sign-in may
// follow it, in words; none when a fresh strong sign-in bears it out. Whoever stole a
// token carries its second factor with them, a method may be the attacker's own, and
// what another product saw is not the person's to explain away.
func (s Standing) Doubts() []string {
	var out []string
	if s.Level.Rank() > s.Believe.Rank() {
		out = append(out, fmt.Sprintf("the risk is %s, and a person's own word counts up to %s", s.Level, s.Believe))
	}
	for _, c := range s.Causes {
		if c != signal.CausePassword && c != signal.CauseUnknown {
			out = append(out, fmt.Sprintf("the signals speak of %s: whoever has that can answer and sign in in the person's name", c))
		}
	}
	switch {
	case s.Privileged == nil:
		out = append(out, "whether the account holds a directory role is not known")
	case *s.Privileged:
		out = append(out, "the account holds a directory role")
	}
	from, err := netip.ParseAddr(s.From)
	for _, g := range s.Open {
		if g.Source == signal.DefenderAlert {
			out = append(out, "another product reports "+named(g))
		}
		if ip, bad := netip.ParseAddr(g.IP); err == nil && bad == nil && ip.Unmap() == from.Unmap() {
			out = append(out, fmt.Sprintf("the answer came from %s, as did %s", s.From, named(g)))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func named(g signal.Signal) string {
	if g.Title != "" {
		return g.Title
	}
	return g.Type
}
