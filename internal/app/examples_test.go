package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// broken are the published examples that are no object of Graph, or one without what
// makes it one, with why; of some only a part is.
var broken = map[string]string{
	"user-delta-v10-res3.json":    "none of the objects", // a user without an id
	"json-batching-v10-res1.json": "none of the objects", "json-batching-en-v10-res1.json": "none of the objects", "contrib-batch-res.json": "none of the objects",
	"errors-en-v10-res3.json": "none of the objects", "throttling-429-res.json": "none of the objects",
	"contrib-identityaccounts-invokeaction-res.json": "none of the objects", "contrib-resetpassword-res.json": "none of the objects",
	"contrib-runhuntingquery-res2.json": "none of the objects", // rows of a query are a format of their own
}

// Every published answer is read without loss: what Cordon's shapes do not name is in
// the raw record, nothing valid is refused, and what is broken says why.
func TestPublishedExamplesAreReadWithoutLoss(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("CORDON_SHARED")
	if shared == "" {
		t.Skip("CORDON_SHARED is not set")
	}
	folder := filepath.Join(shared, "data", "graph-examples")
	b, err := os.ReadFile(filepath.Join(folder, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Files []struct{ File, Direction string }
	}
	if err := json.Unmarshal(b, &index); err != nil {
		t.Fatal(err)
	}
	h := open(t)
	const tenant identity.Tenant = "11111111-1111-4111-8111-111111111111"
	want := map[string][]string{} // what must be kept, by the object's id: a later version may have replaced it
	tried := 0
	for _, f := range index.Files {
		if f.Direction != "response" {
			continue
		}
		tried++
		raw, err := os.ReadFile(filepath.Join(folder, f.File))
		if err != nil {
			t.Fatal(err)
		}
		var refused []string
		res, err := h.app.Backfill(t.Context(), tenant, "graph", f.File, bytes.NewReader(raw), func(k connector.Reject) error {
			refused = append(refused, k.Reason)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", f.File, err)
		}
		if why := broken[f.File]; why != "" {
			if len(refused) == 0 || !strings.Contains(refused[0], why) {
				t.Errorf("%s: refused %q, want %q", f.File, refused, why)
			}
			continue
		}
		if len(refused) > 0 || res.Rejected > 0 || res.Read == 0 {
			t.Errorf("%s: read %d, refused %q", f.File, res.Read, refused)
		}
		for rec, err := range graphfile.Records(bytes.NewReader(raw)) {
			if err != nil {
				t.Fatal(err)
			}
			id, raw := unwrapped(t, rec.Raw)
			want[id] = append(want[id], raw)
		}
	}
	kept := everythingKept(t, h, tenant)
	for id, versions := range want {
		if !slices.ContainsFunc(versions, func(raw string) bool { return slices.Contains(kept, raw) }) {
			t.Errorf("lost: %s: %.200s", id, versions[0])
		}
	}
	if tried < 30 || len(want) < 30 {
		t.Errorf("only %d files and %d objects were tried", tried, len(want))
	}
}

// everythingKept returns the raw records of all that is stored, versions that are not
// current too.
func everythingKept(t *testing.T, h house, tenant identity.Tenant) (kept []string) {
	t.Helper()
	signals, err := h.app.Store().Desk().Signals(t.Context(), desk.SignalFilter{Tenant: tenant}, desk.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signals.Items {
		kept = append(kept, compact(t, s.Raw))
	}
	records, err := h.app.Store().Records().Records(t.Context(), record.Query{Tenant: tenant, Limit: record.MaxLimit})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records.Records {
		kept = append(kept, compact(t, r.Raw))
	}
	identities, err := h.app.Store().Desk().Identities(t.Context(), desk.IdentityFilter{Tenant: tenant}, desk.Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range identities.Items {
		err := h.app.Store().Ingest().Update(t.Context(), func(tx ingest.Tx) error {
			risks, err := tx.AccountRisksOf(tenant, i.ID)
			for _, r := range risks {
				kept = append(kept, compact(t, r.Raw))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

// unwrapped returns an object's id and text; some pages wrap one like a collection.
func unwrapped(t *testing.T, raw json.RawMessage) (id, text string) {
	t.Helper()
	var o struct {
		ID    string
		Value json.RawMessage
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	if o.ID == "" && len(o.Value) > 0 {
		return unwrapped(t, o.Value)
	}
	return o.ID, compact(t, raw)
}

func compact(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return string(raw)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
