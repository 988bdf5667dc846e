package rgw

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/scripts/s3server"
)

// Bucket makes a bucket. It returns it as its owner sees it.
func (g *Gateway) Bucket(t testing.TB) *s3server.Server {
	t.Helper()
	s := As(Owner, &s3server.Server{Endpoint: g.endpoint, Region: "us-east-1", Bucket: strings.ToLower(rand.Text())})
	if err := s.Client(t).MakeBucket(t.Context(), s.Bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

// As is a bucket as another account sees it.
func As(account string, bucket *s3server.Server) *s3server.Server {
	s := *bucket
	s.AccessKey, s.SecretKey = account, account+"-secret"
	return &s
}

// Principal is how a policy names an account.
func Principal(account string) string { return "arn:aws:iam:::user/" + account }

// LetRequestersPay makes a bucket's requesters pay from now on.
func LetRequestersPay(t testing.TB, bucket *s3server.Server) {
	t.Helper()
	u, err := bucket.Client(t).Presign(t.Context(), http.MethodPut, bucket.Bucket, "", time.Minute, url.Values{"requestPayment": {""}})
	if err != nil {
		t.Fatal(err)
	}
	const setting = `<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>Requester</Payer></RequestPaymentConfiguration>`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u.String(), strings.NewReader(setting))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("the gateway answered %s", resp.Status)
		}
	}
	if err != nil {
		t.Fatalf("let requesters pay: %v", err)
	}
}
