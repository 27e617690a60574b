-- +goose Up
CREATE TABLE rows (id bigserial PRIMARY KEY, text text NOT NULL);
