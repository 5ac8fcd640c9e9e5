package desk

import (
	"context"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Feeds is how everything that Cordon is told by fares: the streams that it reads,
// those that are pushed to it, and the sensors behind them.
type Feeds struct {
	Silent int                   `json:"silent"` // how many of them are
	Feeds  []connector.FeedState `json:"feeds"`  // by tenant and stream
}

// Feeds returns how the feeds of the tenant, or of all, fare. It needs access.Read.
func (s *Service) Feeds(ctx context.Context, op access.Operator, t identity.Tenant) (Feeds, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return Feeds{}, err
	}
	out := Feeds{Feeds: []connector.FeedState{}}
	list, err := s.store.Feeds(ctx, t)
	if err != nil {
		return Feeds{}, fmt.Errorf("read how the feeds fare: %w", err)
	}
	for _, f := range list {
		if f.Silent {
			out.Silent++
		}
		out.Feeds = append(out.Feeds, f)
	}
	return out, nil
}
