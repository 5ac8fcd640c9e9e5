package store_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/store"
	"github.com/seed-f47efad2/cordon/internal/store/storetest"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	for name, dsn := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Notices(t, func(t *testing.T) (notify.Store, func(...any)) {
				db := opened(t, dsn(t), store.Options{})
				return db.Notify(), func(values ...any) {
					err := db.Ingest().Update(t.Context(), func(tx ingest.Tx) error {
						for _, v := range values {
							c := v.(casefile.Case)
							if _, err := tx.PutIdentity(identity.Identity{Tenant: c.Tenant, ID: c.Identity, Kind: identity.KindPerson, Name: c.Name}); err != nil {
								return err
							}
							if _, err := tx.PutCase(c); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}
