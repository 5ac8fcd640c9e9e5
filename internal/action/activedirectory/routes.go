package activedirectory

import "github.com/seed-f47efad2/cordon/internal/action"

// Routes is what playbooks' intents lead to for accounts that Active Directory
// masters.
func Routes() map[action.Name]action.Name {
	return map[action.Name]action.Name{
		"identity.disable":        Disable,
		"identity.enable":         Enable,
		"identity.reset_password": ResetPassword,
	}
}
