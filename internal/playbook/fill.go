package playbook

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// filled returns what the identity's open signals say for a parameter that is to
// be filled with f; "" when they say nothing. Values that are not plain ids are
// left out: they come from outside and go into requests.
func filled(f action.Fill, signals []signal.Signal) string {
	var ids []string
	var since time.Time
	for _, s := range signals {
		if f == action.FillAlertIDs {
			ids = append(ids, alertIDs(s)...)
			continue
		}
		if !s.State.Open() || s.Feedback() {
			continue
		}
		switch f {
		case action.FillKeyIDs:
			ids = append(ids, keyIDs(s)...)
		case action.FillRequestIDs:
			ids = append(ids, s.RequestID)
		case action.FillSince:
			if at := s.At(); !at.IsZero() && (since.IsZero() || at.Before(since)) {
				since = at
			}
		}
	}
	if !since.IsZero() {
		return since.UTC().Format(time.RFC3339)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return !plainID(id) })
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), ",")
}

// alertIDs is Defender's id of the alert that a signal is, unless it was classified
// there already or belongs to what is over. An alert that is about several accounts is a
// signal for each.
func alertIDs(s signal.Signal) []string {
	if s.Source != signal.DefenderAlert || s.Classification != "" || !s.State.Open() && !s.ClosedUnjudged() {
		return nil
	}
	id, _, _ := strings.Cut(s.ExternalID, "#")
	return []string{id}
}

// keyIDs are the credentials that a signal names.
func keyIDs(s signal.Signal) (ids []string) {
	for _, kv := range s.Info {
		if kv.Key != "keyIds" {
			continue
		}
		var list []string
		if json.Unmarshal(kv.Value, &list) == nil {
			ids = append(ids, list...)
		}
	}
	for n := range ids {
		ids[n] = strings.ToLower(ids[n])
	}
	return ids
}

// plainID reports whether an id is letters, digits, dashes and underscores, as
// Microsoft's are.
func plainID(id string) bool {
	for _, c := range []byte(id) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return id != "" && len(id) <= 64
}
