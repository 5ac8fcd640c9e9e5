package graph_test

import (
	"testing"

	"github.com/seed-f47efad2/cordon/internal/graph"
)

// BenchmarkDo is what the client itself adds to a request: building, header,
// judging, without a network.
func BenchmarkDo(b *testing.B) {
	c := client(b, always(204, ""))
	r := graph.Request{Method: "PATCH", Path: graph.Path("users", objectID), Body: map[string]bool{"accountEnabled": false}, ClientRequestID: "x"}
	for b.Loop() {
		if _, err := c.Do(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
