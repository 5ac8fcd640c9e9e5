package directory

import (
	"context"
	"sync"

	"github.com/go-ldap/ldap/v3"
)

// A Membership asks whether an account is a direct member of a group. Both are
// objectGUIDs.
type Membership struct{ Account, Group string }

// A Bond is what one controller shows of a Membership. With Err it shows nothing.
type Bond struct {
	Account, Group *Object // nil: not there, or not to be read
	Direct         bool    // the group's attribute member names the account
	Err            error
}

// Bonds are what one controller shows of Memberships, one to one. With Err there
// are none.
type Bonds struct {
	DC    string
	Bonds []Bond
	Err   error
}

// Members asks the preferred writable controller. account and group are attributes
// to read of each. The group's members are asked for one by one and never listed:
// a group has any number of them.
func (c *Client) Members(ctx context.Context, list []Membership, account, group []string) (Bonds, error) {
	var out Bonds
	err := c.first(ctx, func(h *host) error {
		out = c.members(ctx, h, list, account, group)
		return out.Err
	})
	return out, err
}

// MembersEverywhere asks every writable controller at once, as SeeEverywhere does.
func (c *Client) MembersEverywhere(ctx context.Context, list []Membership, account, group []string) ([]Bonds, error) {
	hosts, err := c.writable(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Bonds, len(hosts))
	var all sync.WaitGroup
	for n, h := range hosts {
		all.Go(func() { out[n] = c.members(ctx, h, list, account, group) })
	}
	all.Wait()
	return out, nil
}

func (c *Client) members(ctx context.Context, h *host, list []Membership, account, group []string) Bonds {
	out := Bonds{DC: h.name, Bonds: make([]Bond, len(list))}
	accounts, groups := make([]Subject, len(list)), make([]Subject, len(list))
	for n, m := range list {
		accounts[n], groups[n] = Subject{GUID: m.Account}, Subject{GUID: m.Group}
	}
	out.Err = c.on(ctx, h, false, func(ctx context.Context, s *session) error {
		who, where := make([]Sight, len(list)), make([]Sight, len(list))
		for from := 0; from < len(list); from += perFilter {
			to := min(from+perFilter, len(list))
			if err := c.seeSome(ctx, h, s, accounts[from:to], who[from:to], account); err != nil {
				return err
			}
			if err := c.seeSome(ctx, h, s, groups[from:to], where[from:to], group); err != nil {
				return err
			}
		}
		for n := range list {
			b := &out.Bonds[n]
			b.Account, b.Group = who[n].Object, where[n].Object
			if b.Err = who[n].Err; b.Err == nil {
				b.Err = where[n].Err
			}
		}
		return nil
	})
	if out.Err != nil {
		return out
	}
	// One question each, a few at once: each has the whole of the request timeout.
	turns := make(chan struct{}, 4)
	var all sync.WaitGroup
	for n := range list {
		b := &out.Bonds[n]
		if b.Err != nil || b.Account == nil || b.Group == nil {
			continue
		}
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			b.Err = c.on(ctx, h, false, func(ctx context.Context, s *session) (err error) {
				b.Direct, err = c.holds(ctx, h, s, *b.Group, "member", b.Account.DN)
				return err
			})
		})
	}
	all.Wait()
	return out
}

// holds reports whether an attribute of an object has a value, by asking for the
// object only if it has.
func (c *Client) holds(ctx context.Context, h *host, s *session, o Object, attribute, value string) (bool, error) {
	var r *ldap.SearchResult
	err := c.do(ctx, h, s, "search", false, func(l *ldap.Conn) (err error) {
		r, err = l.Search(ldap.NewSearchRequest(o.DN, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false,
			textFilter(attribute, value), []string{"1.1"}, nil)) // 1.1: no attribute (RFC 4511, 4.5.1.8)
		return err
	})
	return err == nil && len(r.Entries) == 1, err
}
