package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector/graphfile"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// backfillPage is how many records of a file are handed on together.
const backfillPage = 2000

// Backfill reads a file of a format, one of Formats, into the tenant and returns the
// counts. A record that cannot be used goes to reject with its place and reason; it
// stops nothing. name is the file's, for places.
func (a *App) Backfill(ctx context.Context, t identity.Tenant, format, name string, r io.Reader, reject func(connector.Reject) error) (ingest.Result, error) {
	var total ingest.Result
	read, err := a.reader(ctx, format)
	if err != nil {
		return total, err
	}
	if _, ok := a.settings.Load().tenants[t]; !ok {
		return total, fault.Errorf(fault.Invalid, "the configuration has no tenant %s", t)
	}
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan pageRead, 2) // one page is decoded while another is stored
	var wg sync.WaitGroup
	wg.Go(func() { readPages(ctx, read(t, name, r), pages) })
	defer wg.Wait()
	defer cancel()
	for p := range pages {
		if p.err != nil {
			return total, fmt.Errorf("%s: %w", name, p.err)
		}
		for _, k := range p.page.Rejects {
			if err := reject(k); err != nil {
				return total, err
			}
		}
		res, err := a.pipeline.Fill(ctx, t, p.page)
		if total = total.Plus(res); err != nil {
			return total, err
		}
	}
	return total, ctx.Err()
}

// A pageRead is the next page of a file, or why there is none.
type pageRead struct {
	page connector.Page
	err  error
}

// readPages gathers pages of backfillPage records until parts or ctx end, and closes
// pages.
func readPages(ctx context.Context, parts iter.Seq2[connector.Page, error], pages chan<- pageRead) {
	defer close(pages)
	send := func(p pageRead) bool {
		select {
		case pages <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var page connector.Page
	for part, err := range parts {
		if err != nil {
			if send(pageRead{page: page}) { // what came before it stays taken
				send(pageRead{err: err})
			}
			return
		}
		page.Signals, page.Accounts = append(page.Signals, part.Signals...), append(page.Accounts, part.Accounts...)
		page.Records, page.Rejects = append(page.Records, part.Records...), append(page.Rejects, part.Rejects...)
		page.Facts = append(page.Facts, part.Facts...)
		if len(page.Signals)+len(page.Accounts)+len(page.Records)+len(page.Rejects)+len(page.Facts) >= backfillPage {
			if !send(pageRead{page: page}) {
				return
			}
			page = connector.Page{}
		}
	}
	send(pageRead{page: page})
}

// graphObjects reads files of Graph objects, a page to an object.
func graphObjects(t identity.Tenant, name string, r io.Reader) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		for rec, err := range graphfile.Records(r) {
			var page connector.Page
			if err == nil {
				classify(&page, t, rec, name)
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

// classify puts a record into the page as what it is. Graph leaves @odata.type out
// of most answers, so the members that only one kind of object has decide.
func classify(page *connector.Page, t identity.Tenant, rec graphfile.Record, name string) {
	place := fmt.Sprintf("%s record %d", name, rec.Number)
	refuse := func(source signal.Source, reason string) {
		page.Rejects = append(page.Rejects, connector.Reject{Source: source, Place: place, Reason: reason, Raw: rec.Raw})
	}
	if rec.Reason != "" {
		refuse("", rec.Reason)
		return
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(rec.Raw, &has); err != nil {
		refuse("", fmt.Sprintf("not an object: %v", err))
		return
	}
	is := func(member string) bool { v, ok := has[member]; return ok && !bytes.Equal(v, []byte("null")) }
	if inner := bytes.TrimSpace(has["value"]); !is("id") && bytes.HasPrefix(inner, []byte("{")) { // one object, wrapped like a collection
		rec.Raw = inner
		classify(page, t, rec, name)
		return
	}
	switch {
	case is("agentId") && is("riskEventType"):
		s, reason := entraid.DecodeAgent(t, rec.Raw)
		if reason != "" {
			refuse(signal.AgentDetection, reason)
			return
		}
		page.Signals = append(page.Signals, s)
	case is("servicePrincipalId") && (is("riskEventType") || is("riskType")):
		s, reason := entraid.DecodeWorkload(t, rec.Raw)
		if reason != "" {
			refuse(signal.WorkloadDetection, reason)
			return
		}
		page.Signals = append(page.Signals, s)
	case is("riskEventType") || is("riskType"):
		s, reason := entraid.Decode(t, rec.Raw)
		if reason != "" {
			refuse(signal.RiskDetection, reason)
			return
		}
		page.Signals = append(page.Signals, s)
	case is("riskLastUpdatedDateTime") && (is("servicePrincipalType") || is("appId")):
		r, reason := entraid.DecodeRiskyWorkload(t, rec.Raw)
		if reason != "" {
			refuse("entra.riskyServicePrincipal", reason)
			return
		}
		page.Accounts = append(page.Accounts, r)
	case is("riskLastUpdatedDateTime"):
		r, reason := entraid.DecodeRiskyUser(t, rec.Raw)
		if reason != "" {
			refuse("entra.riskyUser", reason)
			return
		}
		page.Accounts = append(page.Accounts, r)
	case is("evidence") || is("detectionSource"):
		told, reason := defender.Decode(t, rec.Raw, false)
		if reason != "" {
			refuse(signal.DefenderAlert, reason)
			return
		}
		page.Signals = append(page.Signals, told.Signals...)
		page.Records = append(page.Records, told.Records...)
	default:
		classifyRecord(page, t, rec.Raw, is, refuse)
	}
}

// classifyRecord puts what is kept without an opinion into the page. A file does not
// say when objects of the directory were read: what a stream reads replaces them.
func classifyRecord(page *connector.Page, t identity.Tenant, raw json.RawMessage, is func(string) bool, refuse func(signal.Source, string)) {
	var r record.Record
	var reason string
	object := func(s record.Source) { r, reason = entraid.DecodeObject(t, s, raw, time.Unix(0, 0).UTC()) }
	switch {
	case is("activityDisplayName") && is("activityDateTime"):
		r, reason = entraid.DecodeAudit(t, raw)
	case is("conditionalAccessStatus") || is("signInEventTypes") || is("riskLevelDuringSignIn"):
		r, reason = entraid.DecodeSignIn(t, raw)
	case is("incidentWebUrl"):
		r, reason = defender.DecodeIncident(t, raw)
	case is("healthIssueType"):
		r, reason = defender.DecodeHealthIssue(t, raw)
	case is("sensorType"):
		r, _, reason = defender.DecodeSensor(t, raw, time.Unix(0, 0).UTC())
	case is("servicePrincipalNames") || is("servicePrincipalType") || is("appOwnerOrganizationId"):
		object(record.ServicePrincipal)
	case is("signInAudience") && is("appId"):
		object(record.Application)
	case is("deviceId") || is("operatingSystem") || is("extensionAttributes"):
		object(record.Device)
	case is("groupTypes"):
		object(record.Group)
	case is("consentType"):
		object(record.Grant)
	case is("roleDefinitionId"):
		object(record.Assignment)
	case is("conditions") && is("state"):
		object(record.Policy)
	case is("ipRanges") || is("countriesAndRegions"):
		object(record.NamedLocation)
	case is("isMfaRegistered") || is("methodsRegistered"):
		object(record.Registration)
	case is("onPremisesSecurityIdentifier") && is("accounts"):
		object(record.Accounts)
	case isMethod(raw):
		object(record.Method)
	default:
		refuse("", "none of the objects that Cordon keeps")
		return
	}
	if reason != "" {
		refuse(signal.Source(r.Source), reason)
		return
	}
	page.Records = append(page.Records, r)
}

// isMethod reports whether an object says that it is a way to sign in.
func isMethod(raw json.RawMessage) bool {
	var o struct {
		Type string `json:"@odata.type"`
	}
	return json.Unmarshal(raw, &o) == nil && strings.HasSuffix(strings.ToLower(o.Type), "authenticationmethod")
}
