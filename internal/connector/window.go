package connector

import (
	"context"
	"encoding/json"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Window is the bookmark of a source that is polled by "changed since". Such a
// source shows a record a while after the time it carries, so each poll reads
// again a little of what was read before, and now and then a good deal of it;
// keys make that harmless.
type Window struct {
	Since time.Time `json:"since"` // the latest change seen
	Deep  time.Time `json:"deep"`  // when the long overlap was last read
	// Late is when the longest overlap was last read: identity protection changes
	// and adds records for two days after the time they carry.
	Late time.Time `json:"late,omitzero"`
}

const (
	shallow   = 10 * time.Second // read again with each poll
	deep      = 15 * time.Minute // read again every deepEvery
	deepEvery = 5 * time.Minute
	late      = 49 * time.Hour // read again every lateEvery
	lateEvery = 6 * time.Hour
)

// ParseWindow reads a cursor that Cursor wrote. A cursor of another shape is
// fault.Invalid: the stream must be reset by a person, never silently.
func ParseWindow(c Cursor) (Window, error) {
	var w Window
	if c == "" {
		return w, nil
	}
	if err := json.Unmarshal([]byte(c), &w); err != nil {
		return w, fault.Errorf(fault.Invalid, "cursor %.60q: %w", string(c), err)
	}
	return w, nil
}

// Cursor returns w as a cursor.
func (w Window) Cursor() Cursor {
	b, _ := json.Marshal(w) // two times: cannot fail
	return Cursor(b)
}

// From returns the time to read from, and w as it is after such a reading. The
// zero time means from the beginning.
func (w Window) From(now time.Time) (time.Time, Window) {
	if w.Since.IsZero() {
		w.Deep, w.Late = now, now
		return time.Time{}, w
	}
	if now.Sub(w.Late) >= lateEvery || now.Before(w.Late) {
		w.Deep, w.Late = now, now
		return w.Since.Add(-late), w
	}
	if now.Sub(w.Deep) >= deepEvery || now.Before(w.Deep) { // before: the clock was set back
		w.Deep = now
		return w.Since.Add(-deep), w
	}
	return w.Since.Add(-shallow), w
}

// Saw moves the window to a change, but never past now: a record dated in the
// future must not hide those that come before it.
func (w Window) Saw(at, now time.Time) Window {
	if at.After(now) {
		at = now
	}
	if at.After(w.Since) {
		w.Since = at
	}
	return w
}

// A Pacer makes a source wait for its turn: reading and containment share a
// published limit, and containment goes first. It returns the context's error
// when that ends.
type Pacer func(ctx context.Context) error

// Permitted is a Source or Lookup that names the application permissions it
// needs, least privilege first.
type Permitted interface{ Permissions() []string }
