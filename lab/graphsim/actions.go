package graphsim

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

// noContent is the answer of most changes.
func noContent() reply { return reply{status: 204} }

func userFeedback(v world.Verdict) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			UserIDs []string `json:"userIds"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		return noContent(), c.apply(func() ([]world.Effect, error) { return c.t.world.UserFeedback(c.actor(), v, in.UserIDs) })
	}
}

func signInFeedback(v world.Verdict) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			RequestIDs []string `json:"requestIds"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		return noContent(), c.apply(func() ([]world.Effect, error) { return c.t.world.SignInFeedback(c.actor(), v, in.RequestIDs) })
	}
}

func servicePrincipalFeedback(v world.Verdict) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			IDs []string `json:"servicePrincipalIds"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		return noContent(), c.apply(func() ([]world.Effect, error) {
			return c.t.world.ServicePrincipalFeedback(c.actor(), v, in.IDs)
		})
	}
}

// patchUser checks the permission of each property before any is applied:
// the narrow permissions open one property each.
func patchUser(c *call) (reply, error) {
	var patch map[string]any
	if err := c.decode(&patch); err != nil {
		return reply{}, err
	}
	roles := c.sess.roles
	has := func(any ...string) bool {
		return slices.ContainsFunc(any, func(p string) bool { return slices.Contains(roles, p) })
	}
	wide := has("User.ReadWrite.All", "Directory.ReadWrite.All")
	for name := range patch {
		ok := wide
		switch {
		case strings.EqualFold(name, "accountEnabled"):
			// The narrow permission counts only together with one to read.
			ok = wide || has("User.EnableDisableAccount.All") && has("User.Read.All", "User.ReadBasic.All", "Directory.Read.All")
		case strings.EqualFold(name, "passwordProfile"):
			// Directory.ReadWrite.All does not open passwords.
			ok = has("User-PasswordProfile.ReadWrite.All", "User.ReadWrite.All")
		}
		if !ok {
			return reply{}, &graphError{403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
		}
		if profile, isOne := patch[name].(map[string]any); isOne && c.t.opts.Secret != nil && strings.EqualFold(name, "passwordProfile") {
			if secret, given := profile["password"].(string); given {
				c.t.opts.Secret(secret)
			}
		}
	}
	return noContent(), c.apply(func() ([]world.Effect, error) {
		return c.t.world.Update(c.actor(), world.Users, c.params[0], patch)
	})
}

func revokeSessions(c *call) (reply, error) {
	err := c.apply(func() ([]world.Effect, error) {
		return c.t.world.RevokeSignInSessions(c.actor(), c.params[0])
	})
	return reply{status: 200, body: map[string]any{
		"@odata.context": c.base + "/" + c.version + "/$metadata#Edm.Boolean", "value": true,
	}}, err
}

// update answers PATCH. status is 204, or 200 with the changed object.
func update(coll world.Collection, status int) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var patch map[string]any
		if err := c.decode(&patch); err != nil {
			return reply{}, err
		}
		err := c.apply(func() ([]world.Effect, error) { return c.t.world.Update(c.actor(), coll, c.params[0], patch) })
		if err != nil || status == 204 {
			return noContent(), err
		}
		it, err := c.get(coll, c.params[0])
		if err != nil {
			return reply{}, err
		}
		return c.single(string(coll), it.Object()), nil
	}
}

func create(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var o map[string]any
		if err := c.decode(&o); err != nil {
			return reply{}, err
		}
		created := o
		err := c.apply(func() ([]world.Effect, error) {
			it, effects, err := c.t.world.Create(c.actor(), coll, o)
			if err == nil {
				created = it.Object()
			}
			return effects, err
		})
		if err != nil {
			return reply{}, err
		}
		rep := c.single(string(coll), created)
		rep.status = 201
		return rep, nil
	}
}

func remove(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		return noContent(), c.apply(func() ([]world.Effect, error) { return c.t.world.Delete(c.actor(), coll, c.params[0]) })
	}
}

func addMember(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			ID string `json:"@odata.id"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		_, id, ok := cutLast(strings.TrimSuffix(in.ID, "/"), "/")
		if !ok || !isGUID(id) {
			return reply{}, &graphError{400, "Request_BadRequest", "Invalid URL format specified in @odata.id."}
		}
		return noContent(), c.apply(func() ([]world.Effect, error) { return c.t.world.AddMember(c.actor(), coll, c.params[0], id) })
	}
}

func removeMember(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		return noContent(), c.apply(func() ([]world.Effect, error) {
			return c.t.world.RemoveMember(c.actor(), coll, c.params[0], c.params[1])
		})
	}
}

func removePassword(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			KeyID string `json:"keyId"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		return noContent(), c.apply(func() ([]world.Effect, error) {
			return c.t.world.RemovePassword(c.actor(), coll, c.params[0], in.KeyID)
		})
	}
}

// removeKey needs a proof signed with another key of the same application,
// which nobody but that application has; every other proof is refused.
func removeKey(*call) (reply, error) {
	return reply{}, &graphError{401, "Authentication_MissingOrMalformed", "Access Token missing or malformed: the proof of possession is not signed by a valid key of the application."}
}

func comment(coll world.Collection) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		var in struct {
			Comment string `json:"comment"`
		}
		if err := c.decode(&in); err != nil {
			return reply{}, err
		}
		if strings.TrimSpace(in.Comment) == "" {
			return reply{}, &graphError{400, "BadRequest", "The comment is empty."}
		}
		all := []any{}
		err := c.apply(func() ([]world.Effect, error) {
			list, effects, err := c.t.world.Comment(c.actor(), coll, c.params[0], in.Comment)
			if err == nil {
				all = list
			}
			return effects, err
		})
		return reply{status: 200, body: map[string]any{
			"@odata.context": c.contextURL(string(coll) + "('" + c.params[0] + "')/comments"), "value": all,
		}}, err
	}
}

func invokeAction(c *call) (reply, error) {
	var in world.Invocation
	if err := c.decode(&in); err != nil {
		return reply{}, err
	}
	correlation := c.t.newGUID()
	err := c.apply(func() ([]world.Effect, error) {
		id, effects, err := c.t.world.InvokeAction(c.actor(), c.params[0], in)
		if id != "" {
			correlation = id
		}
		return effects, err
	})
	return reply{status: 200, body: map[string]any{
		"@odata.context": c.contextURL("microsoft.graph.security.invokeActionResult"),
		"accountId":      in.AccountID, "action": in.Action, "identityProvider": in.IdentityProvider, "correlationId": correlation,
	}}, err
}

// methodKind is one kind of authentication method and its own permissions.
type methodKind struct{ path, typ, read, write string }

func methodKinds() []methodKind {
	k := func(path, typ, perm string) methodKind {
		p := "UserAuthMethod-" + perm
		return methodKind{path, "#microsoft.graph." + typ, p + ".Read.All " + p + ".ReadWrite.All", p + ".ReadWrite.All"}
	}
	password := k("passwordMethods", "passwordAuthenticationMethod", "Password")
	password.write = ""
	return []methodKind{
		password,
		k("fido2Methods", "fido2AuthenticationMethod", "Passkey"),
		k("microsoftAuthenticatorMethods", "microsoftAuthenticatorAuthenticationMethod", "MicrosoftAuthApp"),
		k("phoneMethods", "phoneAuthenticationMethod", "Phone"),
		k("emailMethods", "emailAuthenticationMethod", "Email"),
		k("softwareOathMethods", "softwareOathAuthenticationMethod", "SoftwareOATH"),
		k("temporaryAccessPassMethods", "temporaryAccessPassAuthenticationMethod", "TAP"),
		k("windowsHelloForBusinessMethods", "windowsHelloForBusinessAuthenticationMethod", "WindowsHello"),
	}
}

func (c *call) methods(typ string) ([]world.Item, error) {
	all, err := c.t.world.Related(world.Users, c.params[0], world.AuthenticationMethods)
	if err != nil || typ == "" {
		return all, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(it world.Item) bool {
		t, _ := it.Value("@odata.type")
		return t != typ
	}), nil
}

func methodsOf(k methodKind) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		items, err := c.methods(k.typ)
		if err != nil {
			return reply{}, err
		}
		return c.page(listing{spec: c.route.spec, src: fromSlice(items), context: "users('" + c.params[0] + "')/authentication/" + k.path})
	}
}

func oneMethod(typ string) func(*call) (reply, error) {
	return func(c *call) (reply, error) {
		items, err := c.methods(typ)
		if err != nil {
			return reply{}, err
		}
		for _, it := range items {
			if it.ID() == c.params[1] {
				return c.single("users('"+c.params[0]+"')/authentication/methods", it.Object()), nil
			}
		}
		return reply{}, &graphError{404, "resourceNotFound", "The requested authentication method was not found."}
	}
}

func deleteMethod(c *call) (reply, error) {
	return noContent(), c.apply(func() ([]world.Effect, error) {
		return c.t.world.DeleteMethod(c.actor(), c.params[0], c.params[1])
	})
}

func addPass(c *call) (reply, error) {
	var in struct {
		LifetimeInMinutes *int  `json:"lifetimeInMinutes"`
		IsUsableOnce      *bool `json:"isUsableOnce"`
	}
	if err := c.decode(&in); err != nil {
		return reply{}, err
	}
	minutes, once := 60, false
	if in.LifetimeInMinutes != nil {
		minutes = *in.LifetimeInMinutes
	}
	if in.IsUsableOnce != nil {
		once = *in.IsUsableOnce
	}
	if minutes < 10 || minutes > 43200 {
		return reply{}, &graphError{400, "BadRequest", "Temporary Access Pass lifetime must be between 10 and 43200 minutes."}
	}
	body := map[string]any{"lifetimeInMinutes": minutes, "isUsableOnce": once}
	err := c.apply(func() ([]world.Effect, error) {
		it, effects, err := c.t.world.AddTemporaryAccessPass(c.actor(), c.params[0], time.Duration(minutes)*time.Minute, once)
		if err == nil {
			body = it.Object()
		}
		return effects, err
	})
	if err != nil {
		return reply{}, err
	}
	rep := c.single("users('"+c.params[0]+"')/authentication/temporaryAccessPassMethods", body)
	rep.status = 201
	return rep, nil
}

// getByIDs answers up to 1,000 directory objects at once; ids that name none
// are left out.
func getByIDs(c *call) (reply, error) {
	var in struct {
		IDs   []string `json:"ids"`
		Types []string `json:"types"`
	}
	if err := c.decode(&in); err != nil {
		return reply{}, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > 1000 {
		return reply{}, &graphError{400, "Request_BadRequest", "The number of ids must be between 1 and 1000."}
	}
	value := []any{}
	for _, id := range in.IDs {
		kind, it, ok := c.t.world.DirectoryObject(id)
		if !ok {
			continue
		}
		o := typed(kind, c.render(kind, c.route.spec, it))
		name, _ := o["@odata.type"].(string)
		name = strings.TrimPrefix(name, "#microsoft.graph.")
		if len(in.Types) > 0 && !slices.Contains(in.Types, name) && !slices.Contains(in.Types, "directoryObject") {
			continue
		}
		value = append(value, o)
	}
	return reply{status: 200, body: map[string]any{"@odata.context": c.contextURL("directoryObjects"), "value": value}}, nil
}
