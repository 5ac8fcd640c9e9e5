// Package graphsim is a Microsoft Graph tenant to try things on: the token
// endpoint of Entra and the parts of Graph v1.0 that identity response needs,
// over HTTP, in front of a lab/world. It is written from Microsoft's
// descriptions and imports nothing of Cordon's, so that a mistake of Cordon's
// client is not mirrored here.
//
// It is strict where Graph is: permissions per call (403), directory roles
// for privileged targets (403), query options beyond what a page documents
// (400), more than 60 ids (400), properties that do not exist (400). It
// throttles by every documented bucket, and answers with the same headers.
// Paths that Graph has and the lab has not are answered 501, never 404.
//
// # Hosts and paths
//
// One host serves all: /{tenant}/oauth2/v2.0/token and its metadata, Graph at
// /v1.0 and /beta, and the lab's own view at /_lab, which needs no token:
//
//	GET  /_lab/ledger?since=SEQ   {"entries":[Entry…],"next":SEQ}
//	GET  /_lab/state              {"users":[world.UserState…],"onPremises":[…],…}
//	GET  /_lab/state?user=REF     one world.UserState
//	POST /_lab/event              a world.Event, or an array of them; 204
//	POST /_lab/faults             {"faults":["503:1%",…]} replaces the faults; 204
//
// # Faults
//
// A fault is KIND[:VALUE][,OPTION=VALUE…][@[METHOD ]PATH]. VALUE is the part
// of requests it hits ("2%", "0.02"; all if left out), for latency a duration
// or a range. Without @PATH it covers all of Graph and spares the token
// endpoint, which is addressed as @/token. Which requests are hit is a
// function of the seed and of the requests, not of their interleaving.
//
//	429:2%            refused as throttled; retry-after=30s|none, date=true
//	500:1% 503:1%     refused before any effect; 503 and 504 take retry-after
//	504:1%            gateway timeout before any effect
//	504-after:1%      gateway timeout, and the effect took place
//	latency:200ms     or latency:100ms..2s,rate=10%
//	reset-before:5%   connection cut, no effect
//	reset-after:5%    connection cut, and the effect took place
//	no-effect:1%      answered as done, and nothing happened
//	dismiss-500       500 on a risk dismissal
//	expired-token:1%  401 InvalidAuthenticationToken
//	empty-pages:20%   an empty page with a next link
//	foreign-link      a next link to another host
//	batch-424         outer status 424 when a part of a batch is throttled
//	unknown-enum:5%   an enumerated value that no document names
//	malformed:1%      JSON cut in the middle
//	oversized,size=200MB  a body padded with so much white space
//
// Options of every kind: rate=2%, count=N (at most N times), skip=N (the
// first N requests in scope pass). Example: reset-after,count=1@PATCH /users
//
// # Time
//
// Options.Now is the clock of tokens and throttling; latency waits on real
// timers. Speed multiplies every rate by K and divides Retry-After and
// latencies by K; the world's delays are the world's own (world.Delays.Faster),
// and tokens live as long as ever, because clients renew them minutes early.
//
// # From the command line
//
// "cordon lab graph" maps its flags so: --seed and --users to world.Options,
// --scenario to events of lab/scenario, --speed K to Options.Speed and
// world.Delays.Faster(K), each --fault to ParseFaults, --listen and --ca-out
// to Serve and CA.WriteFile.
//
// # What is not Microsoft's word
//
// Where Microsoft publishes nothing: /security/identities is limited to 150 a
// minute in a bucket of its own; a bucket is as deep as its quota, and debt
// from refused requests is at most one more quota; userRegistrationDetails
// pages by 1,000; alerts_v2 pages by 100, at most 1,000. The header
// x-ms-throttle-priority is accepted and changes nothing.
package graphsim
