package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// UserChanges reads all users once and then what changed, by delta: who everybody is,
// what master their accounts have, and when passwords changed.
type UserChanges struct{ Tenant }

var (
	_ connector.Source    = UserChanges{}
	_ connector.Permitted = UserChanges{}
)

// Name is connector.Source's.
func (UserChanges) Name() connector.Name { return "entraid.userChanges" }

// Permissions is connector.Permitted's. Graph: user-delta.
func (UserChanges) Permissions() []string { return []string{"User.Read.All"} }

// A deltaCursor is where a reading by delta stands.
type deltaCursor struct {
	Link   string `json:"link"`   // the next page's, or the next reading's
	Fields string `json:"fields"` // what it was begun with: a link goes on with the same
}

func parseDelta(c connector.Cursor) (deltaCursor, error) {
	var d deltaCursor
	if c == "" {
		return d, nil
	}
	if err := json.Unmarshal([]byte(c), &d); err != nil || d.Link == "" {
		return d, fault.Errorf(fault.Invalid, "cursor %.60q is not one of a reading by delta", string(c))
	}
	if d.Fields != userFields {
		return deltaCursor{}, nil // another version read other fields: everybody is read again
	}
	return d, nil
}

// deltaUser is a user as a delta shows it: only what changed may be there.
type deltaUser struct {
	user
	Removed json.RawMessage `json:"@removed"`
	present map[string]bool
}

// UnmarshalJSON notes which properties were sent.
func (u *deltaUser) UnmarshalJSON(b []byte) error {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(b, &has); err != nil {
		return err
	}
	u.present = make(map[string]bool, len(has))
	for k := range has {
		u.present[k] = true
	}
	u.Removed = has["@removed"]
	return json.Unmarshal(b, &u.user)
}

// whole reports whether all that facts rest on was sent. Graph may send of a changed
// user only what changed; such a user is read whole.
func (u deltaUser) whole() bool {
	for _, p := range []string{"accountEnabled", "userPrincipalName", "userType"} {
		if !u.present[p] {
			return false
		}
	}
	return true
}

// Pages is connector.Source's. Each page's cursor is its own next link, so that a
// first reading that is broken off goes on where it was. A link that has expired
// begins anew.
func (c UserChanges) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		at, err := parseDelta(cur)
		if err != nil {
			yield(connector.Page{}, err)
			return
		}
		goOn := true
		err = c.read(ctx, at.Link, func(p connector.Page) bool { goOn = yield(p, nil); return goOn })
		if errors.Is(err, graph.ErrResync) && goOn {
			err = c.read(ctx, "", func(p connector.Page) bool { goOn = yield(p, nil); return goOn })
		}
		if err != nil && goOn {
			yield(connector.Page{}, fmt.Errorf("read what changed of the users: %w", err))
		}
	}
}

func (c UserChanges) read(ctx context.Context, link string, take func(connector.Page) bool) error {
	r := graph.Request{Path: "/users/delta", Query: url.Values{"$select": {userFields}}, Priority: graph.Low}
	number := 0
	for p, err := range graph.Pages[deltaUser](ctx, c.Graph, r, graph.Paging{Start: link, Wait: time.Minute}) {
		if err != nil {
			return err
		}
		number++
		page, err := c.page(ctx, p, number)
		if err != nil {
			return err
		}
		next := p.NextLink
		if next == "" {
			next = p.DeltaLink
		}
		if next == "" {
			return fault.Errorf(fault.Unavailable, "the last page of a delta names no link to go on from")
		}
		b, err := json.Marshal(deltaCursor{next, userFields})
		if err != nil {
			return err
		}
		if page.Next = connector.Cursor(b); !take(page) {
			return nil
		}
	}
	return nil
}

func (c UserChanges) page(ctx context.Context, p graph.Page[deltaUser], number int) (connector.Page, error) {
	var page connector.Page
	var partial []identity.Ref
	at := c.Now()
	for n, o := range p.Objects {
		u := o.Value
		switch {
		case o.Err != nil || u.ID == "":
			page.Rejects = append(page.Rejects, connector.Reject{
				Source: "entra.user", Place: fmt.Sprintf("/users/delta page %d item %d", number, n+1), Reason: "without an id, or not a user", Raw: o.Raw,
			})
		case len(u.Removed) > 0:
			page.Facts = append(page.Facts, missing(u.ID, at))
		case !u.whole():
			partial = append(partial, identity.Ref{Provider: identity.EntraID, ObjectID: u.ID})
		default:
			page.Facts = append(page.Facts, u.facts(at))
		}
	}
	read, err := Users(c).Facts(ctx, partial)
	if err != nil {
		return page, err
	}
	page.Facts = append(page.Facts, read...)
	return page, nil
}
