// Package witness compares Cordon's trail with the ledger that a simulated
// tenant keeps of every request it received: two accounts of the same events,
// written by parties that know nothing of each other.
package witness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
)

// A Report is what the comparison found. Every list names what is wrong, one
// line each; a good run has none.
type Report struct {
	Writes  int `json:"writes"`  // requests in the ledger that changed something
	Intents int `json:"intents"` // intents in the trail

	Unrecorded       []string `json:"unrecordedList,omitempty"`       // effects without an intent for that account before them
	Unwitnessed      []string `json:"unwitnessedList,omitempty"`      // accepted in the trail, not in the ledger
	ProtectedTouched []string `json:"protectedTouchedList,omitempty"` // effects on protected accounts
	Repeated         []string `json:"repeatedList,omitempty"`         // one action that set more than one password
	Unproven         []string `json:"unprovenList,omitempty"`         // verified in the trail without an effect in the ledger or a state that held before
}

// Clean reports whether nothing is wrong.
func (r Report) Clean() bool {
	return len(r.Unrecorded)+len(r.Unwitnessed)+len(r.ProtectedTouched)+len(r.Repeated)+len(r.Unproven) == 0
}

type intent struct {
	action, name string
	at           time.Time
	accounts     []string // key values, lower case
}

// sessions is the field that both ending sessions and setting a password change.
const sessions = "signInSessionsValidFromDateTime"

// Compare compares the trail with the ledger of the app that Cordon signs in
// with. protected lists object ids that must not be touched.
func Compare(trail []audit.Entry, ledger []graphsim.Entry, app string, protected []string) Report {
	var r Report
	intents := map[string][]intent{}  // client-request-id → intents
	ofAction := map[string][]intent{} // action → its intents
	accepted := map[string][]string{} // client-request-id → actions
	verified := map[string]audit.Entry{}
	harmless := map[string]bool{} // actions whose wanted state held already
	for _, e := range trail {
		id, _ := e.Data["clientRequestId"].(string)
		switch e.Kind {
		case audit.ActionIntent:
			r.Intents++
			name, _ := e.Data["action"].(string)
			i := intent{e.Action, name, e.At, keys(e.Data["account"])}
			intents[id], ofAction[e.Action] = append(intents[id], i), append(ofAction[e.Action], i)
		case audit.ActionOutcome:
			if v, _ := e.Data["verdict"].(string); v == "accepted" {
				accepted[id] = append(accepted[id], e.Action)
			}
		case audit.ActionVerified:
			verified[e.Action] = e
		case audit.ActionAlready:
			harmless[e.Action] = true
		}
	}
	seen := map[string]bool{}         // client-request-ids in the ledger
	touched := map[string]bool{}      // actions with an effect
	passwords := map[string]int{}     // action → passwords set
	ended := map[string][]time.Time{} // account → when its sessions were ended
	for _, l := range ledger {
		if !strings.EqualFold(l.App, app) {
			continue
		}
		seen[l.ClientRequestID] = true
		if len(l.Effects) == 0 {
			continue
		}
		r.Writes++
		for _, f := range l.Effects {
			_, object, _ := strings.Cut(f.Object, "/")
			object = strings.ToLower(object)
			place := fmt.Sprintf("ledger %d: %s %s: %s.%s", l.Seq, l.Method, l.Path, f.Object, f.Field)
			if slices.ContainsFunc(protected, func(p string) bool { return strings.EqualFold(p, object) }) {
				r.ProtectedTouched = append(r.ProtectedTouched, place)
			}
			if f.Field == sessions {
				ended[object] = append(ended[object], l.Received)
			}
			by := intentsFor(intents[l.ClientRequestID], object, l.Received)
			if len(by) == 0 && (!secondary(f.Object) || len(intents[l.ClientRequestID]) == 0) {
				r.Unrecorded = append(r.Unrecorded, place)
			}
			if len(by) == 0 { // what hangs on the account: its application, its grants, its devices
				for _, i := range intents[l.ClientRequestID] {
					touched[i.action] = touched[i.action] || !i.at.After(l.Received)
				}
			}
			for _, i := range by {
				touched[i.action] = true
				if f.Field == "passwordProfile" {
					if passwords[i.action]++; passwords[i.action] == 2 {
						r.Repeated = append(r.Repeated, fmt.Sprintf("%s set a second password: %s", i.action, place))
					}
				}
			}
		}
	}
	for id, actions := range accepted {
		if !seen[id] {
			r.Unwitnessed = append(r.Unwitnessed, fmt.Sprintf("request %s of %s", id, strings.Join(actions, ", ")))
		}
	}
	for a, e := range verified {
		if !touched[a] && !harmless[a] && !endedAnyway(ofAction[a], ended, e.At) {
			r.Unproven = append(r.Unproven, fmt.Sprintf("%s: %s", a, e.Text))
		}
	}
	for _, list := range [][]string{r.Unrecorded, r.Unwitnessed, r.ProtectedTouched, r.Repeated, r.Unproven} {
		slices.Sort(list)
	}
	return r
}

// secondary reports objects that change as part of a recorded change of an account:
// its detections and history, its application, grants and devices. The intent names
// the account only.
func secondary(object string) bool {
	return !strings.HasPrefix(object, "users/") && !strings.HasPrefix(object, "riskyUsers/")
}

// endedAnyway reports whether the sessions that an action was to end were ended by
// another request of ours in the very second in which it looked: the directory
// keeps whole seconds, so that doing it again would leave no trace.
func endedAnyway(list []intent, ended map[string][]time.Time, verified time.Time) bool {
	return slices.ContainsFunc(list, func(i intent) bool {
		return i.name == "entra.user.revoke_sessions" && slices.ContainsFunc(i.accounts, func(a string) bool {
			return slices.ContainsFunc(ended[a], func(at time.Time) bool {
				return !at.Before(i.at.Add(-2*time.Second)) && !at.After(verified)
			})
		})
	})
}

// intentsFor returns those of the intents that name the object and were written
// before the request arrived.
func intentsFor(list []intent, object string, received time.Time) []intent {
	var out []intent
	for _, i := range list {
		if slices.Contains(i.accounts, object) && !i.at.After(received) {
			out = append(out, i)
		}
	}
	return out
}

// keys reads the account keys of an entry's data, fresh or after a round trip
// through JSON.
func keys(v any) []string {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var list []struct {
		Value string `json:"value"`
	}
	if json.Unmarshal(b, &list) != nil {
		return nil
	}
	var out []string
	for _, k := range list {
		out = append(out, strings.ToLower(k.Value))
	}
	return out
}
