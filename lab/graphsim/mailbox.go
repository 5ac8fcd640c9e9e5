package graphsim

import (
	"slices"

	"github.com/seed-f47efad2/cordon/lab/world"
)

func listRules(c *call) (reply, error) {
	list, err := c.t.world.Rules(c.params[0])
	if err != nil {
		return reply{}, err
	}
	value := []any{}
	for _, it := range list {
		value = append(value, it.Object())
	}
	return reply{status: 200, body: map[string]any{
		"@odata.context": c.contextURL("users('" + c.params[0] + "')/mailFolders('inbox')/messageRules"), "value": value,
	}}, nil
}

func updateRule(c *call) (reply, error) {
	var patch map[string]any
	if err := c.decode(&patch); err != nil {
		return reply{}, err
	}
	body := patch
	err := c.apply(func() ([]world.Effect, error) {
		it, effects, err := c.t.world.UpdateRule(c.actor(), c.params[0], c.params[1], patch)
		if err == nil {
			body = it.Object()
		}
		return effects, err
	})
	if err != nil {
		return reply{}, err
	}
	return c.single("users('"+c.params[0]+"')/mailFolders('inbox')/messageRules", body), nil
}

func deleteRule(c *call) (reply, error) {
	return noContent(), c.apply(func() ([]world.Effect, error) {
		return c.t.world.DeleteRule(c.actor(), c.params[0], c.params[1])
	})
}

// requestRole checks the permission that the action of the request needs: the
// narrow one only takes roles away.
func requestRole(eligible bool) func(*call) (reply, error) {
	kind := "RoleAssignmentSchedule"
	if eligible {
		kind = "RoleEligibilitySchedule"
	}
	return func(c *call) (reply, error) {
		var o world.Object
		if err := c.decode(&o); err != nil {
			return reply{}, err
		}
		may := []string{kind + ".ReadWrite.Directory", "RoleManagement.ReadWrite.Directory"}
		if o["action"] == "adminRemove" {
			may = append(may, kind+".Remove.Directory")
		}
		if !slices.ContainsFunc(may, func(p string) bool { return slices.Contains(c.sess.roles, p) }) {
			return reply{}, &graphError{403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
		}
		return created(c, "roleManagement/directory/r"+kind[1:]+"Requests", func(o world.Object) (world.Item, []world.Effect, error) {
			return c.t.world.RequestRole(c.actor(), eligible, o)
		})
	}
}
