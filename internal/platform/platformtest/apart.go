package platformtest

import (
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

func mapsKeys(m map[string]string) iter.Seq[string] { return maps.Keys(m) }

// apart makes two tenants at the same time and has each try the other's things
// by its own means.
func apart(t *testing.T, s *suite) {
	names := []string{"left", "right"}
	s.both(t, names, func(name string) []step { return s.provision(s.config(name)) })
	for _, name := range names {
		s.publish(t, name, "of-"+name, nil)
		s.sql(t, name, "CREATE TABLE private (v text)")
		s.sql(t, name, "INSERT INTO private VALUES ('of "+name+"')")
		s.redis(t, name, "SET", name+":secret", "of "+name)
	}
	s.foreignDatabase(t, "left", "right")
	s.foreignKeys(t, "left", "right")
	s.foreignRoutes(t, "left", "right")
	for _, name := range names {
		if got := s.sql(t, name, "SELECT v FROM private"); !slices.Equal(got, []string{"of " + name}) {
			t.Errorf("%s's rows: %v", name, got)
		}
		if got := s.redis(t, name, "GET", name+":secret"); got != "of "+name {
			t.Errorf("%s's key: %q", name, got)
		}
	}
	run(t, 1, s.deprovision("left"))
	s.absent(t, "left")
	s.allPresent(t, "right")
	s.sql(t, "right", "SELECT v FROM private")
	run(t, 1, s.deprovision("right"))
	s.absent(t, "right")
}

// both does the steps of all tenants at the same time.
func (s *suite) both(t *testing.T, names []string, steps func(string) []step) {
	t.Helper()
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() {
			for _, st := range steps(name) {
				if err := st.do(t.Context()); err != nil {
					t.Errorf("%s of %s: %v", st.name, name, err)
				}
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// foreignDatabase tries every database but the own one, with the own credentials.
func (s *suite) foreignDatabase(t *testing.T, name, other string) {
	t.Helper()
	own, err := s.p.Database(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s.p.Database(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	const denied = "42501" // insufficient_privilege
	at, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	database := at.Path
	for _, d := range s.sql(t, name, "SELECT datname FROM pg_database WHERE datallowconn") {
		if at.Path = "/" + d; at.Path == database {
			continue
		}
		s.refused(t, name, "/sql", url.Values{"url": {at.String()}, "q": {"SELECT 1"}}, denied)
	}
	their, err := url.Parse(theirs)
	if err != nil {
		t.Fatal(err)
	}
	their.User = at.User // the other's database, as oneself
	s.refused(t, name, "/sql", url.Values{"url": {their.String()}, "q": {"SELECT v FROM private"}}, denied)
	for _, q := range []string{
		"SET ROLE " + quoted(their.Path[1:]),
		"SELECT * FROM pg_authid",
		"CREATE ROLE intruder", "CREATE DATABASE intruder",
		"SELECT pg_read_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'true'",
		"DROP DATABASE " + quoted(their.Path[1:]),
		"ALTER ROLE " + quoted(their.Path[1:]) + " PASSWORD 'x'",
	} {
		s.refused(t, name, "/sql", url.Values{"q": {q}}, denied)
	}
}

func quoted(identifier string) string { return `"` + identifier + `"` }

// foreignKeys tries the other's keys and channels, and what tells of them.
func (s *suite) foreignKeys(t *testing.T, name, other string) {
	t.Helper()
	key := other + ":secret"
	for _, args := range [][]string{
		{"GET", key},
		{"SET", key, "x"},
		{"DEL", key},
		{"EXISTS", key},
		{"TYPE", key},
		{"COPY", key, name + ":stolen"},
		{"RENAME", key, name + ":stolen"},
		{"DUMP", key},
		{"OBJECT", "ENCODING", key},
		{"MEMORY", "USAGE", key},
		{"WATCH", key},
		{"EVAL", "return redis.call('GET', KEYS[1])", "1", key},
		{"EVAL", "return redis.call('GET', '" + key + "')", "0"},
		{"EVAL", "return redis.call('SCAN', '0')", "0"},
		{"SORT", name + ":list", "BY", "nosort", "GET", other + ":*"},
		{"SORT_RO", name + ":list", "BY", "nosort", "GET", other + ":*"},
		{"KEYS", "*"},
		{"SCAN", "0"},
		{"RANDOMKEY"},
		{"DBSIZE"},
		{"INFO"},
		{"MONITOR"},
		{"CONFIG", "GET", "*"},
		{"CLIENT", "LIST"},
		{"CLIENT", "KILL", "TYPE", "normal"},
		{"CLIENT", "TRACKING", "ON", "BCAST"},
		{"PUBSUB", "CHANNELS"},
		{"PUBSUB", "NUMSUB", other + ":news"},
		{"PUBSUB", "SHARDCHANNELS"},
		{"PUBLISH", other + ":news", "x"},
		{"SPUBLISH", other + ":news", "x"},
		{"SUBSCRIBE", other + ":news"},
		{"PSUBSCRIBE", "*"},
		{"SUBSCRIBE", "__keyspace@0__:" + key},
		{"FLUSHALL"},
		{"FLUSHDB"},
		{"SCRIPT", "FLUSH"},
		{"SCRIPT", "KILL"},
		{"SCRIPT", "DEBUG", "SYNC"},
		{"FUNCTION", "LIST"},
		{"FUNCTION", "FLUSH"},
		{"FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)"},
		{"SELECT", "1"},
		{"MOVE", name + ":k", "1"},
		{"SWAPDB", "0", "1"},
		{"MEMORY", "STATS"},
		{"MEMORY", "PURGE"},
		{"CLUSTER", "NODES"},
		{"ACL", "LIST"},
		{"ACL", "SETUSER", "t_" + name, "~*"},
		{"SHUTDOWN"},
		{"DEBUG", "SLEEP", "0"},
		{"SAVE"},
		{"REPLICAOF", "NO", "ONE"},
	} {
		s.refused(t, name, "/redis", url.Values{"arg": args}, "NOPERM", "The user executing the script can't", "DB index", "command not allowed")
	}
	for _, args := range [][]string{ // what must work, so that the refusals mean something
		{"SET", name + ":k", "1"},
		{"EVAL", "return redis.call('INCR', KEYS[1])", "1", name + ":k"},
		{"PUBLISH", name + ":news", "x"},
		{"MEMORY", "USAGE", name + ":k"},
	} {
		s.redis(t, name, args...)
	}
}

// foreignRoutes tries to be taken for the other tenant at the edge.
func (s *suite) foreignRoutes(t *testing.T, name, other string) {
	t.Helper()
	if got := s.environment(t, name)["TENANT"]; got != name {
		t.Errorf("host of %s leads to %s", name, got)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.env.Edge+"/env", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = name + "." + s.env.Domain
	for _, header := range []string{"X-Tenant", "X-Gitopsd-Tenant"} {
		req.Header.Set(header, other)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, i := range s.instances(t, other, 1) { // past the edge
		direct, err := http.Get("http://" + i.Addr + "/env")
		if err != nil {
			continue // not to be reached at all
		}
		direct.Body.Close()
		if direct.StatusCode == http.StatusOK {
			t.Errorf("an instance of %s answers whoever asks it at %s", other, i.Addr)
		}
	}
	if status, body, err := s.ask(t.Context(), http.MethodGet, other+"x", "/env", nil); err != nil || status != http.StatusNotFound {
		t.Errorf("an unknown host: status %d: %s (%v)", status, strings.TrimSpace(body), err)
	}
}
