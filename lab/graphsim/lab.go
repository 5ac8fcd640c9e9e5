package graphsim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// lab answers the pages under /_lab. They need no token and leave no entry in
// the ledger.
func (t *Tenant) lab(r *request) *outcome {
	q, err := url.ParseQuery(r.rawQuery)
	if err != nil {
		return labError(400, "the query cannot be read")
	}
	switch r.method + " " + r.path {
	case "GET ledger":
		since := 0
		if s := q.Get("since"); s != "" {
			if since, err = strconv.Atoi(s); err != nil || since < 0 {
				return labError(400, "since must be the seq of an entry")
			}
		}
		entries := t.ledger.since(since)
		return jsonOutcome(200, map[string]any{"entries": entries, "next": since + len(entries)})
	case "GET state":
		return t.state(q.Get("user"))
	case "POST event":
		return t.event(r.body)
	case "POST faults":
		var in struct {
			Faults []string `json:"faults"`
		}
		if err := decodeStrict(r.body, &in); err != nil {
			return labError(400, "faults: "+err.Error())
		}
		faults, err := ParseFaults(in.Faults)
		if err != nil {
			return labError(400, err.Error())
		}
		t.SetFaults(faults)
		return &outcome{status: 204, header: http.Header{}}
	}
	return labError(404, "there is GET ledger, GET state, POST event and POST faults under /_lab")
}

func labError(status int, message string) *outcome {
	return jsonOutcome(status, map[string]any{"error": map[string]any{"code": "lab", "message": message}})
}

// state answers the truth about everybody, or about one person.
func (t *Tenant) state(ref string) *outcome {
	if ref != "" {
		u, ok := t.world.State(ref)
		if !ok {
			return labError(404, "nobody is called "+strconv.Quote(ref))
		}
		return jsonOutcome(200, u)
	}
	users := []world.UserState{}
	t.world.WalkState(func(u world.UserState) bool { users = append(users, u); return true })
	onPremises := []world.OnPremisesState{}
	t.world.WalkOnPremises(func(o world.OnPremisesState) bool { onPremises = append(onPremises, o); return true })
	values, resets := t.world.DistinctPasswords()
	failures := []string{}
	for _, f := range t.world.Failures() {
		failures = append(failures, f.Error())
	}
	return jsonOutcome(200, map[string]any{
		"tenantId": t.world.TenantID(), "now": t.world.Now().UTC(), "users": users, "onPremises": onPremises,
		"passwordResets": resets, "distinctPasswords": values, "failedEvents": failures,
	})
}

// event makes one event happen, or several in order; the first that cannot
// be stops the rest, and the answer says which it was.
func (t *Tenant) event(body []byte) *outcome {
	raws := []json.RawMessage{body}
	if b := bytes.TrimSpace(body); len(b) > 0 && b[0] == '[' {
		raws = nil
		if err := json.Unmarshal(b, &raws); err != nil {
			return labError(400, "the events cannot be read: "+err.Error())
		}
	}
	for i, raw := range raws {
		e, err := world.DecodeEvent(raw)
		if err == nil {
			err = t.world.Apply(e)
		}
		if err != nil {
			return labError(400, "event "+strconv.Itoa(i)+": "+err.Error())
		}
	}
	return &outcome{status: 204, header: http.Header{}}
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
