package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/cef"
	"github.com/seed-f47efad2/cordon/internal/connector/eventhub"
	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
	"github.com/seed-f47efad2/cordon/internal/connector/xdr"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// gathered are the formats whose records belong together, that need to know what came
// before, or that ask somebody.
var gathered = []string{"cef", "eventhub", "samba", "xdr"}

// A gatherer makes pages of records. It is for one goroutine.
type gatherer interface {
	// Add takes one; what cannot be used becomes a reject with the place.
	Add(raw []byte, place string)
	Reject(raw []byte, place, reason string)
	// Len is how many were added since the last Page, which begins anew.
	Len() int
	Page() connector.Page
}

// gatherer returns one of a format for pushed records and files.
func (a *App) gatherer(ctx context.Context, format string, t identity.Tenant) (gatherer, error) {
	switch format {
	case "eventhub":
		return eventhub.NewDecoder(t, a.earlier(ctx, t)), nil
	case "xdr":
		return xdr.NewDecoder(t, a.earlier(ctx, t)), nil
	case "cef":
		return cef.NewDecoder(t, a.opts.Now), nil
	case "samba":
		l, err := a.locator(ctx, t)
		if err != nil {
			return nil, err
		}
		return &single{tenant: t, read: sambaLines(l)}, nil
	}
	if read, ok := formats[format]; ok {
		return &single{tenant: t, read: read}, nil
	}
	return nil, fault.Errorf(fault.Invalid, "there is no format %.40q; this version reads %v", format, Formats())
}

// reader returns the reader of files of a format.
func (a *App) reader(ctx context.Context, format string) (reader, error) {
	if read, ok := formats[format]; ok {
		return read, nil
	}
	if format == "samba" {
		return func(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error] {
			l, err := a.locator(ctx, t)
			if err != nil {
				return func(yield func(connector.Page, error) bool) { yield(connector.Page{}, err) }
			}
			return sambaLines(l)(t, name, r)
		}, nil
	}
	if _, err := a.gatherer(ctx, format, ""); err != nil {
		return nil, err
	}
	return func(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error] {
		return func(yield func(connector.Page, error) bool) {
			g, err := a.gatherer(ctx, format, t)
			if err != nil {
				yield(connector.Page{}, err)
				return
			}
			for rec, err := range parts(format, r) {
				if err != nil {
					yield(g.Page(), err)
					return
				}
				place := fmt.Sprintf("%s record %d", name, rec.Number)
				if rec.Reason != "" {
					g.Reject(rec.Raw, place, rec.Reason)
				} else {
					g.Add(rec.Raw, place)
				}
				if g.Len() >= backfillPage && !yield(g.Page(), nil) {
					return
				}
			}
			yield(g.Page(), nil)
		}
	}, nil
}

// parts cuts a file into its records: lines of CEF, or objects.
func parts(format string, r io.Reader) iter.Seq2[graphfile.Record, error] {
	if format != "cef" {
		return graphfile.Records(r)
	}
	return func(yield func(graphfile.Record, error) bool) {
		in := bufio.NewScanner(r)
		in.Buffer(nil, 1<<20)
		n := 0
		for in.Scan() {
			n++
			if line := bytes.TrimSpace(in.Bytes()); len(line) > 0 && !yield(graphfile.Record{Number: n, Raw: slices.Clone(line)}, nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(graphfile.Record{}, fmt.Errorf("line %d: %w", n+1, err))
		}
	}
}

// rememberedRows bounds what earlier remembers of what it was asked for.
const rememberedRows = 20_000

// earlier returns what is known of an alert that comes row by row: what is stored, and
// what this reading was told itself, because a page may still be on its way into the
// store when the next one is put together.
func (a *App) earlier(ctx context.Context, t identity.Tenant) func(alert string, rows []json.RawMessage) []json.RawMessage {
	told, count := map[string][]json.RawMessage{}, 0
	return func(alert string, rows []json.RawMessage) []json.RawMessage {
		q := record.Query{Tenant: t, Session: alert, Sources: []record.Source{record.AlertInfo, record.AlertEvidence}, Limit: record.MaxLimit}
		p, err := a.db.Records().Records(ctx, q)
		if err != nil && ctx.Err() == nil {
			// The rows that are here make a signal all the same, and the next one tries again.
			a.log.Warn("the earlier rows of an alert could not be read", "tenant", t, "alert", alert, "err", err)
		}
		out := slices.Clone(told[alert])
		for _, r := range p.Records {
			out = append(out, r.Raw)
		}
		if count += len(rows); count > rememberedRows {
			clear(told)
			count = len(rows)
		}
		told[alert] = append(told[alert], rows...)
		return out
	}
}

// single gathers records of a format in which each stands for itself.
type single struct {
	tenant identity.Tenant
	read   reader
	page   connector.Page
	count  int
}

func (s *single) Add(raw []byte, place string) {
	s.count++
	for p, err := range s.read(s.tenant, place, bytes.NewReader(raw)) {
		if err != nil {
			s.page.Rejects = append(s.page.Rejects, connector.Reject{Place: place, Reason: err.Error(), Raw: slices.Clone(raw)})
			return
		}
		s.page.Signals, s.page.Accounts = append(s.page.Signals, p.Signals...), append(s.page.Accounts, p.Accounts...)
		s.page.Records, s.page.Rejects = append(s.page.Records, p.Records...), append(s.page.Rejects, p.Rejects...)
		s.page.Facts = append(s.page.Facts, p.Facts...)
	}
}

func (s *single) Reject(raw []byte, place, reason string) {
	s.count++
	s.page.Rejects = append(s.page.Rejects, connector.Reject{Place: place, Reason: reason, Raw: slices.Clone(raw)})
}

func (s *single) Len() int { return s.count }

func (s *single) Page() connector.Page {
	p := s.page
	s.page, s.count = connector.Page{}, 0
	return p
}
