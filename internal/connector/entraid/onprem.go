package entraid

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// sidsPerFilter is how many SIDs one request names: Graph takes 15 clauses in a
// filter.
const sidsPerFilter = 15

// BySID reads the users that are synchronised from the accounts with these
// on-premises SIDs. Who is not synchronised is not in the answer. What is no SID is
// left out. Graph: user, $filter on onPremisesSecurityIdentifier.
func (c Users) BySID(ctx context.Context, sids []string) ([]connector.AccountFacts, error) {
	var out []connector.AccountFacts
	var clauses []string
	ask := func() error {
		q := url.Values{"$select": {userFields}, "$filter": {strings.Join(clauses, " or ")}}
		clauses = nil
		for o, err := range graph.Objects[user](ctx, c.Graph, graph.Request{Path: "/users", Query: q}, graph.Paging{}) {
			if err = errors.Join(err, o.Err); err != nil {
				return fmt.Errorf("read users by their SIDs on premises: %w", err)
			}
			if o.Value.ID != "" {
				out = append(out, o.Value.facts(c.Now()))
			}
		}
		return nil
	}
	for _, sid := range sids {
		sid = strings.ToUpper(strings.TrimSpace(sid))
		if !strings.HasPrefix(sid, "S-1-") || strings.Trim(sid, "S-0123456789") != "" {
			continue // a filter holds what was checked
		}
		if clauses = append(clauses, "onPremisesSecurityIdentifier eq '"+sid+"'"); len(clauses) == sidsPerFilter {
			if err := ask(); err != nil {
				return out, err
			}
		}
	}
	if len(clauses) > 0 {
		return out, ask()
	}
	return out, nil
}
