package aws_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/gitopsd/gitopsd/internal/platform/aws"
)

// TestDeadTask: who is in a container of one of the families lives, and so may who is
// about to have one.
func TestDeadTask(t *testing.T) {
	t.Parallel()
	containers := map[string]string{"pulumi": "aaaaaaaaaaaa0001", "daemon": "dddddddddddd0001", "starting": ""}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Family string   `json:"family"`
			Tasks  []string `json:"tasks"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out := map[string]any{"taskArns": []string{in.Family}}
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeTasks") {
			out = map[string]any{"tasks": []any{map[string]any{"containers": []any{map[string]any{"runtimeId": containers[in.Tasks[0]]}}}}}
		}
		b, _ := json.Marshal(out)
		_, _ = w.Write(b)
	}))
	t.Cleanup(server.Close)
	config := awssdk.Config{
		Region: "eu-west-1", BaseEndpoint: awssdk.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}
	for _, c := range []struct {
		host     string
		families []string
		dead     bool
	}{
		{"aaaaaaaaaaaa", []string{"pulumi", "daemon"}, false},
		{"dddddddddddd", []string{"pulumi", "daemon"}, false},
		{"cccccccccccc", []string{"pulumi", "daemon"}, true},
		{"cccccccccccc", []string{"pulumi", "starting"}, false},
		{"a-machine-of-ours", []string{"pulumi"}, false},
	} {
		dead, err := aws.DeadTask(config, "cell", c.families...)(t.Context(), aws.LockOwner{Host: c.host})
		if err != nil || dead != c.dead {
			t.Errorf("%s among %q: dead %t (%v), want %t", c.host, c.families, dead, err, c.dead)
		}
	}
}
