package activedirectory

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A sighting is what one controller showed of one target.
type sighting struct {
	dc    string
	holds bool // it shows the wanted state
	text  string
	state json.RawMessage // nil when the target is not there
	err   error           // it could not be read: nothing else is set
}

// reading makes one Reading of what all writable controllers show: only what every
// one of them shows is proven, and those that do not, or could not be read, are
// named.
func (d *domain) reading(seen []sighting) action.Reading {
	var with, without []sighting
	var mute []string
	var errs []error
	states := map[string]json.RawMessage{}
	for _, s := range seen {
		switch {
		case s.err != nil:
			mute = append(mute, s.dc)
			errs = append(errs, s.err)
		case s.holds:
			with = append(with, s)
		default:
			without = append(without, s)
		}
		if s.state != nil {
			states[s.dc] = s.state
		}
	}
	if len(with)+len(without) == 0 {
		return action.Reading{Err: fmt.Errorf("read the account back: %w", errors.Join(errs...))}
	}
	where := func(list []sighting) string { return join(names(list, func(s sighting) string { return s.dc })) }
	var parts []string
	if len(with) > 0 {
		parts = append(parts, with[0].text+" on "+where(with))
	}
	switch {
	case len(with) > 0 && len(without) > 0:
		parts = append(parts, "pending until replication reaches "+where(without))
	case len(without) > 0:
		parts = append(parts, without[0].text+" on "+where(without))
	}
	if len(mute) > 0 {
		parts = append(parts, "not read on "+join(mute)+" ("+short(errs[0].Error(), 160)+")")
	}
	return action.Reading{
		Seen: len(with) == len(seen), State: encode(states), Pending: len(with) > 0 && len(with) < len(seen),
		Text: strings.Join(parts, "; ") + ", read at " + d.now().UTC().Format("15:04:05") + " UTC",
	}
}

// ticketLife is how long a Kerberos ticket lives at most unless the domain's policy
// says otherwise ("Maximum lifetime for user ticket", 10 hours).
const ticketLife = 10 * time.Hour

// remaining adds to a proof what the account can still do: what the action ended
// is signing in, and not what was opened before.
func remaining(r action.Request, reading action.Reading) action.Reading {
	if reading.Seen && !r.Since.IsZero() {
		reading.Text += "; remaining access: LDAP and SMB connections that were open, and Kerberos tickets got before, to their end (by default until " +
			r.Since.Add(ticketLife).UTC().Format("2006-01-02 15:04") + " UTC)"
	}
	return reading
}

// allRemaining does so for each of the readings.
func allRemaining(reqs []action.Request, readings []action.Reading) []action.Reading {
	for n := range readings {
		readings[n] = remaining(reqs[n], readings[n])
	}
	return readings
}
