package xdr

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// identityServices are the display names, in lower case, of the services whose alerts
// are about identities. What does not name a service is taken for one. The rows of
// other services' alerts are kept as records alone; so are those of Entra ID
// Protection, which tells of the same detections itself.
var identityServices = []string{
	"", "microsoft defender for identity", "azure atp", "azure advanced threat protection", "microsoft defender xdr", "microsoft 365 defender",
	"microsoft defender for cloud apps", "microsoft cloud app security", "microsoft app governance", "app governance policy",
}

// An alert is what the rows since the last page say of one.
type alert struct {
	id    string
	infos []row // of AlertInfo
	rows  []row // of AlertEvidence
	place string
}

func (d *Decoder) alert(r row) *alert {
	id := r.text("AlertId")
	a, ok := d.alerts[id]
	if !ok {
		a = &alert{id: id, place: r.place}
		d.alerts[id] = a
		d.order = append(d.order, id)
	}
	return a
}

// info keeps a row of AlertInfo: it names no account, so it is no signal by itself.
func (d *Decoder) info(r row) {
	if r.text("AlertId") == "" {
		d.reject(r.raw, r.place, "a row of AlertInfo without AlertId")
		return
	}
	a := d.alert(r)
	a.infos = append(a.infos, r)
	d.keep(record.Record{
		Source: record.AlertInfo, ExternalID: r.text("AlertId"), Type: r.text("Category"), Title: r.text("Title"), UpdatedAt: r.at,
		App: r.text("ServiceSource"), Session: r.text("AlertId"),
	}, r)
}

// evidence keeps a row of AlertEvidence and adds it to its alert.
func (d *Decoder) evidence(r row) {
	id := r.text("AlertId")
	if id == "" {
		d.reject(r.raw, r.place, "a row of AlertEvidence without AlertId")
		return
	}
	a := d.alert(r)
	a.rows = append(a.rows, r)
	e := record.Record{
		Source: record.AlertEvidence, ExternalID: id + "/" + r.digest(), Type: r.text("EntityType"), Title: r.text("Title"),
		IP: r.text("RemoteIP", "LocalIP"), Device: r.text("DeviceName"), DeviceID: r.text("DeviceId"), App: r.text("Application"),
		AppID: r.text("OAuthApplicationId", "ApplicationId"), Session: id,
	}
	if ref := r.account("Account"); len(ref.Keys()) > 0 || ref.UPN != "" || ref.SAM != "" {
		e.Subject = ref
	}
	d.keep(e, r)
}

// tell puts the alert into the page as a signal, if it is about an identity and a row
// names an account by a strong identifier. The signal is a partial view: the alert as
// Graph has it says more, and replaces it.
func (a *alert) tell(page *connector.Page, t identity.Tenant, earlier Earlier) {
	a.complete(earlier)
	subjects, others := accountsOf(a.rows)
	if len(subjects) == 0 {
		return // the records of its rows say all there is
	}
	s := signal.Signal{Tenant: t, Source: signal.DefenderAlert, ExternalID: a.id, Partial: true, Level: signal.LevelHidden, Raw: a.raw()}
	service := ""
	for _, r := range slices.Concat(a.infos, a.rows) {
		service = cmp.Or(service, r.text("ServiceSource"))
		s.Title = cmp.Or(s.Title, r.text("Title"))
		s.IP = cmp.Or(s.IP, r.text("RemoteIP", "LocalIP"))
		if len(s.Techniques) == 0 {
			s.Techniques = techniques(r.list("AttackTechniques"))
		}
		if v := r.text("Severity"); v != "" && s.Level == signal.LevelHidden {
			s.Level = signal.FromSeverity(v)
		}
		s.DetectedAt = first(s.DetectedAt, r.at)
		s.ActivityAt, s.UpdatedAt = s.DetectedAt, last(s.UpdatedAt, r.at)
	}
	s.Type = s.Title
	if slices.Contains(identityServices, strings.ToLower(service)) {
		page.Signals = append(page.Signals, s.Each(subjects, others)...)
	}
}

// complete adds the rows that are known already, and puts them all into an order of
// their own, each once.
func (a *alert) complete(earlier Earlier) {
	if earlier != nil {
		d := NewDecoder("", nil)
		var told []json.RawMessage
		for _, r := range slices.Concat(a.infos, a.rows) {
			told = append(told, r.raw)
		}
		for _, raw := range earlier(a.id, told) {
			d.Row("", raw, "", a.place)
		}
		if b := d.alerts[a.id]; b != nil {
			a.infos, a.rows = append(a.infos, b.infos...), append(a.rows, b.rows...)
		}
	}
	for _, list := range []*[]row{&a.infos, &a.rows} {
		slices.SortFunc(*list, func(x, y row) int { return cmp.Or(y.at.Compare(x.at), bytes.Compare(x.raw, y.raw)) })
		*list = slices.CompactFunc(*list, func(x, y row) bool { return bytes.Equal(x.raw, y.raw) })
	}
}

// raw is the rows as one object.
func (a *alert) raw() json.RawMessage {
	b := []byte(`{"AlertId":`)
	id, _ := json.Marshal(a.id) // a string: cannot fail
	b = append(b, id...)
	for _, list := range []struct {
		name string
		rows []row
	}{{"AlertInfo", a.infos}, {"AlertEvidence", a.rows}} {
		b = append(b, `,"`+list.name+`":[`...)
		for n, r := range list.rows {
			if n > 0 {
				b = append(b, ',')
			}
			b = append(b, r.raw...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// accountsOf returns the accounts that the rows name by a strong identifier: those
// that the alert says are at risk, and the others. At risk are the people who did it,
// else one account: a computer that did it, one of which the rows do not say, one it
// was done to, people before computers. The order of rows does not matter.
func accountsOf(rows []row) (subjects, others []identity.Ref) {
	type ranked struct {
		ref  identity.Ref
		rank int
	}
	var list []ranked
	for _, r := range rows {
		ref := r.account("Account")
		if len(ref.Keys()) == 0 {
			continue
		}
		rank := 2
		switch strings.ToLower(r.text("EvidenceDirection")) {
		case "source":
			rank = 0
		case "destination":
			rank = 4
		}
		if ref.Kind == identity.KindComputer {
			rank++
		}
		list = append(list, ranked{ref, rank})
	}
	slices.SortFunc(list, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), strings.Compare(x.ref.Keys()[0].Value, y.ref.Keys()[0].Value),
			strings.Compare(x.ref.UPN+x.ref.SAM+x.ref.DisplayName, y.ref.UPN+y.ref.SAM+y.ref.DisplayName))
	})
	for n, a := range list {
		if n == 0 || a.rank == 0 {
			subjects = append(subjects, a.ref)
		} else {
			others = append(others, a.ref)
		}
	}
	return subjects, others
}

// techniques keeps the ids of texts such as "Kerberoasting (T1558.003)".
func techniques(list []string) []string {
	var out []string
	for _, s := range list {
		if before, after, ok := strings.Cut(s, "("); ok && before != "" {
			s = strings.TrimSuffix(after, ")")
		}
		out = append(out, strings.TrimSpace(s))
	}
	return out
}

func first(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func last(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
