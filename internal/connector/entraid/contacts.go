package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A Contact is how the directory knows a person. Telephone numbers and other addresses
// are not read: whoever has the account may have put their own there.
type Contact struct {
	Name     string `json:"displayName"`
	ObjectID string `json:"id"`
	UPN      string `json:"userPrincipalName"`
	Mail     string `json:"mail"`
}

// contactFields is what is read of a user for that. Graph: user resource, v1.0.
const contactFields = "id,displayName,userPrincipalName,mail"

// Contacts returns the person behind an account and their manager; the zero value when
// they have none. It is fault.NotFound when the directory has no such person. Graph:
// user-get, user-list-manager; with the permission User.Read.All.
func (c Users) Contacts(ctx context.Context, r identity.Ref) (person, manager Contact, err error) {
	if r.ObjectID == "" || isWorkload(r) {
		return person, manager, fault.Errorf(fault.NotFound, "Entra ID knows no person of this account")
	}
	for _, one := range []struct {
		to   *Contact
		path string
	}{{&person, graph.Path("users", r.ObjectID)}, {&manager, graph.Path("users", r.ObjectID, "manager")}} {
		res, err := c.Graph.Do(ctx, graph.Request{Path: one.path, Query: url.Values{"$select": {contactFields}}})
		switch {
		case errors.Is(err, fault.NotFound) && one.to == &manager:
			continue
		case err != nil:
			return person, manager, fmt.Errorf("read who account %s is: %w", r.ObjectID, err)
		}
		if err := json.Unmarshal(res.Body, one.to); err != nil {
			return person, manager, fault.Errorf(fault.Unavailable, "read who account %s is: Graph answered something else", r.ObjectID)
		}
	}
	return person, manager, nil
}
