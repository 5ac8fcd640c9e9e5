package app

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
	"github.com/seed-f47efad2/cordon/internal/connector/samba"
	"github.com/seed-f47efad2/cordon/internal/connector/winevent"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A reader turns a file into pages, one for each few records. The error is the
// file's; what cannot be used is a reject.
type reader func(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error]

// formats are what files may hold.
var formats = map[string]reader{
	"graph":    graphObjects,
	"winevent": windowsEvents,
}

// Formats returns the names of the formats that Backfill reads, sorted.
func Formats() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(gathered), maps.Keys(formats))))
}

// sambaLines returns the reader of the JSON audit stream of Samba's domain controllers.
// Whose the names in it are, the locator says.
func sambaLines(l *locator) reader {
	return func(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error] {
		return records(name, "samba.audit", r, func(page *connector.Page, raw json.RawMessage) (reason string) {
			rec, keep, reason := samba.Decoder{Tenant: t, Locate: l.locate}.Decode(raw)
			if keep {
				page.Records = append(page.Records, rec)
			}
			return reason
		})
	}
}

// windowsEvents reads security events of Windows: XML, or JSON.
func windowsEvents(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error] {
	const source signal.Source = "windows.event"
	take := func(page *connector.Page, raw json.RawMessage) (reason string) {
		rec, reason := winevent.Decode(t, raw)
		if reason == "" {
			page.Records = append(page.Records, rec)
		}
		return reason
	}
	return func(yield func(connector.Page, error) bool) {
		xml, in, err := winevent.IsXML(r)
		if err != nil {
			yield(connector.Page{}, err)
			return
		}
		if !xml {
			for page, err := range records(name, source, in, take) {
				if !yield(page, err) {
					return
				}
			}
			return
		}
		n := 0
		if err := winevent.Split(in, func(raw []byte) bool {
			n++
			var page connector.Page
			if reason := take(&page, raw); reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: source, Place: fmt.Sprintf("%s event %d", name, n), Reason: reason, Raw: raw})
			}
			return yield(page, nil)
		}); err != nil {
			yield(connector.Page{}, err)
		}
	}
}

// records reads JSON objects and gives each to take, which says why it cannot be
// used.
func records(name string, source signal.Source, r io.Reader, take func(*connector.Page, json.RawMessage) string) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		for rec, err := range graphfile.Records(r) {
			var page connector.Page
			reason := rec.Reason
			if err == nil && reason == "" {
				reason = take(&page, rec.Raw)
			}
			if reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: source, Place: fmt.Sprintf("%s record %d", name, rec.Number), Reason: reason, Raw: rec.Raw})
			}
			if !yield(page, err) {
				return
			}
		}
	}
}
