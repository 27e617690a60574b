-- +goose Up
CREATE INDEX items_refused ON gitopsd.items (tenant) WHERE failure IS NOT NULL AND run IS NULL;

-- +goose Down
DROP INDEX gitopsd.items_refused;
