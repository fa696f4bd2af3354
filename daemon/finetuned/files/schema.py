"""
The tables of the journal as SQL, and the steps from one version of them to the next.

Columns are named once more as the fields of files/rows.py; a test compares them.
"""

from __future__ import annotations

VERSION = 8
"""The schema of this version of the program."""

FIRST = """
CREATE TABLE IF NOT EXISTS settings (
    key TEXT PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS datasets (
    key TEXT PRIMARY KEY,          -- one claim; sorts by arrival
    name TEXT NOT NULL,            -- as dropped, escaped
    inbox_path BLOB NOT NULL,      -- as dropped, raw bytes
    priority TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    claimed_at TEXT NOT NULL,
    state TEXT NOT NULL,           -- claimed, accepted, duplicate, quarantined, retired
    dataset_id TEXT,               -- first 16 hex digits of sha256
    sha256 TEXT,
    duplicate_of TEXT,             -- key of the dataset with the same bytes on the books
    n_train INTEGER, n_heldout INTEGER,
    reason TEXT,
    job_id TEXT,
    final_path TEXT
);
CREATE INDEX IF NOT EXISTS datasets_state ON datasets (state);
CREATE INDEX IF NOT EXISTS datasets_id ON datasets (dataset_id);
CREATE INDEX IF NOT EXISTS datasets_job ON datasets (job_id);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    priority TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,   -- failures; stops are free
    parent TEXT,                   -- version it trains on, set at its first run
    config TEXT,                   -- resolved configuration, frozen at its first run
    candidate_run TEXT,
    checkpoint TEXT,               -- last verified checkpoint, relative to models/runs/
    version TEXT,
    error_type TEXT, error_message TEXT,
    reason TEXT,
    retired INTEGER NOT NULL DEFAULT 0     -- its originals are in their last place
);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,            -- ingestion, training, evaluation, watch
    job_id TEXT,
    pid INTEGER, pid_started REAL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    exit_status INTEGER,
    outcome TEXT,
    resumed_from TEXT,
    first_step INTEGER, last_step INTEGER
);
CREATE TABLE IF NOT EXISTS trained (
    job_id TEXT NOT NULL, dataset_id TEXT NOT NULL, run_id TEXT NOT NULL,
    n_examples INTEGER NOT NULL, n_supervised_tokens INTEGER NOT NULL,
    optimizer_steps INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (job_id, dataset_id)
);
CREATE TABLE IF NOT EXISTS evals (
    job_id TEXT NOT NULL, run_id TEXT NOT NULL, subject TEXT NOT NULL, suite TEXT NOT NULL,
    n_rows INTEGER NOT NULL, n_asked INTEGER NOT NULL, n_exact INTEGER NOT NULL,
    loss REAL, complete INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (run_id, subject, suite)
);
CREATE TABLE IF NOT EXISTS versions (
    id TEXT PRIMARY KEY,
    parent TEXT,
    job_id TEXT, run_id TEXT,
    verdict TEXT NOT NULL,         -- promoted, held, rejected
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS promotions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT,                  -- NULL: back to the base model
    cause TEXT NOT NULL,           -- gate, rollback, promote, watch, fallback, rebuild
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY,
    command TEXT NOT NULL, reason TEXT NOT NULL,
    received_at TEXT NOT NULL, obeyed_at TEXT, outcome TEXT
);
"""
"""Version 1. Executed at every start, so every statement leaves what is there alone."""

MIGRATIONS: dict[int, str] = {
    # What was evaluated before has marks of exact match only.
    1: """
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'training';
ALTER TABLE evals ADD COLUMN version TEXT;
ALTER TABLE evals ADD COLUMN origin TEXT;
ALTER TABLE evals ADD COLUMN title TEXT;
ALTER TABLE evals ADD COLUMN n_correct INTEGER;
ALTER TABLE evals ADD COLUMN stop_rate REAL;
ALTER TABLE evals ADD COLUMN n_timed_out INTEGER;
UPDATE evals SET n_correct = n_exact, origin = suite, title = suite;
CREATE INDEX evals_job ON evals (job_id);
CREATE INDEX jobs_version ON jobs (version);
CREATE VIEW matrix AS
    SELECT j.version, j.id AS job_id, j.state, e.suite, e.title, e.origin,
           CAST(e.n_correct AS REAL) / NULLIF(e.n_asked, 0) AS accuracy,
           e.n_asked, e.loss, e.at
    FROM evals e JOIN jobs j ON j.id = e.job_id
    WHERE e.subject = 'candidate' AND j.version IS NOT NULL;
""",
    # Before heads were recorded, the head was the version in use.
    2: """
CREATE TABLE heads (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT,
    cause TEXT NOT NULL,
    job_id TEXT,
    at TEXT NOT NULL
);
INSERT INTO heads (version, cause, job_id, at)
    SELECT p.version, CASE p.cause WHEN 'gate' THEN 'promoted' ELSE p.cause END,
           CASE p.cause WHEN 'gate' THEN v.job_id END, p.at
    FROM promotions p LEFT JOIN versions v ON v.id = p.version ORDER BY p.seq;
""",
    # Rows of files that were read before are counted from their reports at the next start.
    3: """
ALTER TABLE datasets ADD COLUMN n_rows INTEGER;
ALTER TABLE datasets ADD COLUMN n_refused INTEGER;
ALTER TABLE datasets ADD COLUMN n_reserved INTEGER;
ALTER TABLE datasets ADD COLUMN n_train_rows INTEGER;
CREATE TABLE dataset_jobs (
    key TEXT NOT NULL, job_id TEXT NOT NULL,   -- every job that a dataset was ever given to
    PRIMARY KEY (key, job_id)
) WITHOUT ROWID;
CREATE INDEX dataset_jobs_job ON dataset_jobs (job_id);
INSERT INTO dataset_jobs SELECT key, job_id FROM datasets WHERE job_id IS NOT NULL;
UPDATE datasets SET duplicate_of = (
    SELECT max(later.key) FROM datasets later
    WHERE later.dataset_id = datasets.dataset_id AND later.key > datasets.key
    AND later.duplicate_of IS NULL AND later.state IN ('accepted', 'retired'))
    WHERE duplicate_of IS NULL AND state IN ('accepted', 'retired')
    AND job_id IN (SELECT id FROM jobs WHERE state IN ('failed', 'skipped'));
""",
    # No look of the program before is counted: see core/looks.py.
    4: """
ALTER TABLE jobs ADD COLUMN second_try INTEGER NOT NULL DEFAULT 0;
CREATE TABLE looks (
    run_id TEXT PRIMARY KEY,       -- the evaluation whose report was judged
    promotion INTEGER NOT NULL,    -- the decision on the release it was judged against, 0 for none
    candidates INTEGER NOT NULL    -- the candidate and its interpolations that were judged
) WITHOUT ROWID;
CREATE INDEX looks_promotion ON looks (promotion);
""",
    # Which rows the steps of earlier jobs had was not recorded: all of them, then.
    5: """
ALTER TABLE trained ADD COLUMN unseen TEXT;
ALTER TABLE trained ADD COLUMN unseen_because TEXT;
CREATE INDEX trained_unseen ON trained (dataset_id) WHERE unseen IS NOT NULL;
""",
    # What earlier runs used was not measured: they have no row.
    6: """
CREATE TABLE usage (
    run_id TEXT PRIMARY KEY,
    seconds REAL NOT NULL,         -- wall time, as far as a daemon saw the run
    cpu_seconds REAL NOT NULL,     -- of its processes
    cpu_joules REAL,               -- NULL: the processor's counters cannot be read
    gpu_joules REAL,               -- NULL: no GPU worked, or it does not report its energy
    gpus INTEGER NOT NULL          -- most GPUs that worked at once
) WITHOUT ROWID;
""",
    # What happened before is not told: it would all come at once.
    7: """
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,            -- a word of core/notice.py
    at TEXT NOT NULL,
    job_id TEXT, version TEXT,     -- what it is about, if it is about one
    detail TEXT NOT NULL,          -- why, in the words of the gate or of the error
    message INTEGER                -- the message that tells it; 0: nobody asked to be told
);
CREATE INDEX notices_untold ON notices (id) WHERE message IS NULL;
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    written_at TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,            -- JSON: every form that it is sent in; '' once nobody waits
    picture BLOB                   -- PNG that its HTML refers to
);
CREATE TABLE deliveries (
    message INTEGER NOT NULL,
    addressee TEXT NOT NULL,       -- a name of report.to; no address is recorded
    state TEXT NOT NULL,           -- waiting, sent, given_up
    attempts INTEGER NOT NULL DEFAULT 0,   -- counted before each try
    next_try_at TEXT NOT NULL,
    problem TEXT,                  -- why the last try failed
    sent_at TEXT,
    PRIMARY KEY (message, addressee)
) WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (next_try_at) WHERE state = 'waiting';
CREATE TABLE daily_reports (
    last_day TEXT PRIMARY KEY,     -- local dates: the report covers first_day to last_day
    first_day TEXT NOT NULL,
    made_at TEXT NOT NULL,
    message INTEGER                -- NULL if report.to named nobody
) WITHOUT ROWID;
CREATE TABLE device_use (
    hour TEXT PRIMARY KEY,         -- RFC 3339 UTC, such as 2026-11-20T09
    n INTEGER NOT NULL,            -- readings of a GPU while a worker ran
    utilisation REAL NOT NULL      -- their sum, each 0 to 100
) WITHOUT ROWID;
""",
}
"""Version -> the statements that make the next one of it. A new file takes the same way."""
