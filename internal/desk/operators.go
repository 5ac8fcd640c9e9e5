package desk

import (
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// MinToken is the least length of an operator's token in bytes: enough that
// nobody guesses one, whatever the rate.
const MinToken = 20

// Sign-in failures from one address within failWindow before it has to wait.
const (
	failLimit  = 10
	failWindow = time.Minute
	failPlaces = 4096 // addresses remembered at once
)

// HashToken digests a token, so that the clear one need not be kept.
func HashToken(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// A Known operator is one that the configuration names. A zero TokenHash means
// the operator has no token and signs in by a link only.
type Known struct {
	Operator  access.Operator
	TokenHash [sha256.Size]byte
}

// Operators are the operators that may use Cordon, and the brake on guessing. It
// is safe for concurrent use.
type Operators struct {
	mu    sync.Mutex
	known []Known
	brake *brake
}

// A brake counts what went wrong from one address and makes it wait.
type brake struct {
	now  func() time.Time
	what string // in words

	mu    sync.Mutex
	fails map[string]failures // by address
}

func newBrake(now func() time.Time, what string) *brake {
	return &brake{now: now, what: what, fails: map[string]failures{}}
}

type failures struct {
	count int
	since time.Time
}

// NewOperators returns the operators of list. It returns fault.Invalid for a
// contradiction: an empty or repeated id, a token used twice, a role that is none.
func NewOperators(list []Known, now func() time.Time) (*Operators, error) {
	o := &Operators{brake: newBrake(now, "failed sign-ins")}
	return o, o.Replace(list)
}

// Replace puts list in place of the operators known so far, or keeps those and
// returns fault.Invalid as NewOperators does.
func (o *Operators) Replace(list []Known) error {
	ids := map[access.OperatorID]bool{}
	tokens := map[[sha256.Size]byte]access.OperatorID{}
	for _, k := range list {
		id := k.Operator.ID
		switch {
		case id == "":
			return fault.Errorf(fault.Invalid, "operators: one has no id")
		case ids[id]:
			return fault.Errorf(fault.Invalid, "operators: %s is listed twice", id)
		case len(k.Operator.Roles) == 0:
			return fault.Errorf(fault.Invalid, "operators: %s has no role; roles are %v", id, access.Roles())
		}
		ids[id] = true
		for _, r := range k.Operator.Roles {
			if !r.Known() {
				return fault.Errorf(fault.Invalid, "operators: %s has the role %q, which is none of %v", id, r, access.Roles())
			}
		}
		if k.TokenHash == [sha256.Size]byte{} {
			continue
		}
		if other, taken := tokens[k.TokenHash]; taken {
			return fault.Errorf(fault.Invalid, "operators: %s and %s have the same token", other, id)
		}
		tokens[k.TokenHash] = id
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known = append([]Known(nil), list...)
	return nil
}

// ByToken returns the operator with the token. from is the address that asks;
// one with too many failures is told to wait (fault.Unavailable with a time),
// whatever it presents. A wrong token is fault.Denied.
func (o *Operators) ByToken(token, from string) (access.Operator, error) {
	hash := HashToken(token)
	if err := o.brake.wait(from); err != nil {
		return access.Operator{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var found *Known
	// Every hash is compared, in constant time: how long it takes tells nothing.
	for n := range o.known {
		if subtle.ConstantTimeCompare(o.known[n].TokenHash[:], hash[:]) == 1 {
			found = &o.known[n]
		}
	}
	if found == nil || len(token) < MinToken {
		o.brake.failed(from)
		return access.Operator{}, fault.Errorf(fault.Denied, "the token is not known")
	}
	return found.Operator, nil
}

// ByID returns the operator with the id as the configuration has it now, and
// whether there is one: a session of an operator who was removed ends with it.
func (o *Operators) ByID(id access.OperatorID) (access.Operator, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, k := range o.known {
		if k.Operator.ID == id {
			return k.Operator, true
		}
	}
	return access.Operator{}, false
}

// Failed counts a failed sign-in of another kind from the address.
func (o *Operators) Failed(from string) { o.brake.failed(from) }

// Wait returns fault.Unavailable while the address has to wait.
func (o *Operators) Wait(from string) error { return o.brake.wait(from) }

func (o *brake) wait(from string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, ok := o.fails[from]
	if !ok || f.count < failLimit {
		return nil
	}
	left := f.since.Add(failWindow).Sub(o.now())
	if left <= 0 {
		delete(o.fails, from)
		return nil
	}
	return fault.Later(left, "too many %s from this address; try again in %d s", o.what, int(left.Seconds())+1)
}

func (o *brake) failed(from string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	f, ok := o.fails[from]
	if !ok || now.Sub(f.since) >= failWindow {
		if len(o.fails) >= failPlaces {
			o.forget(now)
		}
		f = failures{since: now}
	}
	f.count++
	o.fails[from] = f
}

// forget makes room: what is over first, else the oldest.
func (o *brake) forget(now time.Time) {
	var oldest string
	for from, f := range o.fails {
		if now.Sub(f.since) >= failWindow {
			delete(o.fails, from)
			continue
		}
		if oldest == "" || f.since.Before(o.fails[oldest].since) {
			oldest = from
		}
	}
	if len(o.fails) >= failPlaces {
		delete(o.fails, oldest)
	}
}
