package addc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// Attached is the environment variable that names the folder of a running domain
// for tests to use (see Attach) in place of one of their own; "skip" leaves these
// tests out on purpose.
const Attached = "CORDON_TEST_DOMAIN"

// A Lab is the one domain of a test binary, started by the first test that asks.
// Make it in TestMain and call Close at its end.
//
// A domain that is attached to is also others': a test keeps to the accounts that it
// takes and to objects that have their names, and whoever takes the network or a
// controller away asks for the domain with Alone.
type Lab struct {
	o      Options
	once   sync.Once
	domain *Domain
	err    error
}

// NewLab returns a lab that starts with these options when it is first asked.
func NewLab(o Options) *Lab { return &Lab{o: o} }

// Domain returns the lab's domain. Where none can be started the test is skipped
// and says why; with CI=true that is a failure.
func (l *Lab) Domain(t testing.TB) *Domain {
	t.Helper()
	return l.take(t, false)
}

// Alone is Domain, with nobody else at work in the domain until the test ends. It
// waits for tests of other binaries; those of its own that are parallel it would wait
// for in vain, so a test that asks for it is not.
func (l *Lab) Alone(t testing.TB) *Domain {
	t.Helper()
	return l.take(t, true)
}

func (l *Lab) take(t testing.TB, alone bool) *Domain {
	t.Helper()
	where := os.Getenv(Attached)
	if where == "skip" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is skip, but with CI=true nothing is left out", Attached)
		}
		t.Skipf("%s is skip", Attached)
	}
	l.once.Do(func() {
		if where != "" {
			l.domain, l.err = Attach(where)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute+time.Duration(l.o.People)*100*time.Millisecond)
		defer cancel()
		l.domain, l.err = New(ctx, l.o)
	})
	switch {
	case errors.Is(l.err, ErrAbsent) && os.Getenv("CI") != "true":
		t.Skip(l.err)
	case l.err != nil:
		t.Fatal(l.err)
	case len(l.domain.Controllers) < l.o.DCs:
		t.Fatalf("the domain in %s has %d controllers; this test takes %d", where, len(l.domain.Controllers), l.o.DCs)
	}
	if where != "" {
		release, err := l.domain.share(alone)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
	}
	return l.domain
}

// Close ends the domain, if one was started, and says what stood in the way.
func (l *Lab) Close() {
	if l.domain == nil || os.Getenv(Attached) != "" {
		return
	}
	if err := l.domain.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "addc:", err)
	}
}

// Start starts a domain for one test and ends it with the test. A package with
// several tests shares one through a Lab.
func Start(t testing.TB, o Options) *Domain {
	t.Helper()
	l := NewLab(o)
	t.Cleanup(l.Close)
	return l.Domain(t)
}
