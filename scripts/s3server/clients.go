package s3server

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// Rclone runs rclone, to which the bucket is :s3:BUCKET, and returns what it says.
func (s *Server) Rclone(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	return run(t, []string{
		"RCLONE_CONFIG=", "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENDPOINT=" + s.Endpoint, "RCLONE_S3_REGION=" + s.Region,
		"RCLONE_S3_ACCESS_KEY_ID=" + s.AccessKey, "RCLONE_S3_SECRET_ACCESS_KEY=" + s.SecretKey,
	}, "rclone", args...)
}

// AWS runs Amazon's own program.
func (s *Server) AWS(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	return run(t, []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_REGION=" + s.Region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
	}, "aws", append([]string{"--endpoint-url", s.Endpoint}, args...)...)
}

// S3cmd runs s3cmd.
func (s *Server) S3cmd(t testing.TB, args ...string) (output string, err error) {
	t.Helper()
	host := strings.TrimPrefix(s.Endpoint, "http://")
	config := filepath.Join(t.TempDir(), "s3cfg")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nbucket_location = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n",
		s.AccessKey, s.SecretKey, s.Region, host, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, nil, "s3cmd", append([]string{"--config", config, "--no-progress"}, args...)...)
}

// run runs a client with nothing of this machine's configuration.
func run(t testing.TB, environment []string, program string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), require.Tool(t, program), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LANG=C.UTF-8"}, environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return string(out), err
}
