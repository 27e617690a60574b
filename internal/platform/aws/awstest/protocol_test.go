package awstest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
)

// What the SDK's types have no place for is refused, in each protocol.
func TestAnUnknownFieldIsRefused(t *testing.T) {
	t.Parallel()
	s := awstest.New(t, "")
	s.PlayLogs()
	s.PlayCloudFront()
	s.PlayElastiCache("users", nil, 0)
	for _, c := range []struct {
		service, method, path, target, body, want string
	}{
		{"logs", "POST", "/", "Logs_20140328.CreateLogGroup", `{"logGroupName":"/a"}`, ""},
		{"logs", "POST", "/", "Logs_20140328.CreateLogGroup", `{"logGroupName":"/b","retentionDays":3}`, "retentionDays"},
		{"logs", "POST", "/", "Logs_20140328.CreateLogAnomalyDetector", `{}`, "UnknownOperationException"},
		{"cloudfront", "POST", "/2020-05-31/connection-group", "", `<CreateConnectionGroupRequest><Name>a</Name><Enabled>true</Enabled></CreateConnectionGroupRequest>`, ""},
		{"cloudfront", "POST", "/2020-05-31/connection-group", "", `<CreateConnectionGroupRequest><Names>a</Names></CreateConnectionGroupRequest>`, "Names"},
		{"cloudfront-keyvaluestore", "PUT", "/key-value-stores/arn/keys/a", "", `{"Valeu":"x"}`, "Valeu"},
		{"elasticache", "POST", "/", "", "Action=DescribeUsers&UserId=a&Usr=b", "Usr"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-west-1/"+c.service+"/aws4_request, SignedHeaders=host, Signature=00")
		req.Header.Set("X-Amz-Target", c.target)
		if c.service == "elasticache" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if refused := res.StatusCode >= http.StatusBadRequest; err != nil || refused != (c.want != "") || !strings.Contains(string(b), c.want) {
			t.Errorf("%s %s %s: %d %s, %v, want %q", c.service, c.target, c.body, res.StatusCode, b, err, c.want)
		}
	}
}
