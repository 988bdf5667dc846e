package rgw

import (
	"bytes"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"
)

// TestRequesterPays is what other tests rely on: the gateway refuses who does not
// offer to pay, and books what is read on who does.
func TestRequesterPays(t *testing.T) {
	g := Start(t)
	bucket := g.Bucket(t)
	bucket.Allow(t, Principal(Acct2), "s3:GetObject")
	LetRequestersPay(t, bucket)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	bucket.Put(t, "a", want)
	for _, c := range []struct {
		account       string
		offers, works bool
	}{
		{Owner, false, true}, {Acct2, false, false}, {Acct2, true, true}, {Acct3, true, false},
	} {
		var options minio.GetObjectOptions
		if c.offers {
			options.Set("X-Amz-Request-Payer", "requester")
		}
		seen := As(c.account, bucket)
		body, _, _, err := seen.Client(t).GetObject(t.Context(), seen.Bucket, "a", options)
		if works := err == nil; works != c.works {
			t.Fatalf("%+v: %v", c, err)
		}
		if err == nil {
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%+v: %d bytes, %v", c, len(got), err)
			}
		}
	}
	bill := g.Bill(t, bucket)
	for account, want := range map[string]Charge{
		Owner: {1, 1, 16_000}, Acct2: {2, 1, 16_000}, Acct3: {1, 0, 0},
	} {
		got := bill[account]["get_obj"]
		got.SentBytes -= got.SentBytes % 1000 // what refusals say
		if got != want {
			t.Errorf("%s pays for %+v, want %+v", account, got, want)
		}
	}
}
