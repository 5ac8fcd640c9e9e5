package store_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/audit/audittest"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/desk/desktest"
	"github.com/seed-f47efad2/cordon/internal/store/storetest"
)

// The in-memory stores of other packages' tests keep the same contract.
func TestFakesConform(t *testing.T) {
	t.Parallel()
	t.Run("Audit", func(t *testing.T) {
		t.Parallel()
		storetest.Audit(t, func(*testing.T) (audit.Store, func(...audit.Entry) error) {
			m := audittest.New()
			return m, func(entries ...audit.Entry) error {
				for _, e := range entries {
					if err := m.Write(e); err != nil {
						return err
					}
				}
				return nil
			}
		})
	})
	t.Run("Desk", func(t *testing.T) {
		t.Parallel()
		storetest.Desk(t, func(*testing.T) (desk.Store, func(...any)) {
			s := desktest.New()
			return s, s.Seed
		})
	})
}
