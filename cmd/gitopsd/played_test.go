package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	tenantinfra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/postgres/postgrestest"
)

// playedAWS plays what the control plane itself asks of AWS, without the driver:
// secrets and state machines.
type playedAWS struct {
	URL string

	mu         gosync.Mutex
	secrets    map[string]string // by name or ARN
	executions map[string]string // status, by ARN
	inputs     map[string]string // by ARN
	starts     map[string]int    // that were executions, by ARN
}

func playAWS(t *testing.T) *playedAWS {
	t.Helper()
	p := &playedAWS{secrets: map[string]string{}, executions: map[string]string{}, inputs: map[string]string{}, starts: map[string]int{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// environment lets a process find this AWS.
func (p *playedAWS) environment() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + p.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

func (p *playedAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body) // what is missing of it is no JSON
	var values map[string]any
	_ = json.Unmarshal(raw, &values)
	in := map[string]string{}
	for k, v := range values {
		in[k] = fmt.Sprint(v)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	out, code := p.do(operation, in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": code, "message": operation + " of " + in["SecretId"] + in["executionArn"]}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (p *playedAWS) do(operation string, in map[string]string) (out map[string]any, code string) {
	switch operation {
	case "GetSecretValue":
		value, ok := p.secrets[in["SecretId"]]
		if !ok {
			return nil, "ResourceNotFoundException"
		}
		return map[string]any{"ARN": in["SecretId"], "Name": in["SecretId"], "SecretString": value, "VersionId": "1"}, ""
	case "StartExecution":
		arn := strings.Replace(in["stateMachineArn"], ":stateMachine:", ":execution:", 1) + ":" + in["name"]
		switch status, there := p.executions[arn]; {
		case there && (status != "RUNNING" || p.inputs[arn] != in["input"]):
			return nil, "ExecutionAlreadyExists"
		case !there:
			p.executions[arn], p.inputs[arn] = "RUNNING", in["input"]
			p.starts[arn]++
		}
		return map[string]any{"executionArn": arn, "startDate": time.Now().Unix()}, ""
	case "DescribeExecution":
		status, ok := p.executions[in["executionArn"]]
		if !ok {
			return nil, "ExecutionDoesNotExist"
		}
		return map[string]any{"executionArn": in["executionArn"], "status": status, "startDate": time.Now().Unix()}, ""
	}
	return nil, "UnknownOperationException"
}

// end ends every execution.
func (p *playedAWS) end(status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for arn := range p.executions {
		p.executions[arn] = status
	}
}

// started returns how often each execution was started.
func (p *playedAWS) started() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.starts)
}

// playedCell is the configuration of a cell whose database is a real Postgres.
func (p *playedAWS) cell(t *testing.T, server *postgrestest.Server, control string) infra.Outputs {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE ROLE gitopsd LOGIN CREATEDB CREATEROLE"); err != nil {
		t.Fatal(err)
	}
	o := infra.Outputs{
		Shared:   tenantinfra.Shared{Account: "123456789012", Region: "eu-west-1", Cell: "a", Domain: "apps.example"},
		Database: conn.Config().Host + ":5432", MasterSecret: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!cluster-1",
		Credentials: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gitopsd/a/credentials",
		Control:     control, Machines: map[string]string{},
	}
	for _, name := range []string{"provision", "deploy", "deprovision", "restore"} {
		o.Machines[name+"-v1"] = "arn:aws:states:eu-west-1:123456789012:stateMachine:gitopsd-a-" + name + "-v1"
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[o.MasterSecret] = `{"username":"gitopsd","password":"it is not asked for here"}`
	p.secrets[configurationARN] = string(b)
	return o
}

const configurationARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gitopsd/a/configuration-AbCdEf"

// playedLambda has a command as the process of a function: it is what the process asks
// for its invocations. Source: AWS, "Using the Lambda runtime API for custom runtimes".
type playedLambda struct {
	server  *httptest.Server
	next    chan []byte
	answers chan []byte
	failed  chan []byte
}

func playLambda(t *testing.T) *playedLambda {
	t.Helper()
	l := &playedLambda{next: make(chan []byte), answers: make(chan []byte), failed: make(chan []byte)}
	const base = "/2018-06-01/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case payload := <-l.next:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "one")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(5*time.Minute).UnixMilli()))
			_, _ = w.Write(payload)
		}
	})
	pass := func(to chan []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body) // what is missing of it is no JSON
			w.WriteHeader(http.StatusAccepted)
			to <- raw
		}
	}
	mux.HandleFunc("POST "+base+"one/response", pass(l.answers))
	mux.HandleFunc("POST "+base+"one/error", pass(l.failed))
	l.server = httptest.NewServer(mux)
	t.Cleanup(l.server.Close)
	return l
}

// invoke has the function answer an event.
func (l *playedLambda) invoke(t *testing.T, event string) (answer, failure []byte) {
	t.Helper()
	patience := time.After(time.Minute)
	select {
	case l.next <- []byte(event):
	case <-patience:
		t.Fatal("the function asks for nothing")
	}
	select {
	case answer = <-l.answers:
	case failure = <-l.failed:
	case <-patience:
		t.Fatal("the function does not answer")
	}
	return answer, failure
}

// logFile is a process's output, shown when the test fails.
func logFile(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if text, err := os.ReadFile(f.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return f
}
