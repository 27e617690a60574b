package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
)

// onAWS is a world whose tenants live in a played cell of AWS: the control plane is the
// real program, and so are Pulumi, the edge and the agents.
type onAWS struct {
	*world
	cell        *awstest.Cell
	provider    *provider.Provider
	outputs     infra.Outputs // of the cell
	environment []string      // of all that is the control plane's
}

// made are the modules whose resources Pulumi really makes in the cell.
var made = []string{"s3", "iam", "cloudwatch", "efs", "ecs", "appautoscaling", "servicediscovery", "route53", "cloudfront", "acm"}

func newOnAWS(t *testing.T) *onAWS {
	t.Helper()
	if os.Getenv("GITOPSD_TEST_AWS") == "" {
		t.Skip("takes minutes: make test-aws")
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	w := &onAWS{world: newWorld(t), cell: awstest.NewCell(t)}
	w.domain = awstest.Domain
	w.edge = w.cell.Env(t, func(context.Context, string, string, string) error { return nil }).Edge
	w.provider = provider.Start(t, provider.Config{Account: awstest.Account, Region: awstest.Region, AWS: w.cell.AWS(), Services: made})

	w.outputs = w.cell.Outputs()
	out := &w.outputs
	out.Shared.CacheControlUser = "gitopsd-a-control"
	// Who logs in by IAM has a token in place of a password: what it is signed with is
	// nothing that a Redis could check.
	w.must(w.cell.Redis.Do(t.Context(), "ACL", "SETUSER", out.Shared.CacheControlUser, "on", "nopass", "~*", "&*", "+@all", "-@admin", "-@dangerous", "+restore").Err())
	out.Shared.KMSKey = w.key()
	w.environment = append(os.Environ(),
		"PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "AWS_ENDPOINT_URL="+w.cell.URL, "AWS_REGION="+awstest.Region,
		"HTTP_PROXY="+w.cell.URL, // key-value stores are asked at <account>.<endpoint>, which is no host here
		"AWS_ACCESS_KEY_ID=AKIDTEST", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true")
	for name, value := range w.provider.Env() {
		w.environment = append(w.environment, name+"="+value)
	}
	return w
}

// daemon has the control plane be a daemon whose machines are run by an engine.
func (w *onAWS) daemon(engine string) {
	w.t.Helper()
	text, err := json.Marshal(w.outputs)
	w.must(err)
	root := filepath.Dir(w.data)
	write := func(name, text string) string {
		file := filepath.Join(root, name)
		w.must(os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	config := write("gitopsd.yaml", strings.Join([]string{
		"repo: " + w.repo, "data: " + w.data, "consoleAddr: " + w.console, "buildCache: " + buildCache, "platform: aws", "engine: " + engine, "aws:",
		"  configurationFile: " + write("cell.json", string(text)),
		"  originSecretFile: " + write("origin-secret", awstest.OriginSecret),
		"  volumes: " + w.cell.Volumes(),
	}, "\n"))
	w.command = func() *exec.Cmd {
		c := exec.Command(filepath.Join(binDir, "gitopsd"), "run", "-c", config)
		c.Env = w.environment
		return c
	}
}

// key makes the cell's key, by which Pulumi encrypts what is secret in its state.
func (w *onAWS) key() string {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.cell.URL, strings.NewReader("{}"))
	w.must(err)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "TrentService.CreateKey")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/"+awstest.Region+"/kms/aws4_request, SignedHeaders=host, Signature=0")
	res, err := http.DefaultClient.Do(r)
	w.must(err)
	defer res.Body.Close()
	var key struct{ KeyMetadata struct{ Arn string } }
	w.must(json.NewDecoder(res.Body).Decode(&key))
	return key.KeyMetadata.Arn
}

// serves waits until a tenant answers with a text.
func (w *onAWS) serves(tenant, path, want string) {
	w.t.Helper()
	w.eventually(30*time.Second, tenant+" serves "+want, func() error {
		r, text, err := w.request(http.MethodGet, tenant, path, "")
		if err != nil || r.StatusCode != http.StatusOK || text != want {
			return fmt.Errorf("it answers %v %q: %w", r, text, err)
		}
		return nil
	})
}

// TestOnAWS: commits become running apps in a cell of AWS, and what is deleted is gone.
func TestOnAWS(t *testing.T) {
	w := newOnAWS(t)
	w.daemon("dbos")
	for _, app := range []string{"one", "two"} {
		w.probe("apps/" + app)
		w.tenant(app, "apps/"+app)
	}
	first := w.commit("Add one and two")
	w.start()
	began := time.Now()
	w.done(first)
	t.Logf("two tenants provisioned and deployed: %s", time.Since(began).Round(time.Millisecond))
	w.serves("one", "/version", "v1")
	for _, tenant := range []string{"one", "two"} {
		w.post(tenant, "/row", "row of "+tenant)
		w.post(tenant, "/key", "key of "+tenant)
	}

	// An edit of the app touches no infrastructure, and drops no request.
	before := w.provider.Counts()
	l := w.startLoad(4, "one")
	w.version("apps/one", "v2")
	began = time.Now()
	edit := w.commit("Edit the app of one")
	w.done(edit)
	t.Logf("an edit served: %s", time.Since(began).Round(time.Millisecond))
	w.serves("one", "/version", "v2")
	l.stop(t)
	if after := w.provider.Counts(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("an edit of the app had Pulumi do something: %v, before %v", after, before)
	}

	// Killed in the middle of a deprovision, and of an edit.
	w.version("apps/one", "v3")
	w.remove("tenants/two.yaml")
	gone := w.commit("Edit one and delete two")
	w.eventually(time.Minute, "two is on its way out", func() error {
		if out, _, _ := w.cli("status", gone); !strings.Contains(out, "two") {
			return fmt.Errorf("the status says %s", out)
		}
		return nil
	})
	w.kill()
	w.serves("one", "/rows", "row of one") // with no control plane
	w.start()
	w.done(gone)
	w.serves("one", "/version", "v3")
	w.equal("rows of one", w.get("one", "/rows"), "row of one")
	w.equal("key of one", w.get("one", "/key"), "key of one")
	w.receipt("two")
	left, err := w.cell.Left(t.Context(), "two")
	w.must(err)
	if len(left) > 0 {
		t.Errorf("left of two: %v", left)
	}
	for _, commit := range []string{first, edit, gone} {
		w.oneTerminalStatus(commit)
	}
}

// receipt checks that a tenant's receipt lists all it had, and that all of it is absent.
func (w *onAWS) receipt(tenant string) {
	w.t.Helper()
	out, errs, code := w.cli("get", "receipts", "-o", "json")
	if code != 0 {
		w.t.Fatalf("get receipts: %s", errs)
	}
	var receipts []struct {
		Tenant    string
		Resources []struct {
			Kind, Name string
			Present    bool
		}
	}
	w.must(json.Unmarshal([]byte(out), &receipts))
	kinds := map[string]bool{}
	for _, r := range receipts {
		for _, x := range r.Resources {
			if kinds[x.Kind] = true; x.Present && r.Tenant == tenant {
				w.t.Errorf("%s %s is in the receipt as present", x.Kind, x.Name)
			}
		}
	}
	if len(receipts) != 1 || receipts[0].Tenant != tenant || len(kinds) < 10 {
		w.t.Errorf("the receipts are %+v", receipts)
	}
}
