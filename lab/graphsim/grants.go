package graphsim

import "github.com/seed-f47efad2/cordon/lab/world"

// created answers 201 with what a change made.
func created(c *call, context string, do func(world.Object) (world.Item, []world.Effect, error)) (reply, error) {
	var o world.Object
	if err := c.decode(&o); err != nil {
		return reply{}, err
	}
	body := map[string]any(o)
	err := c.apply(func() ([]world.Effect, error) {
		it, effects, err := do(o)
		if err == nil {
			body = it.Object()
		}
		return effects, err
	})
	if err != nil {
		return reply{}, err
	}
	rep := c.single(context, body)
	rep.status = 201
	return rep, nil
}

func assignAppRole(c *call) (reply, error) {
	return created(c, "appRoleAssignments", func(o world.Object) (world.Item, []world.Effect, error) {
		return c.t.world.AssignAppRole(c.actor(), c.params[0], o)
	})
}

func removeAppRole(c *call) (reply, error) {
	return noContent(), c.apply(func() ([]world.Effect, error) {
		return c.t.world.RemoveAppRole(c.actor(), c.params[0], c.params[1])
	})
}

func grantConsent(c *call) (reply, error) {
	return created(c, "oauth2PermissionGrants", func(o world.Object) (world.Item, []world.Effect, error) {
		return c.t.world.GrantConsent(c.actor(), o)
	})
}
