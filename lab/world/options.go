package world

import "time"

// Options say what to seed. The zero value is a tenant of 2,400 people.
type Options struct {
	TenantID string           // GUID; empty = derived from Seed
	Seed     uint64           // same Seed, Users and Start: same tenant, byte for byte
	Users    int              // people, guests and administrators included; 0 = 2400
	Start    time.Time        // the seeded past ends here; zero = Now() at New
	Now      func() time.Time // nil = time.Now
	Delays   Delays
	Settings Settings
}

// Delays are how long the service takes to make an accepted change visible.
// Zero means the lab's default, which is seconds where Microsoft says minutes
// so that a story can be watched; a negative value means no delay.
type Delays struct {
	Feedback    time.Duration // confirm / dismiss / safe; Microsoft: "processed offline". Default 2 s
	Remediation time.Duration // a password change reaching the risk state. Default 1 s
	Revocation  time.Duration // revokeSignInSessions; Microsoft: "a few minutes". Default 2 s
	OnPremises  time.Duration // a Defender for Identity action reaching the domain controller. Default 5 s
	SyncCycle   time.Duration // period of directory synchronisation. Default 30 min, as Microsoft Entra Connect
}

// Documented returns the delays that Microsoft's pages describe, in the middle
// of the range where they give one.
func Documented() Delays {
	return Delays{
		Feedback:    2 * time.Minute,
		Remediation: time.Minute,
		Revocation:  2 * time.Minute,
		OnPremises:  time.Minute,
		SyncCycle:   30 * time.Minute,
	}
}

// Faster returns the delays, defaults filled in, divided by k (k > 0).
func (d Delays) Faster(k float64) Delays {
	d = d.filled()
	f := func(x time.Duration) time.Duration {
		if x <= 0 {
			return x
		}
		return max(1, time.Duration(float64(x)/k))
	}
	return Delays{f(d.Feedback), f(d.Remediation), f(d.Revocation), f(d.OnPremises), f(d.SyncCycle)}
}

func (d Delays) filled() Delays {
	f := func(x *time.Duration, def time.Duration) {
		if *x == 0 {
			*x = def
		}
	}
	f(&d.Feedback, 2*time.Second)
	f(&d.Remediation, time.Second)
	f(&d.Revocation, 2*time.Second)
	f(&d.OnPremises, 5*time.Second)
	f(&d.SyncCycle, 30*time.Minute)
	return d
}

// Settings are tenant-wide choices that change how risk is closed.
type Settings struct {
	// OnPremisesResetClearsRisk is "Allow on-premises password change to reset
	// user risk"; off by default, as in Entra (T8, T9).
	OnPremisesResetClearsRisk bool
	// NoPasswordHashSync turns password hash synchronisation off; T8 then
	// cannot happen and leaked credentials of synced accounts are not found.
	NoPasswordHashSync bool
}
