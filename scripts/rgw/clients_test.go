package rgw

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestClients: what readers use today reads a bucket whose requesters pay if it is
// told to offer that, and no other way.
func TestClients(t *testing.T) {
	g := Start(t)
	bucket := g.Bucket(t)
	bucket.Allow(t, Principal(Acct2), "s3:GetObject", "s3:ListBucket")
	LetRequestersPay(t, bucket)
	large := make([]byte, 20<<20) // more than they read in one piece
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	want := map[string][]byte{"small": []byte("small"), "sub/large": large, "sub/empty": nil}
	size := int64(0)
	for path, body := range want {
		bucket.Put(t, "version/full/"+path, body)
		size += int64(len(body))
	}
	reader := As(Acct2, bucket)
	from := bucket.Bucket + "/version/full/"

	bill := g.Bill(t, bucket)
	for _, client := range []struct {
		name  string
		run   func(t testing.TB, args ...string) (string, error)
		args  []string
		agree []string
	}{
		{"rclone", reader.Rclone, []string{"copy", "--retries", "1", ":s3:" + from}, []string{"--s3-requester-pays"}},
		{"aws", reader.AWS, []string{"s3", "cp", "--no-progress", "--recursive", "s3://" + from}, []string{"--request-payer", "requester"}},
		{"s3cmd", reader.S3cmd, []string{"sync", "s3://" + from}, []string{"--requester-pays"}},
	} {
		t.Run(client.name, func(t *testing.T) {
			to := t.TempDir() + "/"
			if output, err := client.run(t, append(client.args, to)...); err == nil {
				t.Errorf("it reads without an offer to pay: %s", output)
			}
			if _, err := client.run(t, append(append(client.args, to), client.agree...)...); err != nil {
				t.Fatal(err)
			}
			for path, body := range want {
				if got, err := os.ReadFile(filepath.Join(to, path)); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes, %v", path, len(got), err)
				}
			}
			earlier := bill
			bill = g.Bill(t, bucket)
			if paid := bill.Since(earlier)[Acct2]["get_obj"]; paid.SentBytes != size {
				t.Errorf("the reader pays for %+v, want %d bytes", paid, size)
			}
		})
	}
}
