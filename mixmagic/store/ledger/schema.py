"""The ledger's tables, as numbered migrations.

Money is in nanodollars, prices in nanodollars per million tokens, times in seconds since 1970 or
in milliseconds. A cost of NULL is unknown, never 0. A price is kept beside the cost, so that
past costs stay when a price changes.
"""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        started_at REAL NOT NULL,
        session TEXT NOT NULL,
        notebook TEXT,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('open', 'ok', 'stopped', 'failed')),
        error TEXT,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        estimated INTEGER NOT NULL DEFAULT 0,
        input_price_nanodollars INTEGER,
        output_price_nanodollars INTEGER,
        cost_nanodollars INTEGER,
        latency_ms REAL,
        first_token_ms REAL
    );
    CREATE INDEX calls_by_session ON calls (session);
    CREATE INDEX calls_by_time ON calls (started_at)
    """,
    # Reservations. `held` is the most that an open call can cost, `owner` the process that makes
    # it. `spending` had sums for budgets: session:ID, notebook:PATH, day:DATE, month:MONTH,
    # cell:ID. `totals` has sums of the calls that have ended, for budgets and reports, grouped in
    # several ways, so that each report reads few rows: by session; and for all sessions, with the
    # kind in the column `session`: '' by day and model, 'days' by day, 'months' by month and model,
    # 'notebooks' by day, notebook and model, or (with an empty day) by notebook.
    """
    ALTER TABLE calls RENAME TO calls_1;
    DROP INDEX calls_by_session;
    DROP INDEX calls_by_time;
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        started_at REAL NOT NULL,
        day TEXT NOT NULL,
        session TEXT NOT NULL,
        notebook TEXT,
        cell TEXT,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL
            CHECK (status IN ('open', 'ok', 'stopped', 'failed', 'lost', 'resolved')),
        error TEXT,
        owner TEXT,
        held_nanodollars INTEGER,
        prompt_tokens INTEGER,
        cached_tokens INTEGER,
        completion_tokens INTEGER,
        counted TEXT CHECK (counted IN ('server', 'exact', 'estimate')),
        input_price_nanodollars INTEGER,
        cached_price_nanodollars INTEGER,
        output_price_nanodollars INTEGER,
        price_since TEXT,
        price_source TEXT,
        cost_nanodollars INTEGER,
        latency_ms REAL,
        first_token_ms REAL
    );
    INSERT INTO calls (id, started_at, day, session, notebook, provider, model, status, error,
            prompt_tokens, cached_tokens, completion_tokens, counted, input_price_nanodollars,
            output_price_nanodollars, cost_nanodollars, latency_ms, first_token_ms)
        SELECT id, started_at, date(started_at, 'unixepoch', 'localtime'), session, notebook,
            provider, model, status, error, prompt_tokens, 0, completion_tokens,
            CASE WHEN status = 'open' THEN NULL WHEN estimated THEN 'estimate' ELSE 'server' END,
            input_price_nanodollars, output_price_nanodollars, cost_nanodollars, latency_ms,
            first_token_ms
        FROM calls_1;
    DROP TABLE calls_1;
    CREATE INDEX calls_by_session ON calls (session, started_at, cost_nanodollars);
    CREATE INDEX calls_by_day ON calls (day, started_at, cost_nanodollars);
    CREATE INDEX calls_open ON calls (id) WHERE status = 'open';
    CREATE INDEX calls_lost ON calls (id) WHERE status = 'lost';
    CREATE TABLE spending (
        scope TEXT PRIMARY KEY,
        spent INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    INSERT INTO spending (scope, spent)
        SELECT 'session:' || session, SUM(cost_nanodollars) FROM calls
            WHERE cost_nanodollars > 0 GROUP BY 1
        UNION ALL SELECT 'notebook:' || notebook, SUM(cost_nanodollars) FROM calls
            WHERE cost_nanodollars > 0 AND notebook IS NOT NULL GROUP BY 1
        UNION ALL SELECT 'day:' || day, SUM(cost_nanodollars) FROM calls
            WHERE cost_nanodollars > 0 GROUP BY 1
        UNION ALL SELECT 'month:' || substr(day, 1, 7), SUM(cost_nanodollars) FROM calls
            WHERE cost_nanodollars > 0 GROUP BY 1;
    CREATE TABLE totals (
        session TEXT NOT NULL,
        day TEXT NOT NULL,
        notebook TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL,
        calls INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        cost_nanodollars INTEGER NOT NULL,
        saved_nanodollars INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        PRIMARY KEY (session, day, notebook, provider, model, status)
    ) WITHOUT ROWID;
    INSERT INTO totals
        SELECT session, day, COALESCE(notebook, ''), provider, model, status, COUNT(*),
            COALESCE(SUM(prompt_tokens), 0), 0, COALESCE(SUM(completion_tokens), 0),
            COALESCE(SUM(cost_nanodollars), 0), 0, SUM(cost_nanodollars IS NULL),
            SUM(counted != 'server')
        FROM calls WHERE status != 'open' GROUP BY 1, 2, 3, 4, 5, 6;
    INSERT INTO totals
        SELECT '', day, '', provider, model, status, SUM(calls),
            SUM(prompt_tokens), 0, SUM(completion_tokens), SUM(cost_nanodollars), 0,
            SUM(unpriced), SUM(estimated) FROM totals GROUP BY 2, 4, 5, 6
        UNION ALL
        SELECT 'days', day, '', '', '', status, SUM(calls),
            SUM(prompt_tokens), 0, SUM(completion_tokens), SUM(cost_nanodollars), 0,
            SUM(unpriced), SUM(estimated) FROM totals GROUP BY 2, 6
        UNION ALL
        SELECT 'months', substr(day, 1, 7), '', provider, model, status, SUM(calls),
            SUM(prompt_tokens), 0, SUM(completion_tokens), SUM(cost_nanodollars), 0,
            SUM(unpriced), SUM(estimated) FROM totals GROUP BY 2, 4, 5, 6
        UNION ALL
        SELECT 'notebooks', day, notebook, provider, model, status, SUM(calls),
            SUM(prompt_tokens), 0, SUM(completion_tokens), SUM(cost_nanodollars), 0,
            SUM(unpriced), SUM(estimated) FROM totals GROUP BY 2, 3, 4, 5, 6
        UNION ALL
        SELECT 'notebooks', '', notebook, '', '', status, SUM(calls),
            SUM(prompt_tokens), 0, SUM(completion_tokens), SUM(cost_nanodollars), 0,
            SUM(unpriced), SUM(estimated) FROM totals GROUP BY 3, 6
    """,
    # Budgets are checked against `totals` and the open calls: sums that are kept twice can
    # disagree, and every page that a transaction touches costs time.
    """
    DROP TABLE spending;
    DROP INDEX calls_by_session;
    DROP INDEX calls_by_day;
    DROP INDEX calls_open;
    CREATE INDEX calls_by_session ON calls (session, started_at);
    CREATE INDEX calls_by_day ON calls (day, started_at);
    CREATE INDEX calls_by_cell ON calls (cell) WHERE cell IS NOT NULL;
    CREATE INDEX calls_open ON calls (status, session, day, notebook, cell, held_nanodollars)
        WHERE status = 'open'
    """,
    # Calls of other origins: a cache, a cassette, a batch. `tag` is the cell or the row that made
    # the call, `job` the job that it belongs to, `billed_tries` the number of failed tries that are
    # in the cost at their worst case, `charge` what the provider said it charges. `moved_at` is
    # roughly when an open call last got a piece of its answer.
    # `reservations` are amounts that no process owns: those of jobs, which outlive their kernels,
    # and of their leases. They count for budgets as open calls do, until the job lowers or deletes
    # them. `waiting` has the calls that wait for money: since when, for which limits
    # (`day:2026-11-24`, one a line), and when they last tried.
    # The trigger stops a process of an earlier version that has the file open when it is about to
    # reserve money: it ignores other reservations, and does not note when a call moves.
    """
    ALTER TABLE calls RENAME TO calls_3;
    DROP INDEX calls_by_session;
    DROP INDEX calls_by_day;
    DROP INDEX calls_by_cell;
    DROP INDEX calls_open;
    DROP INDEX calls_lost;
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        started_at REAL NOT NULL,
        day TEXT NOT NULL,
        session TEXT NOT NULL,
        notebook TEXT,
        cell TEXT,
        job TEXT,
        tag TEXT,
        origin TEXT NOT NULL DEFAULT 'live',
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        status TEXT NOT NULL,
        error TEXT,
        owner TEXT,
        held_nanodollars INTEGER,
        moved_at REAL,
        prompt_tokens INTEGER,
        cached_tokens INTEGER,
        cache_write_tokens INTEGER,
        completion_tokens INTEGER,
        counted TEXT,
        billed_tries INTEGER NOT NULL DEFAULT 0,
        input_price_nanodollars INTEGER,
        cached_price_nanodollars INTEGER,
        cache_write_price_nanodollars INTEGER,
        output_price_nanodollars INTEGER,
        price_since TEXT,
        price_source TEXT,
        charge_nanodollars INTEGER,
        cost_nanodollars INTEGER,
        latency_ms REAL,
        first_token_ms REAL
    );
    INSERT INTO calls (id, started_at, day, session, notebook, cell, origin, provider, model,
            status, error, owner, held_nanodollars, prompt_tokens, cached_tokens,
            completion_tokens, counted, input_price_nanodollars, cached_price_nanodollars,
            output_price_nanodollars, price_since, price_source, cost_nanodollars, latency_ms,
            first_token_ms)
        SELECT id, started_at, day, session, notebook, cell, 'live', provider, model,
            status, error, owner, held_nanodollars, prompt_tokens, cached_tokens,
            completion_tokens, counted, input_price_nanodollars, cached_price_nanodollars,
            output_price_nanodollars, price_since, price_source, cost_nanodollars, latency_ms,
            first_token_ms
        FROM calls_3;
    DROP TABLE calls_3;
    CREATE INDEX calls_by_session ON calls (session, started_at);
    CREATE INDEX calls_by_day ON calls (day, started_at);
    CREATE INDEX calls_by_cell ON calls (cell) WHERE cell IS NOT NULL;
    CREATE INDEX calls_by_job ON calls (job) WHERE job IS NOT NULL;
    CREATE INDEX calls_open ON calls (status, session, day, notebook, cell, held_nanodollars)
        WHERE status = 'open';
    CREATE INDEX calls_lost ON calls (id) WHERE status = 'lost';
    CREATE INDEX calls_tried ON calls (billed_tries, session, day) WHERE billed_tries > 0;
    CREATE TRIGGER calls_of_an_earlier_version BEFORE INSERT ON calls
        WHEN NEW.owner IS NOT NULL AND NEW.moved_at IS NULL
    BEGIN
        SELECT RAISE(ABORT, 'a newer mixmagic has opened it: restart this kernel');
    END;
    CREATE TABLE reservations (
        id INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        lease TEXT,
        created_at REAL NOT NULL,
        day TEXT NOT NULL,
        session TEXT NOT NULL,
        notebook TEXT,
        cell TEXT,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        held_nanodollars INTEGER NOT NULL
    );
    CREATE INDEX reservations_by_job ON reservations (job);
    CREATE TABLE waiting (
        owner TEXT NOT NULL,
        since REAL NOT NULL,
        limits TEXT NOT NULL,
        looked_at REAL NOT NULL,
        PRIMARY KEY (owner, since)
    ) WITHOUT ROWID
    """,
)
