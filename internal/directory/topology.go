package directory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A Controller is a domain controller that the directory itself lists for the
// domain.
type Controller struct {
	Host     string // DNS name, lower case
	PDC      bool   // it holds the PDC emulator role: password changes reach it first
	ReadOnly bool
}

type topology struct {
	controllers []Controller // writable ones first, the PDC before all
	netbios     string       // the domain's short name
	sid         string       // the domain's own SID, which begins those of its accounts
	at          time.Time
}

// staleFor is how long an old list is used while no controller can be asked for a
// new one.
const staleFor = time.Hour

// Controllers returns every controller of the domain as the directory lists them:
// the writable ones first, the PDC emulator before all, then in the configuration's
// order. The list is read again after Options.Refresh; until then a controller that
// was added meanwhile is not known. When no controller can be asked a list of up to
// an hour is used.
func (c *Client) Controllers(ctx context.Context) ([]Controller, error) {
	t, err := c.learn(ctx)
	return slices.Clone(t.controllers), err
}

// SID returns the domain's own security identifier, with which the SIDs of all its
// accounts begin.
func (c *Client) SID(ctx context.Context) (string, error) {
	t, err := c.learn(ctx)
	if err == nil && t.sid == "" {
		err = fault.Errorf(fault.Unavailable, "%s does not show its SID", c.cfg.Domain)
	}
	return t.sid, err
}

// NetBIOS returns the domain's short name, as before a backslash.
func (c *Client) NetBIOS(ctx context.Context) (string, error) {
	t, err := c.learn(ctx)
	return t.netbios, err
}

// learn returns the topology, asking the configured controllers one by one when the
// known one is old.
func (c *Client) learn(ctx context.Context) (topology, error) {
	c.mu.Lock()
	known, now := c.topology, c.o.Now()
	c.mu.Unlock()
	if !known.at.IsZero() && now.Sub(known.at) < c.o.Refresh {
		return known, nil
	}
	hosts, err := c.seeds(ctx)
	if err != nil {
		if !known.at.IsZero() && now.Sub(known.at) < staleFor && ctx.Err() == nil {
			return known, nil
		}
		return topology{}, err
	}
	var errs []error
	for _, h := range c.order(hosts) {
		var t topology
		err := c.on(ctx, h, false, func(ctx context.Context, s *session) (err error) {
			t, err = c.survey(ctx, h, s)
			return err
		})
		if err == nil {
			t.at = now
			c.mu.Lock()
			c.topology = t
			c.mu.Unlock()
			return t, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || !errors.Is(err, fault.Unavailable) {
			break
		}
	}
	if !known.at.IsZero() && now.Sub(known.at) < staleFor && ctx.Err() == nil {
		return known, nil
	}
	return topology{}, errors.Join(errs...)
}

// seeds are the controllers to ask first: the configured ones, else those that DNS
// names for the domain, the PDC emulator before all. Source: MS-ADTS 6.3.2.3.
func (c *Client) seeds(ctx context.Context) ([]*host, error) {
	names := c.cfg.DCs
	if len(names) == 0 {
		ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, errTimeout)
		defer cancel()
		var errs []error
		for _, role := range []string{"pdc", "dc"} {
			_, records, err := c.o.LookupSRV(ctx, "ldap", "tcp", role+"._msdcs."+c.cfg.Domain)
			errs = append(errs, err)
			for _, r := range records {
				if name, err := hostName(r.Target); err == nil && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if len(names) == 0 {
			return nil, &Error{What: "look for controllers in DNS", Kind: fault.Unavailable,
				Err: fmt.Errorf("no SRV record _ldap._tcp.dc._msdcs.%s (%w); name them in dcs", c.cfg.Domain, errors.Join(errs...))}
		}
	}
	var hosts []*host
	for _, dc := range names {
		hosts = append(hosts, c.host(dc))
	}
	return hosts, nil
}

// survey reads which controllers there are: the NTDS settings below each server of
// each site that hold the domain, and whose settings the domain names as PDC
// emulator. Source: MS-ADTS 6.1.1.2.2.1 and 3.1.1.1.11.
func (c *Client) survey(ctx context.Context, h *host, s *session) (topology, error) {
	search := func(base string, scope int, filter string, attrs ...string) ([]*ldap.Entry, error) {
		var r *ldap.SearchResult
		err := c.do(ctx, h, s, "read the list of controllers", false, func(l *ldap.Conn) (err error) {
			r, err = l.SearchWithPaging(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, 0, false, filter, attrs, nil), 500)
			return err
		})
		if err != nil {
			return nil, err
		}
		return r.Entries, nil
	}
	domain, err := search(c.cfg.BaseDN, ldap.ScopeBaseObject, "(objectClass=*)", "fSMORoleOwner", "objectSid")
	if err != nil {
		return topology{}, err
	}
	servers, err := search("CN=Sites,"+s.configNC, ldap.ScopeWholeSubtree, "(objectClass=server)", "dNSHostName")
	if err != nil {
		return topology{}, err
	}
	settings, err := search("CN=Sites,"+s.configNC, ldap.ScopeWholeSubtree, "(objectClass=nTDSDSA)", "objectClass", "hasMasterNCs", "msDS-hasMasterNCs", "msDS-hasFullReplicaNCs")
	if err != nil {
		return topology{}, err
	}
	refs, err := search("CN=Partitions,"+s.configNC, ldap.ScopeSingleLevel, "(&(objectClass=crossRef)(nETBIOSName=*))", "nCName", "nETBIOSName")
	if err != nil {
		return topology{}, err
	}
	t := topology{}
	for _, r := range refs {
		if sameDN(r.GetAttributeValue("nCName"), c.cfg.BaseDN) {
			t.netbios = r.GetAttributeValue("nETBIOSName")
		}
	}
	pdc := ""
	if len(domain) == 1 {
		pdc = domain[0].GetAttributeValue("fSMORoleOwner")
		if t.sid, err = SIDText(domain[0].GetRawAttributeValue("objectSid")); err != nil {
			t.sid = "" // not shown; who needs it says so
		}
	}
	for _, n := range settings {
		readOnly := slices.ContainsFunc(n.GetAttributeValues("objectClass"), func(v string) bool { return strings.EqualFold(v, "nTDSDSARO") })
		holds := slices.Concat(n.GetAttributeValues("hasMasterNCs"), n.GetAttributeValues("msDS-hasMasterNCs"))
		if readOnly {
			holds = n.GetAttributeValues("msDS-hasFullReplicaNCs")
		}
		if !slices.ContainsFunc(holds, func(nc string) bool { return sameDN(nc, c.cfg.BaseDN) }) {
			continue // of another domain of the forest
		}
		parent := parentDN(n.DN)
		for _, server := range servers {
			if name, err := hostName(server.GetAttributeValue("dNSHostName")); err == nil && sameDN(server.DN, parent) {
				t.controllers = append(t.controllers, Controller{Host: name, PDC: pdc != "" && sameDN(n.DN, pdc), ReadOnly: readOnly})
			}
		}
	}
	slices.SortStableFunc(t.controllers, func(a, b Controller) int { return c.rank(a) - c.rank(b) })
	if len(t.controllers) == 0 || t.controllers[0].ReadOnly {
		return topology{}, &Error{DC: h.name, What: "read the list of controllers", Kind: fault.Unavailable,
			Err: errors.New("the directory shows no writable controller of " + c.cfg.Domain + "; may the account read the configuration?")}
	}
	return t, nil
}

// rank orders controllers: read-only last, the PDC first, else as configured.
func (c *Client) rank(k Controller) int {
	at := slices.IndexFunc(c.cfg.DCs, func(dc string) bool { name, _ := hostName(dc); return name == k.Host })
	switch {
	case k.ReadOnly:
		at += 1 << 20
	case k.PDC:
		return -1
	case at < 0:
		at = len(c.cfg.DCs)
	}
	return at
}

// writable returns the controllers that take writes, in order of preference.
func (c *Client) writable(ctx context.Context) ([]*host, error) {
	t, err := c.learn(ctx)
	if err != nil {
		return nil, err
	}
	var out []*host
	for _, k := range t.controllers {
		if !k.ReadOnly {
			out = append(out, c.host(k.Host))
		}
	}
	return out, nil
}

// first runs f on the preferred writable controller and on the next ones while
// they did not answer and nothing can have happened.
func (c *Client) first(ctx context.Context, f func(*host) error) error {
	hosts, err := c.writable(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range c.order(hosts) {
		err := f(h)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fault.Unavailable) {
			return err // one kind alone: what the others said does not matter any more
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}
