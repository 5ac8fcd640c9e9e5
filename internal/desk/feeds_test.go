package desk_test

import (
	"errors"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func TestFeeds(t *testing.T) {
	t.Parallel()
	s := desktest.Empty()
	s.Store.SeedFeeds(
		connector.FeedState{Tenant: desktest.Tenant, Stream: "b.stream", Silent: true},
		connector.FeedState{Tenant: desktest.Tenant, Stream: "a.stream"},
		connector.FeedState{Tenant: "elsewhere", Stream: "c.stream", Silent: true})
	v, err := s.Desk.Feeds(t.Context(), s.Operator("analyst"), desktest.Tenant)
	if err != nil || v.Silent != 1 || len(v.Feeds) != 2 || v.Feeds[0].Stream != "a.stream" {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err = s.Desk.Feeds(t.Context(), s.Operator("analyst"), ""); err != nil || v.Silent != 2 || len(v.Feeds) != 3 {
		t.Errorf("all tenants: %+v, %v", v, err)
	}
	if _, err := s.Desk.Feeds(t.Context(), access.Operator{ID: "nobody"}, ""); !errors.Is(err, fault.Denied) {
		t.Errorf("somebody without a role: %v", err)
	}
}
