package dispatch

import (
	"cmp"
	"errors"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Limits are the brakes an operator sets. They count identities, not requests:
// one that was reached inside the window may be reached again. Every zero means
// the default.
type Limits struct {
	AccountsPerHour         int `yaml:"accounts_per_hour"`          // disrupted in a tenant; 50
	AccountsPerMinute       int `yaml:"accounts_per_minute"`        // the same, as a rate; 30
	PlaybookAccountsPerHour int `yaml:"playbook_accounts_per_hour"` // disrupted by one playbook in a tenant; 50
	GlobalAccountsPerHour   int `yaml:"global_accounts_per_hour"`   // disrupted over all tenants; 200

	// Reserve is the share of each directory limit, 0 to 0.9, that only privileged
	// and high-risk people may use; 0.2.
	Reserve float64 `yaml:"reserve"`
}

// DefaultLimits returns the limits that hold when none are set.
func DefaultLimits() Limits { return Limits{}.filled() }

func (l Limits) filled() Limits {
	return Limits{
		AccountsPerHour:         cmp.Or(l.AccountsPerHour, 50),
		AccountsPerMinute:       cmp.Or(l.AccountsPerMinute, 30),
		PlaybookAccountsPerHour: cmp.Or(l.PlaybookAccountsPerHour, 50),
		GlobalAccountsPerHour:   cmp.Or(l.GlobalAccountsPerHour, 200),
		Reserve:                 cmp.Or(l.Reserve, 0.2),
	}
}

// hourFull reports whether one of the hour's limits leaves no room.
func (l Limits) hourFull(r Radius) bool {
	return r.Tenant >= l.AccountsPerHour || r.Playbook >= l.PlaybookAccountsPerHour || r.Everywhere >= l.GlobalAccountsPerHour
}

// minuteFull reports whether the minute's limit leaves no room.
func (l Limits) minuteFull(r Radius) bool { return r.Tenant >= l.AccountsPerMinute }

// Check finds every mistake; each is fault.Invalid and begins with the key at
// fault.
func (l Limits) Check() error {
	var errs []error
	for _, n := range []struct {
		key   string
		value int
	}{
		{"accounts_per_hour", l.AccountsPerHour},
		{"accounts_per_minute", l.AccountsPerMinute},
		{"playbook_accounts_per_hour", l.PlaybookAccountsPerHour},
		{"global_accounts_per_hour", l.GlobalAccountsPerHour},
	} {
		if n.value < 0 {
			errs = append(errs, fault.Errorf(fault.Invalid, "%s: %d is negative; to let nothing out use mode: observe", n.key, n.value))
		}
	}
	if !(l.Reserve >= 0 && l.Reserve <= 0.9) {
		errs = append(errs, fault.Errorf(fault.Invalid, "reserve: %v is not between 0 and 0.9", l.Reserve))
	}
	return errors.Join(errs...)
}

// Settings are what the configuration says of a tenant now. They are asked for
// anew for each decision, so that a reload takes hold at once.
type Settings struct {
	Policy  identity.Policy // who is protected
	Limits  Limits
	Observe bool // the tenant's mode is observe: nothing leaves
}
