-- +goose Up
-- How the states of runs under way ended, for engines that keep no such record
-- beside the ledger; it goes with the run's end.
CREATE TABLE gitopsd.outcomes (
    run text COLLATE "C" NOT NULL,
    state text NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('gitopsd.event_seq'),
    output jsonb,
    failure jsonb,
    PRIMARY KEY (run, state)
);

-- fence_run fails unless the run is running, and keeps it so until the
-- transaction ends.
-- +goose StatementBegin
CREATE FUNCTION gitopsd.fence_run(fenced text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM gitopsd.runs WHERE id = fenced AND status = 'running' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % is not under way', fenced USING ERRCODE = 'GD001';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION gitopsd.fence_run(text);
DROP TABLE gitopsd.outcomes;
