-- +goose Up

-- One row: the commit that is desired. '' before the first.
CREATE TABLE gitopsd.repository (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    head text NOT NULL DEFAULT ''
);
INSERT INTO gitopsd.repository DEFAULT VALUES;

-- One row: who may write. A session is the holder's own connection; once it is
-- gone the holder is dead, and nobody has to wait for the expiry.
CREATE TABLE gitopsd.leases (
    name text PRIMARY KEY,
    holder text NOT NULL DEFAULT '',
    token bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    session integer,
    session_start timestamptz
);
INSERT INTO gitopsd.leases (name) VALUES ('daemon');

CREATE SEQUENCE gitopsd.commit_seq;
CREATE TABLE gitopsd.commits (
    sha text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL DEFAULT nextval('gitopsd.commit_seq'),
    subject text NOT NULL,
    author text NOT NULL,
    at timestamptz NOT NULL,
    accepted boolean NOT NULL DEFAULT false,
    hold_reason text,
    hold_message text,
    superseded_by text,
    approved_by text,
    approved_at timestamptz,
    settled boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX commits_seq ON gitopsd.commits (seq);
CREATE INDEX commits_unsettled ON gitopsd.commits (seq) WHERE NOT settled;
CREATE INDEX commits_open ON gitopsd.commits (sha) WHERE NOT accepted AND superseded_by IS NULL;

CREATE TABLE gitopsd.items (
    commit text COLLATE "C" NOT NULL REFERENCES gitopsd.commits (sha),
    tenant text COLLATE "C" NOT NULL,
    operation text NOT NULL,
    reason text NOT NULL,
    failure jsonb,
    problems jsonb,
    run text COLLATE "C",
    infra text NOT NULL,
    app text NOT NULL,
    PRIMARY KEY (commit, tenant)
);

CREATE TABLE gitopsd.tenants (
    name text COLLATE "C" PRIMARY KEY,
    spec jsonb NOT NULL,
    commit text NOT NULL,
    infra text NOT NULL,
    app text NOT NULL,
    sources text[] NOT NULL DEFAULT '{}',
    done_infra text NOT NULL DEFAULT '',
    done_app text NOT NULL DEFAULT '',
    release text NOT NULL DEFAULT '',
    deleted boolean NOT NULL DEFAULT false,
    purge_after timestamptz,
    failing boolean NOT NULL DEFAULT false,
    created timestamptz NOT NULL DEFAULT now(),
    accepted timestamptz NOT NULL DEFAULT now(),
    provisioned timestamptz,
    deployed timestamptz
);
CREATE INDEX tenants_live ON gitopsd.tenants (name) WHERE NOT deleted;
CREATE INDEX tenants_purgeable ON gitopsd.tenants (purge_after) WHERE deleted AND purge_after IS NOT NULL;

CREATE SEQUENCE gitopsd.run_seq;
CREATE TABLE gitopsd.runs (
    id text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL DEFAULT nextval('gitopsd.run_seq'),
    tenant text COLLATE "C" NOT NULL,
    commit text NOT NULL,
    operation text NOT NULL,
    spec jsonb,
    infra text NOT NULL,
    app text NOT NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'superseded')),
    state text NOT NULL DEFAULT '',
    failure jsonb,
    release text NOT NULL DEFAULT '',
    queued timestamptz NOT NULL DEFAULT clock_timestamp(),
    started timestamptz,
    finished timestamptz
);
CREATE UNIQUE INDEX runs_one_running ON gitopsd.runs (tenant) WHERE status = 'running';
CREATE INDEX runs_queue ON gitopsd.runs (seq) WHERE status = 'queued';
CREATE INDEX runs_active ON gitopsd.runs (tenant, seq) WHERE status IN ('queued', 'running');
CREATE INDEX runs_tenant ON gitopsd.runs (tenant, seq DESC);
CREATE INDEX runs_ended ON gitopsd.runs (tenant, seq DESC) WHERE status IN ('succeeded', 'failed');

CREATE SEQUENCE gitopsd.event_seq;
CREATE TABLE gitopsd.events (
    run text COLLATE "C" NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('gitopsd.event_seq'),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL,
    kind text NOT NULL,
    try integer NOT NULL,
    took bigint NOT NULL, -- nanoseconds
    message text NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE TABLE gitopsd.statuses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    commit text COLLATE "C" NOT NULL REFERENCES gitopsd.commits (sha),
    state text NOT NULL CHECK (state IN ('pending', 'success', 'failure')),
    description text NOT NULL,
    at timestamptz NOT NULL,
    delivered timestamptz,
    due timestamptz, -- NULL: at once
    tries integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX statuses_one_terminal ON gitopsd.statuses (commit) WHERE state <> 'pending';
CREATE INDEX statuses_commit ON gitopsd.statuses (commit, id DESC);
CREATE INDEX statuses_outbox ON gitopsd.statuses (id) WHERE delivered IS NULL;
CREATE INDEX statuses_outbox_commit ON gitopsd.statuses (commit, id) WHERE delivered IS NULL;

CREATE TABLE gitopsd.tombstones (
    tenant text COLLATE "C" PRIMARY KEY,
    commit text NOT NULL,
    at timestamptz NOT NULL,
    purge_after timestamptz NOT NULL,
    snapshot text NOT NULL
);

CREATE TABLE gitopsd.receipts (
    run text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    commit text NOT NULL,
    at timestamptz NOT NULL,
    snapshot text NOT NULL,
    resources jsonb NOT NULL
);
CREATE INDEX receipts_tenant ON gitopsd.receipts (tenant, at DESC);

-- fence fails unless the token is the current one, and keeps it current until
-- the transaction ends: a successor takes the same lock exclusively first. Each
-- statement of the function has a snapshot of its own, so the token is read
-- after the lock was had.
-- +goose StatementBegin
CREATE FUNCTION gitopsd.fence(held bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7166488211943);
    IF NOT EXISTS (SELECT FROM gitopsd.leases WHERE name = 'daemon' AND token = held) THEN
        RAISE EXCEPTION 'another daemon holds the lease' USING ERRCODE = 'GD001';
    END IF;
END $$;
-- +goose StatementEnd

-- move_head fails unless the head is the one the caller planned from.
-- +goose StatementBegin
CREATE FUNCTION gitopsd.move_head(previous text, next text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gitopsd.repository SET head = next WHERE head = previous;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the ledger has another head than %', coalesce(nullif(previous, ''), '(none)')
            USING ERRCODE = 'GD002';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE gitopsd.receipts, gitopsd.tombstones, gitopsd.statuses, gitopsd.events, gitopsd.runs,
    gitopsd.tenants, gitopsd.items, gitopsd.commits, gitopsd.leases, gitopsd.repository;
DROP SEQUENCE gitopsd.event_seq, gitopsd.run_seq, gitopsd.commit_seq;
DROP FUNCTION gitopsd.fence(bigint), gitopsd.move_head(text, text);
