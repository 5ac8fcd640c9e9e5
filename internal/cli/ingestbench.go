package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

const ingestBenchTenant = "00000000-0000-4000-8000-000000000001"

// ingestBenchMemory is the soft limit of the Go heap: the benchmark shows what a
// back-fill needs, not what it may waste.
const ingestBenchMemory = 384 << 20

type ingestFlags struct {
	signals, identities int
	store, profile      string
}

func newBenchIngest(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "ingest --signals N --identities M", Short: "From the bytes of signals to committed cases and assessments", Args: exactly(),
		Long: `Back-fills N risk detections, as Graph writes them, about people of a directory
of M, and measures from the first byte until the last case and assessment is
committed: decoding, identities, assessments, cases, the playbooks that Cordon
ships and what follows from them, all with its audit entries. The detections
are those of the last 30 days, 70 in 100 of them closed by their source, one in
ten of a type that a playbook answers. Nothing is contacted and nothing leaves.`,
	}
	var f ingestFlags
	c.Flags().IntVar(&f.signals, "signals", 50_000, "how many detections")
	c.Flags().IntVar(&f.identities, "identities", 100_000, "how many people the directory has")
	c.Flags().StringVar(&f.store, "store", "", "sqlite:PATH or postgres://… (default: a temporary SQLite)")
	c.Flags().StringVar(&f.profile, "cpuprofile", "", "write a CPU profile to this file")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return benchIngest(cmd.Context(), e, f) }
	return c
}

// An ingestReport is what the benchmark prints.
type ingestReport struct {
	Signals          int     `json:"signals"`
	Identities       int     `json:"identities"`
	SignalsPerSecond float64 `json:"signals_per_second"`
	Seconds          float64 `json:"seconds"`
	CPUSeconds       float64 `json:"cpu_seconds"`    // of the whole process while it ran
	PeakRSS          int64   `json:"peak_rss_bytes"` // of the whole process
	StoreBytes       int64   `json:"store_bytes"`
	Store            string  `json:"store"`
	Cases            int     `json:"cases"`
	Runs             int     `json:"runs"`
	Rejected         int     `json:"rejected"`
	Allocated        uint64  `json:"allocated_bytes_per_signal"`
}

func benchIngest(ctx context.Context, e Env, f ingestFlags) (err error) {
	if f.signals < 1 || f.identities < 1 {
		return fault.Errorf(fault.Invalid, "--signals and --identities must be above 0")
	}
	folder, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	cfg, err := ingestBenchConfig(e, folder, f.store)
	if err != nil {
		return err
	}
	a, err := app.Offline(ctx, app.Options{Config: cfg, Version: version, Log: logger(e, cfg.Log)})
	if err != nil {
		return inUse(err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(ingestBenchMemory))
	if err := seedBenchDirectory(ctx, a, f.identities); err != nil {
		return err
	}
	stop, err := profileTo(f.profile)
	if err != nil {
		return err
	}
	r, err := runIngestBench(ctx, a, f)
	stop()
	if err != nil {
		return err
	}
	return json.NewEncoder(e.Stdout).Encode(r)
}

func runIngestBench(ctx context.Context, a *app.App, f ingestFlags) (ingestReport, error) {
	in := &detections{left: f.signals, people: f.identities, random: mathrand.New(mathrand.NewPCG(1, 2)), now: time.Now().UTC()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, began := cpuTime(), time.Now()
	res, err := a.Backfill(ctx, ingestBenchTenant, "graph", "bench", in, func(connector.Reject) error { return nil })
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if err != nil {
		return ingestReport{}, err
	}
	if res.New != f.signals {
		return ingestReport{}, fmt.Errorf("%d signals were made and %d of them stored as new", f.signals, res.New)
	}
	size, err := a.Store().Size(ctx)
	return ingestReport{
		Signals: f.signals, Identities: f.identities, SignalsPerSecond: math.Round(float64(f.signals) / took.Seconds()),
		Seconds: took.Seconds(), CPUSeconds: (cpuTime() - cpu).Seconds(), PeakRSS: peakRSS(), StoreBytes: size, Store: a.Store().Dialect(),
		Cases: len(res.Cases), Runs: len(res.Runs), Rejected: res.Rejected, Allocated: (after.TotalAlloc - before.TotalAlloc) / uint64(f.signals),
	}, err
}

// ingestBenchConfig is the smallest configuration: the playbooks that Cordon ships,
// a tenant that nobody contacts.
func ingestBenchConfig(e Env, folder, store string) (config.Config, error) {
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		return config.Config{}, err
	}
	if store == "" {
		store = "sqlite:cordon.db"
	}
	files := map[string]string{"audit.key": private, "client.secret": "not used", "cordon.yaml": fmt.Sprintf(`store: %s
log: {level: error}
audit: {key: file:audit.key}
tenants:
  - tenant_id: %s
    client_id: 00000000-0000-4000-8000-000000000002
    credential: {secret: file:client.secret}
    mode: act
`, store, ingestBenchTenant)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return config.Config{}, err
		}
	}
	return config.Load(filepath.Join(folder, "cordon.yaml"), e.Environ)
}

// seedBenchDirectory stores the people with their facts, and a reading of the
// directory in which one in fifty holds a role.
func seedBenchDirectory(ctx context.Context, a *app.App, people int) error {
	now := time.Now().UTC()
	yes, no := true, false
	for from := 0; from < people; from += 500 {
		var page connector.Page
		for n := from; n < min(from+500, people); n++ {
			page.Facts = append(page.Facts, connector.AccountFacts{
				Ref: identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: benchPerson(n),
					UPN: fmt.Sprintf("person.%d@corp.example", n), DisplayName: fmt.Sprintf("Person %d", n)},
				Facts: identity.Facts{AsOf: now, Found: &yes, Enabled: &yes, UserType: "Member", Synced: &no},
			})
		}
		if _, err := a.Pipeline().Fill(ctx, ingestBenchTenant, page); err != nil {
			return err
		}
	}
	d := connector.DirectoryFacts{AsOf: now, Holders: map[string][]identity.Role{}, UsableGlobalAdmins: []string{benchPerson(0), benchPerson(1)}}
	for n := 0; n < people; n += 50 {
		d.Holders[benchPerson(n)] = []identity.Role{{TemplateID: "fe930be7-5e62-47db-91af-98c3a49a38b1", Name: "User Administrator", Active: true}}
	}
	return a.Store().Ingest().Update(ctx, func(tx ingest.Tx) error { return tx.PutDirectory(ingestBenchTenant, d) })
}

func benchPerson(n int) string { return fmt.Sprintf("00000000-0000-4000-9000-%012d", n) }

// detections writes a collection of risk detections.
type detections struct {
	left, people, made int
	random             *mathrand.Rand
	now                time.Time
	text               bytes.Buffer
}

// kinds are types with how often they come in a hundred; those of the last three
// a playbook answers.
var benchKinds = []struct {
	often int
	name  string
	level string
}{
	{30, "unfamiliarFeatures", "low"}, {20, "unlikelyTravel", "medium"}, {15, "anonymizedIPAddress", "medium"},
	{10, "newCountry", "low"}, {10, "suspiciousBrowser", "medium"}, {5, "maliciousIPAddress", "high"},
	{4, "anomalousToken", "medium"}, {3, "leakedCredentials", "high"}, {3, "passwordSpray", "high"},
}

func (d *detections) Read(p []byte) (int, error) {
	for d.text.Len() == 0 {
		if d.left == 0 {
			return 0, io.EOF
		}
		d.write()
	}
	return d.text.Read(p)
}

// write appends the next records.
func (d *detections) write() {
	if d.made == 0 {
		d.text.WriteString(`{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#identityProtection/riskDetections","value":[`)
	}
	for range min(d.left, 64) {
		if d.made > 0 {
			d.text.WriteByte(',')
		}
		kind, at := d.kind(), d.now.Add(-time.Duration(d.random.Int64N(int64(30*24*time.Hour)))).Truncate(time.Microsecond)
		state, detail := "atRisk", "none"
		if d.random.IntN(10) < 7 {
			state, detail = "remediated", "userPerformedSecuredPasswordReset"
		}
		person, when := d.random.IntN(d.people), at.Format(time.RFC3339Nano)
		fmt.Fprintf(&d.text, `{"id":"%064x","requestId":"%s","correlationId":"%s","riskEventType":%q,"riskState":%q,"riskLevel":%q,"riskDetail":%q,`+
			`"source":"IdentityProtection","detectionTimingType":"realtime","activity":"signin","tokenIssuerType":"AzureAD","ipAddress":"198.51.%d.%d",`+
			`"activityDateTime":%q,"detectedDateTime":%q,"lastUpdatedDateTime":%q,"userId":%q,"userDisplayName":"Person %d","userPrincipalName":"person.%d@corp.example",`+
			`"additionalInfo":"[{\"Key\":\"userAgent\",\"Value\":\"Mozilla/5.0 (Windows NT 10.0; Win64; x64)\"},{\"Key\":\"mitreTechniques\",\"Value\":\"T1078.004\"}]",`+
			`"location":{"city":"Springfield","state":"Illinois","countryOrRegion":"US","geoCoordinates":{"latitude":39.8,"longitude":-89.6}}}`,
			d.made, benchPerson(d.made), benchPerson(d.made+1), kind.name, state, kind.level, detail, d.random.IntN(256), d.random.IntN(256),
			when, when, when, benchPerson(person), person, person)
		d.made++
		d.left--
	}
	if d.left == 0 {
		d.text.WriteString(`]}`)
	}
}

func (d *detections) kind() (k struct {
	often int
	name  string
	level string
}) {
	n := d.random.IntN(100)
	for _, k = range benchKinds {
		if n -= k.often; n < 0 {
			break
		}
	}
	return k
}

// profileTo begins a CPU profile, if path names a file, and returns what ends it.
func profileTo(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = file.Close() }, nil
}

// peakRSS is the most memory that the process has held, in bytes: as the kernel
// counts it where it says so, else what Go took from it.
func peakRSS() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// cpuTime is the time that all processors spent on the process; 0 where the kernel
// does not say.
func cpuTime() time.Duration {
	text, _ := os.ReadFile("/proc/self/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}
