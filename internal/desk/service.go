package desk

import (
	"cmp"
	"io"
	"log/slog"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/run"
)

// Playbooks is what the desk needs of a library. playbook.Library is one.
type Playbooks interface {
	Playbooks() []*playbook.Playbook
	Plan(ref playbook.Ref, in playbook.Input) (playbook.Plan, error)
}

// Options is what a Service is made of. All fields are needed but those that say
// otherwise.
type Options struct {
	Store     Store
	Driver    *run.Driver // its Store and ours are the same database
	Playbooks func() Playbooks
	Catalogue *action.Catalogue
	Policy    func(identity.Tenant) identity.Policy
	Operators *Operators
	Now       func() time.Time
	Rand      io.Reader // cryptographically strong: hand-over keys come from it

	// HandOverFrom is the operator group that approves hand-overs; "" means the one
	// that the shipped playbooks ask, "identity-response".
	HandOverFrom string
	// Tenants returns the configured tenants; nil means that stops of single
	// tenants are not shown to operators of all.
	Tenants func() []identity.Tenant

	// Reveal is how long a hand-over can be revealed after its password was set;
	// 0 means an hour.
	Reveal time.Duration
	// Questions is what the configuration says of questions to people; nil: nothing.
	Questions func() question.Settings
	Log       *slog.Logger // nil means none
}

// A Service is the desk. It is safe for concurrent use.
type Service struct {
	store     Store
	driver    *run.Driver
	playbooks func() Playbooks
	catalogue *action.Catalogue
	policy    func(identity.Tenant) identity.Policy
	operators *Operators
	tenants   func() []identity.Tenant
	now       func() time.Time
	rand      io.Reader
	log       *slog.Logger

	handOverFrom string
	reveal       time.Duration

	asking func() question.Settings
	guests *brake // of those who answer questions, and are no operators
}

// New returns the desk, or fault.Invalid naming the first option that is missing.
func New(o Options) (*Service, error) {
	for _, need := range []struct {
		name string
		have bool
	}{
		{"Store", o.Store != nil}, {"Driver", o.Driver != nil}, {"Playbooks", o.Playbooks != nil},
		{"Catalogue", o.Catalogue != nil}, {"Policy", o.Policy != nil}, {"Operators", o.Operators != nil}, {"Now", o.Now != nil}, {"Rand", o.Rand != nil},
	} {
		if !need.have {
			return nil, fault.Errorf(fault.Invalid, "desk: option %s is missing", need.name)
		}
	}
	if o.Reveal == 0 {
		o.Reveal = time.Hour
	}
	if o.Tenants == nil {
		o.Tenants = func() []identity.Tenant { return nil }
	}
	if o.Questions == nil {
		o.Questions = func() question.Settings { return question.Settings{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		store: o.Store, driver: o.Driver, playbooks: o.Playbooks, catalogue: o.Catalogue,
		policy: o.Policy, operators: o.Operators, tenants: o.Tenants, now: o.Now, rand: o.Rand, log: o.Log,
		reveal: o.Reveal, handOverFrom: cmp.Or(o.HandOverFrom, "identity-response"),
		asking: o.Questions, guests: newBrake(o.Now, "links that are not valid"),
	}, nil
}

// title returns the action's title for people, or its name when the catalogue
// does not have it (any more).
func (s *Service) title(n action.Name) string {
	if t, err := s.catalogue.Type(n); err == nil {
		return t.Spec().Title
	}
	return string(n)
}

// nudge wakes dispatch after a commit.
func (s *Service) nudge(t identity.Tenant) {
	if s.driver.Nudge != nil {
		s.driver.Nudge(t)
	}
}
