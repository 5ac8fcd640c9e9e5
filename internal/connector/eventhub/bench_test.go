package eventhub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/connector/eventhub"
)

func BenchmarkDecode(b *testing.B) {
	one := enveloped("UserRiskEvents", detection)
	message := json.RawMessage(`{"records":[` + strings.Repeat(one+",", 99) + one + `]}`)
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		d := eventhub.NewDecoder(tenant, nil)
		d.Add(message, "m")
		if n := len(d.Page().Signals); n != 100 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "signals/s")
}
