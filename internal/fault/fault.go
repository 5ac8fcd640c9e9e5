// Package fault is Cordon's vocabulary of errors: a kind for the caller, a
// message for the person, the cause for the log.
//
// Callers ask with errors.Is(err, fault.NotFound) and nothing else; texts are
// for people and are never matched.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// A Kind says what the caller may do about an error. It is an error itself,
// so errors.Is(err, fault.NotFound) is the whole test.
type Kind string

// The kinds. An error without one is a mistake of ours: it is logged in full
// and shown to nobody.
const (
	Invalid     Kind = "invalid"     // the request can never succeed as it is
	NotFound    Kind = "not found"   // no such thing, or none the caller may see
	Conflict    Kind = "conflict"    // somebody else changed it first: reload, then retry
	Denied      Kind = "denied"      // the caller may not do this
	Held        Kind = "held"        // a brake, a missing fact or a missing arm stops it; a person can release it
	Unavailable Kind = "unavailable" // the far side did not answer properly: retry later
	Unknown     Kind = "unknown"     // the request may have taken effect: read before repeating
)

func (k Kind) Error() string { return string(k) }

// Error is an error with a kind.
type Error struct {
	Kind  Kind
	Err   error         // what happened, for the person; never nil
	After time.Duration // Unavailable only: how long the far side asked us to wait; 0 when it did not say
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap makes both the kind and the cause visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Errorf returns an error of the kind; the format may wrap a cause with %w.
func Errorf(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Later returns an Unavailable error that names its own retry time.
func Later(after time.Duration, format string, args ...any) error {
	return &Error{Kind: Unavailable, Err: fmt.Errorf(format, args...), After: after}
}

// KindOf returns the kind of err, or "" when it has none.
func KindOf(err error) Kind {
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return ""
}

// RetryAfter returns how long the far side asked to be left alone, and whether
// it said so.
func RetryAfter(err error) (time.Duration, bool) {
	var e *Error
	if errors.As(err, &e) && e.After > 0 {
		return e.After, true
	}
	return 0, false
}
