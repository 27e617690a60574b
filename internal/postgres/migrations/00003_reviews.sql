-- +goose Up

-- What the forge is to show. Of a key the last body counts; each other body is
-- a new version. Versions up to settled are over: the forge shows them, or was
-- given up (then error is set).
CREATE TABLE gitopsd.notices (
    key text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    body jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    settled bigint NOT NULL DEFAULT 0,
    settled_at timestamptz, -- NULL while the last version is not over
    remote bigint NOT NULL DEFAULT 0,
    due timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT ''
);
CREATE INDEX notices_due ON gitopsd.notices (due, key) WHERE settled < version;

CREATE TABLE gitopsd.pulls (
    number integer PRIMARY KEY,
    head text NOT NULL,
    state text NOT NULL,
    report jsonb NOT NULL,
    closed boolean NOT NULL,
    updated timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX pulls_open ON gitopsd.pulls (number) WHERE NOT closed;
CREATE INDEX pulls_updated ON gitopsd.pulls (updated DESC, number DESC);

CREATE TABLE gitopsd.heads (
    pull integer NOT NULL,
    head text COLLATE "C" NOT NULL,
    seen timestamptz NOT NULL, -- first, by the forge's clock
    PRIMARY KEY (pull, head)
);

-- Comments that were worked off, and up to when.
CREATE TABLE gitopsd.commands (
    comment bigint PRIMARY KEY,
    pull integer NOT NULL,
    author text NOT NULL,
    name text NOT NULL,
    at timestamptz NOT NULL,
    failure jsonb
);
CREATE TABLE gitopsd.cursors (
    name text PRIMARY KEY,
    at timestamptz NOT NULL
);

CREATE TABLE gitopsd.approvals (
    fingerprint text COLLATE "C" PRIMARY KEY,
    pull integer NOT NULL,
    head text NOT NULL,
    author text NOT NULL,
    at timestamptz NOT NULL,
    used_by text -- the commit that was let through
);

-- use_approval fails unless the approval is good, and leaves it used.
-- +goose StatementBegin
CREATE FUNCTION gitopsd.use_approval(wanted text, commit text, age interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gitopsd.approvals SET used_by = commit WHERE fingerprint = wanted AND used_by IS NULL AND at >= now() - age;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the approval % was used, or is too old', wanted USING ERRCODE = 'GD003';
    END IF;
END $$;
-- +goose StatementEnd

-- Deliveries of webhooks, so that one that comes again is known.
CREATE TABLE gitopsd.deliveries (
    id text COLLATE "C" PRIMARY KEY,
    signature text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL
);
CREATE UNIQUE INDEX deliveries_signature ON gitopsd.deliveries (signature) WHERE signature <> '';
CREATE INDEX deliveries_at ON gitopsd.deliveries (at);

-- A tenant with a pull is a preview: no commit of the branch knows it.
ALTER TABLE gitopsd.tenants ADD pull integer, ADD preview jsonb;
DROP INDEX gitopsd.tenants_live;
CREATE INDEX tenants_live ON gitopsd.tenants (name) WHERE NOT deleted AND pull IS NULL;
CREATE INDEX tenants_previews ON gitopsd.tenants (name) WHERE pull IS NOT NULL;

ALTER TABLE gitopsd.runs
    ADD argument text NOT NULL DEFAULT '',
    ADD pull integer, -- of a preview's run; it stays when the preview is gone
    ADD announced text NOT NULL DEFAULT ''; -- status that the forge was told last
UPDATE gitopsd.runs SET announced = status WHERE status IN ('running', 'succeeded', 'failed');
CREATE INDEX runs_unannounced ON gitopsd.runs (seq) WHERE announced <> status
    AND status IN ('running', 'succeeded', 'failed')
    AND operation IN ('provision', 'update', 'deploy', 'deprovision', 'restore');

-- A status that the forge refuses for good is over, too.
ALTER TABLE gitopsd.statuses ADD given_up boolean NOT NULL DEFAULT false;
DROP INDEX gitopsd.statuses_outbox, gitopsd.statuses_outbox_commit;
CREATE INDEX statuses_outbox ON gitopsd.statuses (id) WHERE delivered IS NULL AND NOT given_up;
CREATE INDEX statuses_outbox_commit ON gitopsd.statuses (commit, id) WHERE delivered IS NULL AND NOT given_up;

-- One row: ticks rises in every transaction that changes how a run or a tenant
-- stands. The triggers wait for the transaction's end, so that the row is the
-- last thing it locks and nobody waits for it in a circle.
CREATE TABLE gitopsd.clock (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    ticks bigint NOT NULL DEFAULT 0,
    transaction xid8 NOT NULL DEFAULT '0'
);
INSERT INTO gitopsd.clock DEFAULT VALUES;

-- +goose StatementBegin
CREATE FUNCTION gitopsd.tick() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE gitopsd.clock SET ticks = ticks + 1, transaction = pg_current_xact_id()
    WHERE transaction <> pg_current_xact_id();
    RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE CONSTRAINT TRIGGER runs_come AFTER INSERT OR DELETE ON gitopsd.runs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gitopsd.tick();
CREATE CONSTRAINT TRIGGER runs_change AFTER UPDATE OF status ON gitopsd.runs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION gitopsd.tick();
CREATE CONSTRAINT TRIGGER tenants_come AFTER INSERT OR DELETE ON gitopsd.tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gitopsd.tick();
CREATE CONSTRAINT TRIGGER tenants_change AFTER UPDATE ON gitopsd.tenants
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.spec, OLD.commit, OLD.infra, OLD.app, OLD.sources, OLD.done_infra, OLD.done_app, OLD.release,
            OLD.deleted, OLD.purge_after, OLD.failing)
        IS DISTINCT FROM (NEW.spec, NEW.commit, NEW.infra, NEW.app, NEW.sources, NEW.done_infra, NEW.done_app, NEW.release,
            NEW.deleted, NEW.purge_after, NEW.failing))
    EXECUTE FUNCTION gitopsd.tick();

-- +goose Down
DROP TRIGGER runs_come ON gitopsd.runs;
DROP TRIGGER runs_change ON gitopsd.runs;
DROP TRIGGER tenants_come ON gitopsd.tenants;
DROP TRIGGER tenants_change ON gitopsd.tenants;
DROP FUNCTION gitopsd.tick(), gitopsd.use_approval(text, text, interval);
DROP TABLE gitopsd.notices, gitopsd.pulls, gitopsd.heads, gitopsd.commands, gitopsd.cursors, gitopsd.approvals,
    gitopsd.deliveries, gitopsd.clock;
ALTER TABLE gitopsd.statuses DROP given_up;
CREATE INDEX statuses_outbox ON gitopsd.statuses (id) WHERE delivered IS NULL;
CREATE INDEX statuses_outbox_commit ON gitopsd.statuses (commit, id) WHERE delivered IS NULL;
ALTER TABLE gitopsd.runs DROP argument, DROP pull, DROP announced;
DELETE FROM gitopsd.tenants WHERE pull IS NOT NULL;
ALTER TABLE gitopsd.tenants DROP pull, DROP preview;
CREATE INDEX tenants_live ON gitopsd.tenants (name) WHERE NOT deleted;
