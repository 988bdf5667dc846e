package aws

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/qsync/qsync/scripts/require"
)

const template = "qsync.yaml"

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLint: the linter takes the template, and none that is spoilt.
func TestLint(t *testing.T) {
	good, err := os.ReadFile(template)
	check(t, err)
	args := []string{"../cfnlint/check.js", require.CFNLint(t), template}
	wanted := map[string]string{} // file → what is said of it
	for old, c := range map[string]struct{ new, says string }{
		"ViewerProtocolPolicy:":     {"ViewerProtocol:", "ViewerProtocol is not a valid property of AWS::CloudFront::Distribution"},
		"SigningBehavior: always":   {"", "Required property SigningBehavior missing"},
		"MinTTL: 86400":             {"MinTTL: a day", "> MinTTL"},
		"!Ref ImmutableCachePolicy": {"!Ref Immutable", "Immutable"},
	} {
		file := filepath.Join(t.TempDir(), "spoilt.yaml")
		check(t, os.WriteFile(file, []byte(strings.Replace(string(good), old, c.new, 1)), 0o600))
		args, wanted[file] = append(args, file), c.says
	}
	out, err := exec.CommandContext(t.Context(), require.Tool(t, "node"), args...).CombinedOutput()
	if err == nil {
		t.Error("the linter takes everything")
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, template+":") {
			t.Error(line)
		}
	}
	for file, says := range wanted {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(file) + `: .*` + regexp.QuoteMeta(says)).Match(out) {
			t.Errorf("%s: the linter does not say %q:\n%s", file, says, out)
		}
	}
}

// stand is what the template's function finds at Amazon: a client that notes what it
// is told or fails, and the module that answers CloudFormation.
const stand = `
import json, sys, types
calls, answers = [], []
fails = json.loads(sys.argv[2])
class Client:
    def put_bucket_request_payment(self, **wanted):
        calls.append(wanted)
        if fails:
            raise RuntimeError("AccessDenied")
boto3 = types.ModuleType("boto3")
boto3.client = lambda name: Client() if name == "s3" else None
cfnresponse = types.ModuleType("cfnresponse")
cfnresponse.SUCCESS, cfnresponse.FAILED = "SUCCESS", "FAILED"
def send(event, context, status, data, physicalResourceId=None, noEcho=False, reason=None):
    answers.append([status, physicalResourceId, reason])
cfnresponse.send = send
sys.modules["boto3"], sys.modules["cfnresponse"] = boto3, cfnresponse
scope = {}
exec(sys.stdin.read(), scope)
scope["handler"](json.loads(sys.argv[1]), None)
print(json.dumps([calls, answers]))
`

// TestRequestPaymentFunction runs the function that CloudFormation has need of.
func TestRequestPaymentFunction(t *testing.T) {
	text, err := os.ReadFile(template)
	check(t, err)
	var parsed struct {
		Resources map[string]struct {
			Properties struct {
				Code struct {
					ZipFile string `yaml:"ZipFile"`
				} `yaml:"Code"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	check(t, yaml.Unmarshal(text, &parsed))
	code := parsed.Resources["RequestPaymentFunction"].Properties.Code.ZipFile
	for _, c := range []struct{ request, fails, want string }{
		{"Create", "false", `[[{"Bucket": "polka-raw", "RequestPaymentConfiguration": {"Payer": "Requester"}}], [["SUCCESS", "request-payment", null]]]`},
		{"Update", "false", `[[{"Bucket": "polka-raw", "RequestPaymentConfiguration": {"Payer": "Requester"}}], [["SUCCESS", "request-payment", null]]]`},
		{"Create", "true", `[[{"Bucket": "polka-raw", "RequestPaymentConfiguration": {"Payer": "Requester"}}], [["FAILED", "request-payment", "AccessDenied"]]]`},
		{"Delete", "false", `[[], [["SUCCESS", "request-payment", null]]]`},
	} {
		event, err := json.Marshal(map[string]any{"RequestType": c.request, "ResourceProperties": map[string]string{"Bucket": "polka-raw", "Payer": "Requester"}})
		check(t, err)
		cmd := exec.CommandContext(t.Context(), require.Tool(t, "python3"), "-c", stand, string(event), c.fails)
		cmd.Stdin = strings.NewReader(code)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s, fails %s: %s, %v\n%s", c.request, c.fails, got, err, stderr.String())
		}
	}
}
