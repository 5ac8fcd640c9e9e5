package directory

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// An Object is what one controller shows of one object.
type Object struct {
	DC   string // who showed it
	DN   string // as it is now; it changes with renames and moves
	GUID string // lower case with dashes; never changes
	SID  string // "" for objects without one

	values map[string][][]byte // by lower-case attribute
}

// Values returns an attribute's values. None means that there are none or that
// the account may not read them: the directory does not tell the two apart.
func (o Object) Values(attribute string) [][]byte { return o.values[strings.ToLower(attribute)] }

// Text returns an attribute's first value, and whether there is one.
func (o Object) Text(attribute string) (string, bool) {
	v := o.Values(attribute)
	if len(v) == 0 {
		return "", false
	}
	return string(v[0]), true
}

// number returns an attribute as a whole number, 0 when it is none or not there.
func (o Object) number(attribute string) int64 {
	text, _ := o.Text(attribute)
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// Number is an attribute as a whole number, and whether it is one.
func (o Object) Number(attribute string) (int64, bool) {
	text, ok := o.Text(attribute)
	v, err := strconv.ParseInt(text, 10, 64)
	return v, ok && err == nil
}

// span returns an interval, which the directory writes as negative 100 ns; 0 when
// it is none or never.
func (o Object) span(attribute string) time.Duration {
	v := o.number(attribute)
	if v >= 0 || v < -1<<62/100 {
		return 0
	}
	return time.Duration(-v) * 100
}

// Is reports whether one of objectClass's values is class.
func (o Object) Is(class string) bool {
	return slices.ContainsFunc(o.Values("objectClass"), func(v []byte) bool { return strings.EqualFold(string(v), class) })
}

// A Subject names one object by its strong identifiers, at least one of them.
type Subject struct {
	SID  string
	GUID string
}

// A Sight is what a controller shows of a Subject. Neither Object nor Err: there
// is no such object there. Err is fault.Conflict when SID and GUID name two
// objects, and fault.Invalid when they are none.
type Sight struct {
	Object *Object
	Err    error
}

// A View is what one controller shows of Subjects, one to one. With Err there are
// no sights.
type View struct {
	DC     string
	Sights []Sight
	Err    error
}

// perFilter is how many subjects one search names.
const perFilter = 40

// See reads the subjects on the preferred writable controller. objectClass and the
// identifiers are always among the attributes.
func (c *Client) See(ctx context.Context, subjects []Subject, attributes ...string) (View, error) {
	var v View
	err := c.first(ctx, func(h *host) error {
		v = c.see(ctx, h, subjects, attributes)
		return v.Err
	})
	return v, err
}

// SeeEverywhere reads the subjects on every writable controller at once, one View
// for each; a controller that cannot be read says why in its View. The error is
// about the list of controllers.
func (c *Client) SeeEverywhere(ctx context.Context, subjects []Subject, attributes ...string) ([]View, error) {
	hosts, err := c.writable(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]View, len(hosts))
	var all sync.WaitGroup
	for n, h := range hosts {
		all.Go(func() { views[n] = c.see(ctx, h, subjects, attributes) })
	}
	all.Wait()
	return views, nil
}

func (c *Client) see(ctx context.Context, h *host, subjects []Subject, attributes []string) View {
	v := View{DC: h.name, Sights: make([]Sight, len(subjects))}
	v.Err = c.on(ctx, h, false, func(ctx context.Context, s *session) error {
		for from := 0; from < len(subjects); from += perFilter {
			to := min(from+perFilter, len(subjects))
			if err := c.seeSome(ctx, h, s, subjects[from:to], v.Sights[from:to], attributes); err != nil {
				return err
			}
		}
		return nil
	})
	return v
}

func (c *Client) seeSome(ctx context.Context, h *host, s *session, subjects []Subject, sights []Sight, attributes []string) error {
	var filter strings.Builder
	for n, sub := range subjects {
		one, err := sub.filter()
		if err != nil {
			sights[n].Err = err
			continue
		}
		filter.WriteString(one)
	}
	if filter.Len() == 0 {
		return nil
	}
	var found []Object
	for o, err := range c.search(ctx, h, s, Query{Filter: "(|" + filter.String() + ")", Attributes: attributes}) {
		if err != nil {
			return err
		}
		found = append(found, o)
	}
	for n, sub := range subjects {
		if sights[n].Err == nil {
			sights[n] = sub.pick(found)
		}
	}
	return nil
}

func (s Subject) filter() (string, error) {
	var f string
	if s.SID != "" {
		b, err := SIDBytes(s.SID)
		if err != nil {
			return "", err
		}
		f += bytesFilter("objectSid", b)
	}
	if s.GUID != "" {
		b, err := GUIDBytes(s.GUID)
		if err != nil {
			return "", err
		}
		f += bytesFilter("objectGUID", b)
	}
	if f == "" {
		return "", fault.Errorf(fault.Invalid, "neither a SID nor an objectGUID names the account")
	}
	return f, nil
}

// pick finds the subject among the objects. Two keys that disagree are how a
// takeover looks: nothing is picked.
func (s Subject) pick(found []Object) Sight {
	guid := strings.ToLower(strings.Trim(strings.TrimSpace(s.GUID), "{}"))
	sid := strings.TrimSpace(s.SID)
	var out Sight
	for n, o := range found {
		bySID, byGUID := sid != "" && strings.EqualFold(o.SID, sid), guid != "" && o.GUID == guid
		if !bySID && !byGUID {
			continue
		}
		if sid != "" && guid != "" && bySID != byGUID {
			return Sight{Err: fault.Errorf(fault.Conflict, "SID %s and objectGUID %s name different accounts", clean(s.SID, 100), guid)}
		}
		out.Object = &found[n]
	}
	return out
}

// A Query is a search of the domain.
type Query struct {
	Base       string   // the domain
	Filter     string   // RFC 4515; made with the escaping functions only
	Attributes []string // a name may carry a range option, "member;range=0-99"; all values are read nevertheless
	Page       int      // objects to a page; 500
	Limit      int      // objects at most; 0 is all of them
	One        bool     // the base object alone, which constructed attributes (tokenGroups) need
	Descriptor bool     // nTSecurityDescriptor without the audit list, which only administrators may read
}

// Search yields what the preferred writable controller finds, page by page, each
// object with all values of the attributes. An error ends it; a controller that
// fails midway is not replaced by another, whose order would differ.
func (c *Client) Search(ctx context.Context, q Query) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		// Pages are pulled inside the connection's turn, so they are collected first:
		// the caller may take its time.
		var all []Object
		err := c.first(ctx, func(h *host) error {
			all = nil
			return c.on(ctx, h, false, func(ctx context.Context, s *session) error {
				for o, err := range c.search(ctx, h, s, q) {
					if err != nil {
						return err
					}
					if all = append(all, o); q.Limit > 0 && len(all) >= q.Limit {
						return nil
					}
				}
				return nil
			})
		})
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			yield(Object{}, err)
		}
	}
}

func (c *Client) search(ctx context.Context, h *host, s *session, q Query) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		if q.Base == "" {
			q.Base = c.cfg.BaseDN
		}
		if q.Page <= 0 {
			q.Page = 500
		}
		paging := ldap.NewControlPaging(uint32(min(q.Page, 1000)))
		attributes := append([]string{"objectGUID", "objectSid", "objectClass"}, q.Attributes...)
		scope, controls := ldap.ScopeWholeSubtree, []ldap.Control{paging}
		if q.One {
			scope = ldap.ScopeBaseObject
		}
		if q.Descriptor { // owner, group and discretionary list (MS-ADTS 3.1.1.3.4.1.11)
			controls = append(controls, &ldap.ControlMicrosoftSDFlags{Criticality: true, ControlValue: 7})
		}
		for {
			var r *ldap.SearchResult
			err := c.do(ctx, h, s, "search", false, func(l *ldap.Conn) (err error) {
				r, err = l.Search(ldap.NewSearchRequest(q.Base, scope, ldap.NeverDerefAliases, 0, 0, false, q.Filter, attributes, controls))
				return err
			})
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, e := range r.Entries {
				o, err := c.object(ctx, h, s, e)
				if !yield(o, err) || err != nil {
					return
				}
			}
			more, _ := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if more == nil || len(more.Cookie) == 0 {
				return
			}
			paging.SetCookie(more.Cookie)
		}
	}
}

// object converts an entry, and reads the rest of attributes that the controller
// gave in part (MaxValRange; MS-ADTS 3.1.1.3.1.3.3).
func (c *Client) object(ctx context.Context, h *host, s *session, e *ldap.Entry) (Object, error) {
	o := Object{DC: h.name, DN: e.DN, values: map[string][][]byte{}}
	for _, a := range e.Attributes {
		name, _, next := ranged(a.Name)
		values := a.ByteValues
		for next > 0 {
			more, after, err := c.remainder(ctx, h, s, e.DN, name, next)
			if err != nil {
				return o, err
			}
			values, next = append(values, more...), after
		}
		key := strings.ToLower(name)
		o.values[key] = append(o.values[key], values...)
	}
	b := o.Values("objectGUID")
	if len(b) != 1 {
		return o, &Error{DC: h.name, What: "search", Kind: fault.Unavailable, Err: errors.New("an object without an objectGUID")}
	}
	var err error
	if o.GUID, err = GUIDText(b[0]); err != nil {
		return o, &Error{DC: h.name, What: "search", Kind: fault.Unavailable, Err: err}
	}
	if b := o.Values("objectSid"); len(b) == 1 {
		if o.SID, err = SIDText(b[0]); err != nil {
			return o, &Error{DC: h.name, What: "search", Kind: fault.Unavailable, Err: err}
		}
	}
	return o, nil
}

// remainder reads values from the position on and says where the next ones begin, 0
// at the end.
func (c *Client) remainder(ctx context.Context, h *host, s *session, dn, attribute string, from int) ([][]byte, int, error) {
	var r *ldap.SearchResult
	err := c.do(ctx, h, s, "read the rest of "+attribute, false, func(l *ldap.Conn) (err error) {
		r, err = l.Search(ldap.NewSearchRequest(dn, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)",
			[]string{attribute + ";range=" + strconv.Itoa(from) + "-*"}, nil))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, e := range r.Entries {
		for _, a := range e.Attributes {
			name, first, next := ranged(a.Name)
			if !strings.EqualFold(name, attribute) {
				continue
			}
			if first != from || next > 0 && len(a.ByteValues) == 0 {
				return nil, 0, &Error{DC: h.name, What: "read the rest of " + attribute, Kind: fault.Unavailable, Err: errors.New("the controller answered with another range")}
			}
			return a.ByteValues, next, nil
		}
	}
	return nil, 0, nil
}

// ranged splits "member;range=0-1499": values from first on, more from next on; 0
// when these are the last ones ("member;range=1500-*") or all.
func ranged(attribute string) (name string, first, next int) {
	name, option, ok := strings.Cut(attribute, ";range=")
	if !ok {
		return attribute, 0, 0
	}
	from, to, _ := strings.Cut(option, "-")
	first, err := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err != nil || err2 != nil || last < first {
		return name, first, 0
	}
	return name, first, last + 1
}
