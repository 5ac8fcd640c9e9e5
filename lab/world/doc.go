// Package world is the state of one simulated Microsoft Entra tenant with its
// on-premises Active Directory: who exists, what is at risk, what happened.
//
// It holds rules and no transport. lab/graphsim puts HTTP over it;
// lab/scenario plays stories in it. Everything follows Microsoft's public
// descriptions of Graph v1.0, Entra ID Protection and Defender for Identity;
// where those are silent the doc comment of the rule says what was decided.
//
// Time enters through Options.Now alone. Delayed effects (feedback that is
// processed offline, a revocation that spreads, a synchronisation cycle) wait
// in a queue and are applied, each at its own due time, by whichever call
// comes next; there are no goroutines, so a World works inside a synctest
// bubble. All methods may be called from many goroutines at once.
//
// Objects handed out are snapshots: they never change, and must not be
// changed by the caller.
package world
