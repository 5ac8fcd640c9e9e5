package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// passwordMethodID is the id of everybody's password method, as Microsoft
// documents it.
const passwordMethodID = "28c10230-6103-485e-b985-444c60001490"

// methods are a person's authentication methods once they differ from what the
// seed gave; until then they are derived from the person.
type methods struct{ list []*record }

// methodsOf lists a person's methods, the password first.
func (w *World) methodsOf(u *person) []*record {
	if m := w.rel.methods[u.id]; m != nil {
		return m.list
	}
	add := func(list []*record, kind, id string, more Object) []*record {
		o := Object{"@odata.type": "#microsoft.graph." + kind, "id": id, "createdDateTime": second(u.created)}
		for k, v := range more {
			o[k] = v
		}
		return append(list, &record{id, o})
	}
	list := add(nil, "passwordAuthenticationMethod", passwordMethodID, Object{"password": nil, "createdDateTime": second(u.passwordAt)})
	if u.guest() {
		return list
	}
	// Ids are derived from the person's own, so that they stay the same without being stored.
	derived := func(n byte) string { return u.id[:len(u.id)-2] + fmt.Sprintf("%02x", n) }
	if u.authenticator {
		list = add(list, "microsoftAuthenticatorAuthenticationMethod", derived(0xa1), Object{
			"displayName": "Phone of " + cmp.Or(u.given, u.display), "deviceTag": "SoftwareTokenActivated", "phoneAppVersion": "6.2508.5391"})
	}
	if u.phone {
		list = add(list, "phoneAuthenticationMethod", "3179e48a-750b-4051-897c-87b9720928f7", Object{
			"phoneNumber": "+49 " + fmt.Sprintf("30 555%04d", u.pos%10000), "phoneType": "mobile", "smsSignInState": "notEnabled"})
	}
	if u.fido {
		list = add(list, "fido2AuthenticationMethod", derived(0xf2), Object{
			"displayName": "Security key", "aaGuid": "2fc0579f-8113-47ea-b116-bb5a8db9202a", "model": "USB-C key",
			"attestationCertificates": []any{}, "attestationLevel": "attested"})
	}
	return list
}

// ownMethods gives a person an own list that can be changed.
func (w *World) ownMethods(u *person) *methods {
	if m := w.rel.methods[u.id]; m != nil {
		return m
	}
	m := &methods{w.methodsOf(u)}
	w.rel.methods[u.id] = m
	return m
}

// AddTemporaryAccessPass gives a person a pass for 10 minutes to 30 days. The
// returned method carries the pass; the list of methods never does.
func (w *World) AddTemporaryAccessPass(a Actor, userID string, lifetime time.Duration, once bool) (Item, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return nil, nil, errNotFound(userID)
	}
	if lifetime < 10*time.Minute || lifetime > 30*24*time.Hour {
		return nil, nil, errBad("lifetimeInMinutes must be between 10 and 43200.")
	}
	if err := w.mayChange(a, u, SetMethods); err != nil {
		return nil, nil, err
	}
	m := w.ownMethods(u)
	if slices.ContainsFunc(m.list, func(r *record) bool {
		return strings.HasSuffix(r.obj["@odata.type"].(string), ".temporaryAccessPassAuthenticationMethod")
	}) {
		return nil, nil, errBad("A Temporary Access Pass method already exists for this user.")
	}
	id := w.newID()
	o := Object{"@odata.type": "#microsoft.graph.temporaryAccessPassAuthenticationMethod", "id": id,
		"createdDateTime": second(now.Unix()), "startDateTime": second(now.Unix()), "lifetimeInMinutes": int(lifetime / time.Minute),
		"isUsableOnce": once, "isUsable": true, "methodUsabilityReason": "EnabledByPolicy", "temporaryAccessPass": nil}
	m.list = append(slices.Clone(m.list), &record{id, o})
	c := &change{w: w, at: now, actor: a}
	c.did("users/"+u.id, "authentication/methods/"+id, false, true)
	c.auditUser("Admin registered temporary access pass method for user", u)
	shown := make(Object, len(o))
	for k, v := range o {
		shown[k] = v
	}
	shown["temporaryAccessPass"] = w.newHex(8)
	return &record{id, shown}, c.effects, nil
}

// DeleteMethod removes an authentication method; the password cannot be removed.
func (w *World) DeleteMethod(a Actor, userID, methodID string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return nil, errNotFound(userID)
	}
	if err := w.mayChange(a, u, SetMethods); err != nil {
		return nil, err
	}
	if methodID == passwordMethodID {
		return nil, errBad("The password method cannot be deleted.")
	}
	i := slices.IndexFunc(w.methodsOf(u), func(r *record) bool { return strings.EqualFold(r.id, methodID) })
	if i < 0 {
		return nil, errNotFound(methodID)
	}
	m := w.ownMethods(u)
	kind := m.list[i].obj["@odata.type"].(string)
	m.list = slices.Delete(slices.Clone(m.list), i, i+1)
	has := func(suffix string) bool {
		return slices.ContainsFunc(m.list, func(r *record) bool { return strings.HasSuffix(r.obj["@odata.type"].(string), suffix) })
	}
	w.people.edit(u.id, func(u *person) {
		u.authenticator = has(".microsoftAuthenticatorAuthenticationMethod")
		u.phone = has(".phoneAuthenticationMethod")
		u.fido = has(".fido2AuthenticationMethod")
	})
	c := &change{w: w, at: now, actor: a}
	c.did("users/"+u.id, "authentication/methods/"+methodID, true, false)
	c.auditUser("Admin deleted security info", u, modified("StrongAuthenticationMethod", strings.TrimPrefix(kind, "#microsoft.graph."), nil))
	return c.effects, nil
}

// registered reports whether a person can pass a second factor.
func (u *person) registered() bool { return u.authenticator || u.phone || u.fido }

// registrations is the userRegistrationDetails report, derived from people.
// It has no row for people without an account of their own here.
type registrations struct{ w *World }

func (r registrations) span() int                          { return r.w.people.span() }
func (r registrations) count() int                         { return r.w.people.count() }
func (r registrations) findBy(string, string) (Item, bool) { return nil, false }
func (r registrations) at(pos int) Item {
	if u := r.w.people.list[pos]; !u.deleted {
		return registration{u, len(r.w.activeRoles(u.id)) > 0, r.w.start}
	}
	return nil
}
func (r registrations) find(key string) (Item, bool) {
	u, ok := r.w.people.user(key)
	if !ok || u.deleted {
		return nil, false
	}
	return r.at(u.pos), true
}

// registration is one row of that report.
type registration struct {
	u     *person
	admin bool
	at    time.Time
}

func (r registration) ID() string { return r.u.id }

// Value renders one property.
func (r registration) Value(p string) (any, bool) {
	switch p {
	case "id":
		return r.u.id, true
	case "isMfaRegistered", "isMfaCapable":
		return r.u.registered(), true
	case "isAdmin":
		return r.admin, true
	}
	v, ok := r.Object()[p]
	return v, ok
}

// Object renders the row.
func (r registration) Object() Object {
	u := r.u
	var list, preferred []any
	secondary := "none"
	if u.fido {
		list = append(list, "passKeyDeviceBound")
	}
	if u.authenticator {
		list = append(list, "microsoftAuthenticatorPush", "softwareOneTimePasscode")
		secondary = "push"
	}
	if u.phone {
		list = append(list, "mobilePhone")
		if secondary == "none" {
			secondary = "sms"
		}
	}
	for _, m := range list {
		if m == "passKeyDeviceBound" || m == "microsoftAuthenticatorPush" {
			preferred = append(preferred, m)
			break
		}
	}
	kind := "member"
	if u.guest() {
		kind = "guest"
	}
	return Object{
		"id": u.id, "userPrincipalName": u.upn, "userDisplayName": u.display, "userType": kind, "isAdmin": r.admin,
		"isMfaRegistered": u.registered(), "isMfaCapable": u.registered(), "isPasswordlessCapable": u.passwordless || u.fido,
		"isSsprRegistered": u.sspr, "isSsprEnabled": !u.guest(), "isSsprCapable": u.sspr,
		"isSystemPreferredAuthenticationMethodEnabled": true, "systemPreferredAuthenticationMethods": orEmpty(preferred),
		"methodsRegistered": orEmpty(list), "userPreferredMethodForSecondaryAuthentication": secondary,
		"lastUpdatedDateTime": stamp(r.at),
	}
}

func orEmpty(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}
