package eventhub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// mend gives properties the form in which Graph sends the same object: times that
// only streams write, additionalInfo that somebody has taken out of its string, truth
// values in quotes; and, where the member clock is missing, the time at. What is sound
// already is returned as it is.
func mend(properties json.RawMessage, clock string, at time.Time) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(properties, &members) != nil {
		return properties
	}
	changed, clocked := false, at.IsZero()
	for name, v := range members {
		lower := strings.ToLower(name)
		mended := json.RawMessage(nil)
		switch {
		case strings.HasSuffix(lower, "datetime"):
			mended = mendTime(v)
			clocked = clocked || strings.EqualFold(name, clock) && word(v) != ""
		case lower == "additionalinfo" && len(v) > 0 && (v[0] == '[' || v[0] == '{'):
			mended, _ = json.Marshal(string(v)) // a string: cannot fail
		case strings.HasPrefix(lower, "is") && len(v) > 0 && v[0] == '"':
			if w := strings.ToLower(word(v)); w == "true" || w == "false" {
				mended = json.RawMessage(w)
			}
		}
		if mended != nil {
			members[name], changed = mended, true
		}
	}
	if !clocked {
		for name := range members {
			if strings.EqualFold(name, clock) {
				delete(members, name) // it is empty
			}
		}
		b, _ := json.Marshal(at.Format(time.RFC3339Nano)) // a string: cannot fail
		members[clock], changed = b, true
	}
	if !changed {
		return properties
	}
	b, err := json.Marshal(members)
	if err != nil {
		return properties
	}
	return b
}

// mendTime returns a time in Graph's form, or nil when it has it, or is none.
func mendTime(v json.RawMessage) json.RawMessage {
	s := word(v)
	if _, err := graph.ParseTime(s); err == nil && (len(v) == 0 || v[0] == '"' || s == "") {
		return nil
	}
	at, ok := connector.ParseTime(s)
	if !ok || at.IsZero() {
		return nil // it is noted where it is read
	}
	b, _ := json.Marshal(at.Format(time.RFC3339Nano)) // a string: cannot fail
	return b
}

// with returns the object with one more member, or another value of it.
func with(object json.RawMessage, name string, value any) json.RawMessage {
	members := map[string]json.RawMessage{}
	v, err := json.Marshal(value)
	if err != nil || json.Unmarshal(object, &members) != nil {
		return object
	}
	for n := range members {
		if strings.EqualFold(n, name) {
			delete(members, n)
		}
	}
	members[name] = v
	b, err := json.Marshal(members)
	if err != nil {
		return object
	}
	return b
}

// wrap returns the properties, which have the form of Graph's object, with what was
// around them as one more member, so that nothing of the record is lost.
func wrap(record, properties json.RawMessage) json.RawMessage {
	var around map[string]json.RawMessage
	if json.Unmarshal(record, &around) != nil {
		return record
	}
	delete(around, "properties")
	b, err := json.Marshal(around)
	inner := bytes.TrimSpace(properties)
	if err != nil || len(inner) < 2 || inner[0] != '{' {
		return record
	}
	inner = bytes.TrimSpace(inner[1:])
	out := append([]byte(`{"@envelope":`), b...)
	if len(inner) > 1 {
		out = append(out, ',')
	}
	return append(out, inner...)
}

func isObject(raw json.RawMessage) bool {
	b := bytes.TrimSpace(raw)
	return len(b) > 1 && b[0] == '{'
}

// word is a JSON value as text: a string without its quotes, null as nothing.
func word(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

func digest(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16])
}
