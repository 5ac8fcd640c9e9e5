package risk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Residual is what stays open although somebody closed the risk: the password was
// not changed since it was found to be known to others.
type Residual struct {
	Account   string            `json:"account"`
	Provider  identity.Provider `json:"provider"`
	Signal    string            `json:"signal"` // ExternalID of the latest such detection
	Text      string            `json:"text"`
	Since     time.Time         `json:"since"`              // when it was detected
	ChangedAt time.Time         `json:"changedAt,omitzero"` // when the password was last changed; zero: not known
	AsOf      time.Time         `json:"asOf,omitzero"`      // when that was read
	Known     bool              `json:"known"`
}

// Residuals returns, for each account with a detection of a known password that is
// closed otherwise than by a new one, whether the password was changed since; an
// account whose last change is not known counts as unchanged, and says so. The
// verdict closes what its sources still hold open.
func Residuals(list []signal.Signal, accounts []identity.Account, v Verdict) []Residual {
	var out []Residual
	for _, a := range accounts {
		var last *signal.Signal
		for n := range list {
			s := &list[n]
			if !passwordKnown(*s) || !closedWithoutPassword(*s, v) || !about(*s, a) {
				continue
			}
			if last == nil || firstTold(*s).After(firstTold(*last)) || firstTold(*s).Equal(firstTold(*last)) && s.ExternalID < last.ExternalID {
				last = s
			}
		}
		if last == nil || a.Facts.Passwordless != nil && *a.Facts.Passwordless {
			continue
		}
		r := Residual{Account: a.Name(), Provider: a.Provider, Signal: last.ExternalID, Since: firstTold(*last), ChangedAt: a.Facts.LastPasswordChange, AsOf: a.Facts.AsOf}
		title := detection.Title(*last)
		switch {
		case r.ChangedAt.IsZero():
			r.Text = fmt.Sprintf("%s: closed, and whether the password was changed since %s is not known", title, r.Since.UTC().Format(time.RFC3339))
		case r.ChangedAt.After(r.Since):
			continue
		default:
			r.Known = true
			r.Text = fmt.Sprintf("%s: closed, and the password is unchanged since the detection: it was last set on %s", title, r.ChangedAt.UTC().Format(time.RFC3339))
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Residual) int {
		return strings.Compare(string(a.Provider)+a.Account, string(b.Provider)+b.Account)
	})
	return out
}

func passwordKnown(s signal.Signal) bool {
	if s.Feedback() {
		return false
	}
	e, _ := detection.Of(s)
	return e.Cause == signal.CausePassword || e.Cause == signal.CauseBoth
}

// closedWithoutPassword reports whether the signal is closed in a way that says
// nothing about the password.
func closedWithoutPassword(s signal.Signal, v Verdict) bool {
	switch s.State {
	case signal.StateDismissed, signal.StateConfirmedSafe, "resolved":
		return true
	}
	return s.State.Open() && (v.Word == "safe" || v.Word == "benign") && !s.UpdatedAt.After(v.At)
}

func about(s signal.Signal, a identity.Account) bool {
	keys := s.Subject.Keys()
	return slices.ContainsFunc(a.Keys(), func(k identity.Key) bool {
		if a.Provider == identity.EntraID && k.Kind != identity.KeyEntraObject {
			return false
		}
		return slices.Contains(keys, k)
	})
}
