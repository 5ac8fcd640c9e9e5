package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

func TestKindSurvivesWrapping(t *testing.T) {
	t.Parallel()
	kinds := []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict, fault.Denied, fault.Held, fault.Unavailable, fault.Unknown}
	for _, k := range kinds {
		err := fmt.Errorf("close case: %w", fault.Errorf(k, "case c1: %w", io.EOF))
		if !errors.Is(err, k) {
			t.Errorf("errors.Is(%v, %s) = false", err, k)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: the cause is lost", k)
		}
		if got := fault.KindOf(err); got != k {
			t.Errorf("KindOf = %q, want %q", got, k)
		}
		for _, other := range kinds {
			if other != k && errors.Is(err, other) {
				t.Errorf("%s is also %s", k, other)
			}
		}
	}
	if got := fault.KindOf(io.EOF); got != "" {
		t.Errorf("KindOf(io.EOF) = %q, want none", got)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("poll: %w", fault.Later(2*time.Minute, "graph: too many requests"))
	if d, ok := fault.RetryAfter(err); !ok || d != 2*time.Minute {
		t.Errorf("RetryAfter = %v, %v; want 2m, true", d, ok)
	}
	if _, ok := fault.RetryAfter(fault.Errorf(fault.Unavailable, "x")); ok {
		t.Error("a plain Unavailable error names no time")
	}
}
