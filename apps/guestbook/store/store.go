// Package store keeps the guestbook's entries in Postgres and counts visits in
// Redis.
//
// It shows its callers an interface and no type of a dependency, and New is not
// inlined: so package main compiles in some 10 ms instead of a second, and a
// change of it is live that much sooner.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Store is the guestbook's data.
type Store interface {
	// Ping asks Postgres and Redis whether they are there.
	Ping(ctx context.Context) error
	// Add adds an entry.
	Add(ctx context.Context, author, message string) error
	// Latest returns the newest entries, newest first.
	Latest(ctx context.Context, limit int) ([]Entry, error)
	// Visit counts a visit and returns how many there were.
	Visit(ctx context.Context) (int64, error)
	Close()
}

// Entry is what somebody wrote.
type Entry struct {
	ID      int64     `json:"id"`
	Author  string    `json:"author"`
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// Config comes from the environment that the platform sets.
type Config struct {
	DatabaseURL string // of the tenant's own database
	RedisURL    string // "" if the tenant has no cache: visits are not counted then
	RedisPrefix string // every key must start with it
}

type store struct {
	db     *pgxpool.Pool
	cache  *redis.Client // nil without a cache
	prefix string
}

// New returns a store. It does not wait for Postgres or Redis.
//
//go:noinline
func New(ctx context.Context, c Config) (Store, error) {
	if c.DatabaseURL == "" {
		return nil, errors.New("DATABASE_URL is not set")
	}
	config, err := pgxpool.ParseConfig(c.DatabaseURL)
	if err != nil {
		return nil, errors.New("DATABASE_URL cannot be read") // the error may quote the password
	}
	config.MaxConns = 4 // of the tenant's 10: two releases overlap during a deploy
	s := &store{prefix: c.RedisPrefix}
	if c.RedisURL != "" {
		options, err := redis.ParseURL(c.RedisURL)
		if err != nil {
			return nil, errors.New("REDIS_URL cannot be read")
		}
		options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		s.cache = redis.NewClient(options)
	}
	if s.db, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	return s, nil
}

func (s *store) Ping(ctx context.Context) error {
	if err := s.db.Ping(ctx); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	if s.cache == nil {
		return nil
	}
	if err := s.cache.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

func (s *store) Add(ctx context.Context, author, message string) error {
	_, err := s.db.Exec(ctx, "INSERT INTO entries (author, message) VALUES ($1, $2)", author, message)
	return err
}

func (s *store) Latest(ctx context.Context, limit int) ([]Entry, error) {
	rows, err := s.db.Query(ctx, "SELECT id, author, message, created_at FROM entries ORDER BY id DESC LIMIT $1", limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
}

func (s *store) Visit(ctx context.Context) (int64, error) {
	if s.cache == nil {
		return 0, nil
	}
	return s.cache.Incr(ctx, s.prefix+"visits").Result()
}

func (s *store) Close() {
	s.db.Close()
	if s.cache != nil {
		_ = s.cache.Close() // the process ends
	}
}
