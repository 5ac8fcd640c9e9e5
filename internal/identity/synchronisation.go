package identity

import "time"

// Synchronisation is how a tenant's accounts are tied to Active Directory: what a
// change of a password on one side does on the other. A nil pointer is not known.
type Synchronisation struct {
	AsOf time.Time `json:"asOf,omitzero"`
	// PasswordHashes says that the cloud learns passwords set on premises.
	PasswordHashes *bool `json:"passwordHashes,omitempty"`
	// WriteBack says that passwords people set in the cloud reach the domain. What an
	// application sets by Graph is not written back (Microsoft Graph, user: update).
	WriteBack *bool `json:"writeBack,omitempty"`
	// ResetClearsRisk says that a password change on premises closes user risk in the
	// cloud. Graph does not show it: it is what the configuration says.
	ResetClearsRisk *bool `json:"resetClearsRisk,omitempty"`
	// Unread says why the first two are not known.
	Unread string `json:"unread,omitempty"`
}

// OnPremisesReset says in words what a new password in Active Directory does to a
// synchronised account's cloud side; "" when all is as one would wish.
func (s *Synchronisation) OnPremisesReset() string {
	if s == nil {
		s = &Synchronisation{}
	}
	switch {
	case s.PasswordHashes == nil:
		return "Whether password hashes are synchronised is not known: it is not known either that the cloud learns the new password."
	case !*s.PasswordHashes:
		return "Password hashes are not synchronised: the cloud does not learn the new password, and the reset closes no risk there."
	case s.ResetClearsRisk == nil:
		return "Whether a new password on premises closes user risk in the cloud is not known (on_premises_reset_clears_risk): if the risk stays, remediated-elsewhere closes it."
	case !*s.ResetClearsRisk:
		return "A new password on premises does not close user risk in the cloud: remediated-elsewhere does that when this is proven."
	}
	return ""
}

// CloudReset says in words what a password that Cordon sets in the cloud means for a
// synchronised account.
func (s *Synchronisation) CloudReset() string {
	const stays = "The account lives in Active Directory and a password that Cordon sets in Entra is not written back: on premises the old one goes on working. Reset it there."
	switch {
	case s == nil || s.WriteBack == nil:
		return stays + " Whether password write-back is on is not known."
	case !*s.WriteBack:
		return stays + " Password write-back is off: what the person sets in the cloud does not reach the domain either."
	}
	return stays
}
