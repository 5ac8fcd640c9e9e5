package risk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// ExceptionKind says what an exception knows.
type ExceptionKind string

// The kinds of exceptions.
const (
	NamedLocation ExceptionKind = "named location" // addresses of ours: offices, branches
	Egress        ExceptionKind = "VPN egress"     // addresses through which many of ours come
	Traveller     ExceptionKind = "known traveller"
	Learning      ExceptionKind = "learning" // a sensor or tenant is new: what is usual is not known to Microsoft yet
)

// ExceptionKinds returns all kinds.
func ExceptionKinds() []ExceptionKind {
	return []ExceptionKind{NamedLocation, Egress, Traveller, Learning}
}

// An Exception makes findings about unusual places count for less, or such findings as
// Microsoft can only make when it has learnt what is usual. It hides
// nothing: the signal stays open and shown, with a line that says what lowered it,
// and neither Microsoft's level of the account nor the floor of a kind is lowered.
// Every exception has somebody who answers for it, a reason and an end.
type Exception struct {
	Tenant identity.Tenant `json:"tenant"`
	ID     string          `json:"id"`
	Kind   ExceptionKind   `json:"kind"`
	Name   string          `json:"name"`
	// Ranges are the addresses it is about, as CIDR; a traveller needs none.
	Ranges []string `json:"ranges,omitempty"`
	// Countries are the places it is about, as the two letters of ISO 3166, for a
	// traveller; empty: anywhere.
	Countries []string `json:"countries,omitempty"`
	// Alerts are the kinds of findings that are being learnt, by their names in the
	// catalogue; empty: all that Microsoft says have a learning period.
	Alerts []string `json:"alerts,omitempty"`
	// Identity is who travels.
	Identity identity.ID `json:"identity,omitempty"`

	Owner  string    `json:"owner"` // who answers for it
	Reason string    `json:"reason"`
	By     string    `json:"by"` // the operator who made it
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"` // it ends by itself
	// EndedAt is when somebody ended it before.
	EndedAt time.Time `json:"endedAt,omitzero"`
	EndedBy string    `json:"endedBy,omitempty"`
	// FollowedAt is when the opinions it had lowered were formed anew after its end.
	FollowedAt time.Time `json:"followedAt,omitzero"`
}

// lowered is what the probability of a finding is multiplied with when an exception
// covers it.
const lowered = 0.5

// maxException is how long an exception may last at most.
const maxException = 400 * 24 * time.Hour

// maxLearning is how long learning may last at most: no kind of finding learns longer.
const maxLearning = 61 * 24 * time.Hour

// Check returns fault.Invalid naming what is missing or wrong.
func (e Exception) Check() error {
	bad := func(format string, args ...any) error {
		return fault.Errorf(fault.Invalid, "exception %q: "+format, append([]any{e.Name}, args...)...)
	}
	switch {
	case strings.TrimSpace(e.Name) == "":
		return bad("it needs a name")
	case !slices.Contains(ExceptionKinds(), e.Kind):
		return bad("%q is no kind; they are %q", e.Kind, ExceptionKinds())
	case strings.TrimSpace(e.Owner) == "":
		return bad("it needs an owner who answers for it")
	case strings.TrimSpace(e.Reason) == "":
		return bad("it needs a reason")
	case !e.Until.After(e.From):
		return bad("it needs an end after its beginning")
	case e.Until.Sub(e.From) > maxException:
		return bad("it ends on %s; at most 400 days are given, then somebody decides again", e.Until.Format(time.DateOnly))
	case e.Kind == Traveller && e.Identity == "":
		return bad("a known traveller is one identity")
	case e.Kind != Traveller && e.Identity != "":
		return bad("only a known traveller names an identity")
	case e.Kind == Learning && e.Until.Sub(e.From) > maxLearning:
		return bad("it ends on %s; no finding of Microsoft's learns longer than 60 days", e.Until.Format(time.DateOnly))
	case e.Kind != Learning && len(e.Alerts) > 0:
		return bad("only learning names kinds of findings")
	case e.Kind != Traveller && e.Kind != Learning && len(e.Ranges) == 0:
		return bad("it needs at least one range of addresses")
	case len(e.Ranges) > 200 || len(e.Countries) > 50:
		return bad("at most 200 ranges and 50 countries are kept")
	}
	for _, r := range e.Ranges {
		p, err := parseRange(r)
		if err != nil {
			return bad("%w", err)
		}
		if p.Bits() == 0 {
			return bad("%s is everywhere", r)
		}
	}
	for _, name := range e.Alerts {
		if !slices.ContainsFunc(detection.All(), func(d detection.Entry) bool { return d.Learns > 0 && strings.EqualFold(d.Name, name) }) {
			return bad("%q is no finding that Microsoft says has a learning period", name)
		}
	}
	for _, c := range e.Countries {
		if len(c) != 2 {
			return bad("%q is no country of two letters", c)
		}
	}
	return nil
}

func parseRange(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an address nor a range such as 192.0.2.0/24", s)
	}
	return p.Masked(), nil
}

// InForce reports whether it counts at the time.
func (e Exception) InForce(at time.Time) bool {
	return !at.Before(e.From) && at.Before(e.Until) && (e.EndedAt.IsZero() || at.Before(e.EndedAt))
}

// End is when it stops counting: its own end, or when somebody ended it before.
func (e Exception) End() time.Time {
	if !e.EndedAt.IsZero() && e.EndedAt.Before(e.Until) {
		return e.EndedAt
	}
	return e.Until
}

// Covers reports whether the exception is about the signal of the identity: a
// finding about an unusual place that is the exception's, or of a kind that is being
// learnt.
func (e Exception) Covers(s signal.Signal, owner identity.ID) bool {
	entry, _ := detection.Of(s)
	return e.covers(s, &entry, owner)
}

func (e Exception) covers(s signal.Signal, d *detection.Entry, owner identity.ID) bool {
	switch {
	case e.Kind == Learning:
		if d.Learns == 0 || len(e.Alerts) > 0 && !slices.ContainsFunc(e.Alerts, func(n string) bool { return strings.EqualFold(n, d.Name) }) {
			return false
		}
	case d.Family != detection.Place, e.Kind == Traveller && e.Identity != owner:
		return false
	}
	if len(e.Countries) > 0 && !slices.ContainsFunc(e.Countries, func(c string) bool { return strings.EqualFold(c, country(s.Location)) }) {
		return false
	}
	if len(e.Ranges) == 0 {
		return true
	}
	ip, err := netip.ParseAddr(s.IP)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(e.Ranges, func(r string) bool {
		p, err := parseRange(r)
		return err == nil && p.Contains(ip.Unmap())
	})
}

// country is the last part of a location, which is where the connectors put it.
func country(location string) string {
	if n := strings.LastIndexByte(location, ','); n >= 0 {
		location = location[n+1:]
	}
	return strings.TrimSpace(location)
}
