-- Rows: a JSON document (doc) is the value, the other columns index it.
-- Times are microseconds since 1970 UTC; NULL (or 0 where it is NOT NULL) means
-- not set. Foreign keys are checked at commit, so that a transaction may write
-- in any order.

CREATE TABLE identities (
	tenant     TEXT NOT NULL,
	id         TEXT NOT NULL,
	kind       TEXT NOT NULL,
	name_key   TEXT NOT NULL, -- the name in lower case
	search     TEXT NOT NULL, -- name and UPNs in lower case
	facts_at   INTEGER NOT NULL, -- the oldest reading of its cloud accounts; 0: one was never read
	onprem_at  INTEGER NOT NULL, -- the oldest reading of its accounts in Active Directory; 0: one was never read
	updated_at INTEGER NOT NULL,
	doc        TEXT NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX identities_id ON identities (id);
CREATE INDEX identities_name ON identities (name_key, id);

-- A strong identifier belongs to one identity.
CREATE TABLE identity_keys (
	tenant   TEXT NOT NULL,
	kind     TEXT NOT NULL,
	value    TEXT NOT NULL,
	identity TEXT NOT NULL,
	PRIMARY KEY (tenant, kind, value),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_keys_identity ON identity_keys (tenant, identity);
CREATE INDEX identity_keys_value ON identity_keys (value);

-- Names that people type; any number of identities may share one.
CREATE TABLE identity_names (
	tenant   TEXT NOT NULL,
	identity TEXT NOT NULL,
	name     TEXT NOT NULL, -- a UPN in lower case
	PRIMARY KEY (tenant, identity, name),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_names_name ON identity_names (name);

CREATE TABLE signals (
	tenant      TEXT NOT NULL,
	source      TEXT NOT NULL,
	external_id TEXT NOT NULL,
	identity    TEXT NOT NULL,
	type        TEXT NOT NULL,
	rank        INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 3),
	at          INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	digest      BLOB NOT NULL, -- SHA-256 of doc
	raw_at      INTEGER NOT NULL CHECK (raw_at >= 0), -- where in doc its last member, the raw record, begins, in bytes; 0: it has none
	doc         TEXT NOT NULL,
	PRIMARY KEY (tenant, source, external_id),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX signals_identity ON signals (tenant, identity, at);
CREATE INDEX signals_at ON signals (at, tenant, source, external_id);

-- Versions of a signal that are not the current one.
CREATE TABLE signal_versions (
	tenant      TEXT NOT NULL,
	source      TEXT NOT NULL,
	external_id TEXT NOT NULL,
	digest      BLOB NOT NULL,
	updated_at  INTEGER NOT NULL,
	doc         TEXT NOT NULL,
	PRIMARY KEY (tenant, source, external_id, digest),
	FOREIGN KEY (tenant, source, external_id) REFERENCES signals (tenant, source, external_id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE account_risks (
	tenant      TEXT NOT NULL,
	account     TEXT NOT NULL, -- the strongest identifier, "kind:value"
	identity    TEXT NOT NULL,
	rank        INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 3),
	updated_at  INTEGER NOT NULL,
	digest      BLOB NOT NULL,
	doc         TEXT NOT NULL,
	PRIMARY KEY (tenant, account),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX account_risks_identity ON account_risks (tenant, identity);

CREATE TABLE account_risk_versions (
	tenant     TEXT NOT NULL,
	account    TEXT NOT NULL,
	digest     BLOB NOT NULL,
	updated_at INTEGER NOT NULL,
	doc        TEXT NOT NULL,
	PRIMARY KEY (tenant, account, digest),
	FOREIGN KEY (tenant, account) REFERENCES account_risks (tenant, account) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- What sources tell in bulk: sign-ins, audits, logons, and things with a state.
CREATE TABLE records (
	tenant      TEXT NOT NULL,
	source      TEXT NOT NULL,
	external_id TEXT NOT NULL,
	type        TEXT NOT NULL,
	state       TEXT NOT NULL, -- empty for what merely happened
	at          INTEGER NOT NULL,
	ip          TEXT NOT NULL,
	session     TEXT NOT NULL,
	accounts    TEXT NOT NULL, -- its rows in record_accounts, one a line
	seen_at     INTEGER NOT NULL, -- when it came; with a state, when it was last told
	digest      BLOB NOT NULL,
	doc         TEXT NOT NULL,
	PRIMARY KEY (tenant, source, external_id)
) STRICT;
CREATE INDEX records_at ON records (tenant, at);
CREATE INDEX records_ip ON records (tenant, ip, at) WHERE ip <> '';
CREATE INDEX records_session ON records (tenant, session, at) WHERE session <> '';
CREATE INDEX records_state ON records (tenant, source, state, at) WHERE state <> '';
CREATE INDEX records_seen ON records (seen_at);

-- Whom a record names: "kind:value" of a strong identifier, else a weak name.
CREATE TABLE record_accounts (
	tenant      TEXT NOT NULL,
	account     TEXT NOT NULL,
	at          INTEGER NOT NULL,
	source      TEXT NOT NULL,
	external_id TEXT NOT NULL,
	PRIMARY KEY (tenant, account, at, source, external_id)
) STRICT, WITHOUT ROWID;

-- Records that could not be read, once each however often they come.
CREATE TABLE rejects (
	tenant    TEXT NOT NULL,
	connector TEXT NOT NULL,
	digest    BLOB NOT NULL, -- SHA-256 of source, reason and raw record
	first_at  INTEGER NOT NULL,
	last_at   INTEGER NOT NULL,
	times     INTEGER NOT NULL CHECK (times > 0),
	doc       TEXT NOT NULL,
	PRIMARY KEY (tenant, connector, digest)
) STRICT;
CREATE INDEX rejects_last ON rejects (tenant, last_at);

CREATE TABLE cursors (
	tenant    TEXT NOT NULL,
	connector TEXT NOT NULL,
	cursor    TEXT NOT NULL,
	at        INTEGER NOT NULL,
	PRIMARY KEY (tenant, connector)
) STRICT, WITHOUT ROWID;

-- How each feed fares: what is expected, when it was heard, whether it is silent.
CREATE TABLE feeds (
	tenant TEXT NOT NULL,
	stream TEXT NOT NULL,
	silent INTEGER NOT NULL CHECK (silent IN (0, 1)),
	doc    TEXT NOT NULL,
	PRIMARY KEY (tenant, stream)
) STRICT, WITHOUT ROWID;

-- What was pushed and how it was answered, so that a repeated request takes nothing.
CREATE TABLE pushes (
	tenant TEXT NOT NULL,
	sender TEXT NOT NULL,
	key    TEXT NOT NULL,
	at     INTEGER NOT NULL,
	doc    TEXT NOT NULL,
	PRIMARY KEY (tenant, sender, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX pushes_at ON pushes (at);

CREATE TABLE assessments (
	tenant   TEXT NOT NULL,
	identity TEXT NOT NULL,
	rank     INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 3),
	score    INTEGER NOT NULL CHECK (score BETWEEN 0 AND 100),
	at       INTEGER NOT NULL,
	digest   BLOB NOT NULL, -- of all but the time
	doc      TEXT NOT NULL,
	PRIMARY KEY (tenant, identity),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- What was thought before it changed.
CREATE TABLE assessment_versions (
	tenant   TEXT NOT NULL,
	identity TEXT NOT NULL,
	at       INTEGER NOT NULL,
	digest   BLOB NOT NULL,
	doc      TEXT NOT NULL,
	PRIMARY KEY (tenant, identity, at, digest),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

CREATE TABLE cases (
	tenant      TEXT NOT NULL,
	id          TEXT NOT NULL,
	identity    TEXT NOT NULL,
	name_key    TEXT NOT NULL,
	status      TEXT NOT NULL CHECK (status IN ('open', 'acting', 'waiting', 'contained', 'closed')),
	rank        INTEGER NOT NULL CHECK (rank BETWEEN 0 AND 3),
	score       INTEGER NOT NULL CHECK (score BETWEEN 0 AND 100),
	last_signal INTEGER NOT NULL,
	verdict     TEXT CHECK (verdict IN ('compromised', 'safe', 'benign', 'joined')),
	verdict_at  INTEGER,
	version     INTEGER NOT NULL CHECK (version > 0),
	doc         TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	CONSTRAINT closed_by_verdict CHECK ((status = 'closed') = (verdict IS NOT NULL)),
	CONSTRAINT verdict_has_time CHECK ((verdict IS NULL) = (verdict_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX cases_id ON cases (id);
-- One open case an identity.
CREATE UNIQUE INDEX cases_open ON cases (tenant, identity) WHERE status <> 'closed';
CREATE INDEX cases_identity ON cases (tenant, identity, verdict_at);
CREATE INDEX cases_queue ON cases (rank DESC, score DESC, last_signal DESC, id);
CREATE INDEX cases_status ON cases (tenant, status);

-- What people wrote into a case: answers and notes. Only added to.
CREATE TABLE case_notes (
	tenant  TEXT NOT NULL,
	id      TEXT NOT NULL,
	case_id TEXT NOT NULL,
	at      INTEGER NOT NULL,
	doc     TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, case_id) REFERENCES cases (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE INDEX case_notes_case ON case_notes (tenant, case_id, at, id);

-- What makes findings about unusual places count for less. Ended, not removed:
-- earlier assessments rest on them.
CREATE TABLE exceptions (
	tenant TEXT NOT NULL,
	id     TEXT NOT NULL,
	doc    TEXT NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT;

CREATE TABLE runs (
	tenant     TEXT NOT NULL,
	id         TEXT NOT NULL,
	case_id    TEXT,
	identity   TEXT NOT NULL,
	playbook   TEXT NOT NULL,
	once_key   TEXT NOT NULL,
	rate_key   TEXT, -- set when the run counts in its playbook's rate
	planned_at INTEGER,
	state      TEXT NOT NULL CHECK (state IN ('settling', 'waiting', 'acting', 'contained', 'done', 'held',
		'refused', 'observed', 'failed', 'rejected', 'expired', 'cancelled')),
	final      INTEGER NOT NULL,
	plan_hash  TEXT NOT NULL,
	started_at INTEGER NOT NULL,
	due_at     INTEGER, -- when the clock alone moves it next
	campaign   TEXT, -- null: the run is on its own
	stirred    INTEGER NOT NULL CHECK (stirred IN (0, 1)), -- an action or approval of it changed since it did
	version    INTEGER NOT NULL CHECK (version > 0),
	doc        TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, case_id) REFERENCES cases (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	CONSTRAINT final_by_state CHECK (final = (state NOT IN ('settling', 'waiting', 'acting')))
) STRICT;
CREATE UNIQUE INDEX runs_id ON runs (id);
CREATE INDEX runs_due ON runs (due_at, stirred, started_at, tenant, id) WHERE final = 0;
CREATE INDEX runs_once ON runs (tenant, playbook, once_key, started_at);
CREATE INDEX runs_rate ON runs (tenant, playbook, rate_key, planned_at) WHERE rate_key IS NOT NULL;
CREATE INDEX runs_case ON runs (tenant, case_id, started_at);
CREATE INDEX runs_identity ON runs (tenant, identity, started_at);
CREATE INDEX runs_campaign ON runs (tenant, campaign, id) WHERE campaign IS NOT NULL;
CREATE INDEX runs_started ON runs (started_at, id);

CREATE TABLE actions (
	tenant       TEXT NOT NULL,
	id           TEXT NOT NULL,
	run          TEXT NOT NULL,
	case_id      TEXT,
	identity     TEXT NOT NULL,
	step         TEXT NOT NULL,
	name         TEXT NOT NULL,
	effect       TEXT NOT NULL,
	turn         INTEGER NOT NULL, -- who goes first
	campaign     TEXT, -- null: it waits for nobody
	place        INTEGER NOT NULL, -- in the campaign
	state        TEXT NOT NULL CHECK (state IN ('requested', 'approved', 'held', 'running', 'accepted', 'unconfirmed',
		'verified', 'failed', 'refused', 'reverted', 'expired', 'cancelled')),
	person       INTEGER NOT NULL CHECK (person IN (0, 1)),
	sealed       INTEGER NOT NULL CHECK (sealed IN (0, 1)),
	attempt      INTEGER NOT NULL CHECK (attempt >= 0),
	requested_at INTEGER NOT NULL,
	intent_at    INTEGER,
	next_at      INTEGER NOT NULL, -- 0: not set
	ended_at     INTEGER,
	undo_of      TEXT,
	expires_at   INTEGER, -- when it is taken back by itself
	version      INTEGER NOT NULL CHECK (version > 0),
	doc          TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, run) REFERENCES runs (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, case_id) REFERENCES cases (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, undo_of) REFERENCES actions (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	-- Intent before effect: nothing is under way of which no intent was written.
	CONSTRAINT intent_first CHECK (state NOT IN ('running', 'accepted', 'unconfirmed') OR (attempt > 0 AND intent_at IS NOT NULL)),
	CONSTRAINT ended_when_final CHECK ((ended_at IS NOT NULL) = (state IN ('verified', 'failed', 'refused', 'reverted', 'expired', 'cancelled')))
) STRICT;
CREATE UNIQUE INDEX actions_id ON actions (id);
-- A step of a run acts once, one effect is under way once, and so is one undo.
CREATE UNIQUE INDEX actions_step ON actions (tenant, run, step);
CREATE UNIQUE INDEX actions_effect_open ON actions (tenant, effect)
	WHERE undo_of IS NULL AND state IN ('requested', 'approved', 'held', 'running', 'accepted', 'unconfirmed');
CREATE UNIQUE INDEX actions_undo_open ON actions (tenant, undo_of)
	WHERE undo_of IS NOT NULL AND state IN ('requested', 'approved', 'held', 'running', 'accepted', 'unconfirmed');
CREATE INDEX actions_effect ON actions (tenant, effect, requested_at);
CREATE INDEX actions_ready ON actions (tenant, name, turn, requested_at, id, next_at, campaign, place) WHERE state IN ('approved', 'held');
CREATE INDEX actions_unproven ON actions (tenant, next_at, id) WHERE state IN ('running', 'accepted', 'unconfirmed');
CREATE INDEX actions_next ON actions (tenant, next_at) WHERE state IN ('approved', 'held', 'running', 'accepted', 'unconfirmed');
CREATE INDEX actions_expiry ON actions (expires_at, id) WHERE state = 'verified' AND expires_at IS NOT NULL;
CREATE INDEX actions_case ON actions (tenant, case_id, requested_at);
CREATE INDEX actions_identity ON actions (tenant, identity, requested_at);
CREATE INDEX actions_requested ON actions (requested_at, id);
CREATE INDEX actions_person ON actions (tenant) WHERE person = 1;
CREATE INDEX actions_sealed ON actions (intent_at, id) WHERE sealed = 1;

-- A final state stays; verified can only become reverted.
CREATE TRIGGER actions_final BEFORE UPDATE OF state ON actions
WHEN old.state <> new.state AND (old.state IN ('failed', 'refused', 'reverted', 'expired', 'cancelled')
	OR (old.state = 'verified' AND new.state <> 'reverted'))
BEGIN SELECT RAISE(ABORT, 'action: a final state stays'); END;

-- Each intent ever written: what the budget and the blast radius count.
CREATE TABLE intents (
	tenant   TEXT NOT NULL,
	action   TEXT NOT NULL,
	at       INTEGER NOT NULL,
	name     TEXT NOT NULL,
	identity TEXT NOT NULL,
	account  TEXT NOT NULL, -- as its own directory knows it
	playbook TEXT NOT NULL,
	undo     INTEGER NOT NULL CHECK (undo IN (0, 1)),
	campaign TEXT NOT NULL, -- empty: none
	PRIMARY KEY (tenant, action, at),
	FOREIGN KEY (tenant, action) REFERENCES actions (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX intents_at ON intents (at, tenant, name, identity, playbook, undo, campaign);
CREATE INDEX intents_account ON intents (tenant, account, name, at);

CREATE TABLE approvals (
	tenant     TEXT NOT NULL,
	id         TEXT NOT NULL,
	run        TEXT NOT NULL,
	case_id    TEXT,
	identity   TEXT NOT NULL,
	state      TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'void')),
	asked_at   INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	ended_at   INTEGER,
	version    INTEGER NOT NULL CHECK (version > 0),
	doc        TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, run) REFERENCES runs (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, case_id) REFERENCES cases (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	CONSTRAINT ended_when_answered CHECK ((state = 'pending') = (ended_at IS NULL))
) STRICT;
CREATE UNIQUE INDEX approvals_id ON approvals (id);
CREATE INDEX approvals_run ON approvals (tenant, run, asked_at);
CREATE INDEX approvals_due ON approvals (expires_at, id) WHERE state = 'pending';
CREATE INDEX approvals_asked ON approvals (asked_at, id);

-- An answer stays.
CREATE TRIGGER approvals_final BEFORE UPDATE OF state ON approvals
WHEN old.state <> new.state AND old.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'approval: an answer stays'); END;

-- Questions to people; the secret of a question's link is in no column.
CREATE TABLE questions (
	tenant   TEXT NOT NULL,
	id       TEXT NOT NULL,
	run      TEXT NOT NULL,
	identity TEXT NOT NULL,
	state    TEXT NOT NULL CHECK (state IN ('pending', 'answered', 'expired', 'unasked', 'void')),
	asked_at INTEGER NOT NULL,
	linked   INTEGER NOT NULL CHECK (linked IN (0, 1)), -- it was given a link
	due_at   INTEGER, -- when somebody has to look at it; null: nobody has to
	version  INTEGER NOT NULL CHECK (version > 0),
	doc      TEXT NOT NULL,
	PRIMARY KEY (tenant, id),
	FOREIGN KEY (tenant, run) REFERENCES runs (tenant, id) DEFERRABLE INITIALLY DEFERRED,
	FOREIGN KEY (tenant, identity) REFERENCES identities (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
CREATE UNIQUE INDEX questions_id ON questions (id);
CREATE INDEX questions_run ON questions (tenant, run, asked_at);
CREATE INDEX questions_due ON questions (tenant, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX questions_linked ON questions (tenant, asked_at, identity) WHERE linked = 1;

CREATE TRIGGER questions_final BEFORE UPDATE OF state ON questions
WHEN old.state <> new.state AND old.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'question: an answer stays'); END;

CREATE TABLE leases (
	tenant TEXT NOT NULL,
	name   TEXT NOT NULL, -- what is leased: dispatch, or a bell
	owner  TEXT NOT NULL, -- empty: nobody
	fence  INTEGER NOT NULL CHECK (fence > 0),
	until  INTEGER NOT NULL,
	PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaigns (
	tenant   TEXT NOT NULL,
	id       TEXT NOT NULL,
	final    INTEGER NOT NULL,
	released INTEGER NOT NULL, -- items below it may leave; 0 while it does not go
	asked_at INTEGER NOT NULL,
	version  INTEGER NOT NULL CHECK (version > 0),
	doc      TEXT NOT NULL,
	PRIMARY KEY (tenant, id)
) STRICT;
CREATE UNIQUE INDEX campaigns_id ON campaigns (id);
CREATE INDEX campaigns_open ON campaigns (tenant, asked_at) WHERE final = 0;
CREATE INDEX campaigns_asked ON campaigns (asked_at, id);

-- The identities of a campaign, in the order in which they go.
CREATE TABLE campaign_items (
	tenant   TEXT NOT NULL,
	campaign TEXT NOT NULL,
	place    INTEGER NOT NULL,
	run      TEXT, -- null: not begun
	doc      TEXT NOT NULL,
	PRIMARY KEY (tenant, campaign, place),
	FOREIGN KEY (tenant, campaign) REFERENCES campaigns (tenant, id) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE stops (
	tenant TEXT NOT NULL PRIMARY KEY, -- empty: all tenants
	doc    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How far each receiver of messages has been told of a tenant's trail.
CREATE TABLE notify_places (
	receiver TEXT NOT NULL,
	tenant   TEXT NOT NULL,
	version  INTEGER NOT NULL CHECK (version > 0),
	doc      TEXT NOT NULL,
	PRIMARY KEY (receiver, tenant)
) STRICT, WITHOUT ROWID;

-- A case is told to a person once an episode.
CREATE TABLE notify_told (
	receiver TEXT NOT NULL,
	case_id  TEXT NOT NULL,
	episode  INTEGER NOT NULL,
	PRIMARY KEY (receiver, case_id, episode)
) STRICT, WITHOUT ROWID;

CREATE TABLE directory_facts (
	tenant TEXT NOT NULL PRIMARY KEY,
	as_of  INTEGER NOT NULL,
	doc    TEXT NOT NULL
) STRICT;

-- The trail. seq rises in the order of commits. Payload and salt can be erased
-- together once the leaf is in the log.
CREATE TABLE audit_entries (
	seq        INTEGER PRIMARY KEY AUTOINCREMENT,
	id         TEXT NOT NULL UNIQUE,
	tenant     TEXT NOT NULL,
	at         INTEGER NOT NULL,
	kind       TEXT NOT NULL,
	identity   TEXT NOT NULL,
	case_id    TEXT NOT NULL,
	run        TEXT NOT NULL,
	action     TEXT NOT NULL,
	approval   TEXT NOT NULL,
	payload    BLOB,
	salt       BLOB,
	leaf_index INTEGER UNIQUE,
	CONSTRAINT erased_together CHECK ((payload IS NULL) = (salt IS NULL)),
	CONSTRAINT erased_after_leaf CHECK (payload IS NOT NULL OR leaf_index IS NOT NULL)
) STRICT;
CREATE INDEX audit_entries_waiting ON audit_entries (seq, at) WHERE leaf_index IS NULL;
CREATE INDEX audit_entries_identity ON audit_entries (identity, seq) WHERE identity <> '';
CREATE INDEX audit_entries_case ON audit_entries (case_id, seq) WHERE case_id <> '';
CREATE INDEX audit_entries_run ON audit_entries (run, seq) WHERE run <> '';
CREATE INDEX audit_entries_action ON audit_entries (action, seq) WHERE action <> '';

CREATE TABLE audit_leaves (
	leaf_index INTEGER NOT NULL PRIMARY KEY CHECK (leaf_index >= 0),
	entry      TEXT NOT NULL UNIQUE REFERENCES audit_entries (id),
	leaf       BLOB NOT NULL,
	hash       BLOB NOT NULL
) STRICT;

-- The Merkle tree, by stored-hash index (golang.org/x/mod/sumdb/tlog).
CREATE TABLE audit_hashes (
	hash_index INTEGER NOT NULL PRIMARY KEY CHECK (hash_index >= 0),
	hash       BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoints (
	size   INTEGER NOT NULL PRIMARY KEY CHECK (size > 0),
	signed BLOB NOT NULL,
	at     INTEGER NOT NULL
) STRICT;

-- The log only grows.
CREATE TRIGGER audit_leaves_stay BEFORE UPDATE ON audit_leaves BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_leaves_kept BEFORE DELETE ON audit_leaves BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_hashes_stay BEFORE UPDATE ON audit_hashes BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_hashes_kept BEFORE DELETE ON audit_hashes BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_checkpoints_stay BEFORE UPDATE ON audit_checkpoints BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_checkpoints_kept BEFORE DELETE ON audit_checkpoints BEGIN SELECT RAISE(ABORT, 'audit: the log only grows'); END;
CREATE TRIGGER audit_entries_kept BEFORE DELETE ON audit_entries BEGIN SELECT RAISE(ABORT, 'audit: an entry is erased, not removed'); END;
