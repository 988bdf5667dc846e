package rgw

import (
	"encoding/json"
	"os/exec"
	"reflect"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/s3server"
)

// Bill is who pays for what of a bucket, by account and by kind of request:
// get_obj (HEAD is one too), list_bucket, put_obj and so on. Who is nobody has the
// account anonymous.
type Bill map[string]map[string]Charge

// Charge is what an account pays for.
type Charge struct {
	Requests  int   // that were refused, too
	Succeeded int   // of the requests
	SentBytes int64 // to the requester, what a refusal says included
}

// settling is how long a bill must have been the same to be final: a request is
// booked a moment after it was answered.
const settling = 200 * time.Millisecond

// Bill returns the bill of a bucket so far.
func (g *Gateway) Bill(t testing.TB, bucket *s3server.Server) Bill {
	t.Helper()
	for last := g.bill(t, bucket.Bucket); ; {
		time.Sleep(settling)
		now := g.bill(t, bucket.Bucket)
		if reflect.DeepEqual(now, last) {
			return now
		}
		last = now
	}
}

// Since is what was added to a bill.
func (b Bill) Since(earlier Bill) Bill {
	added := Bill{}
	for account, charges := range b {
		for kind, now := range charges {
			was := earlier[account][kind]
			if now == was {
				continue
			}
			if added[account] == nil {
				added[account] = map[string]Charge{}
			}
			added[account][kind] = Charge{now.Requests - was.Requests, now.Succeeded - was.Succeeded, now.SentBytes - was.SentBytes}
		}
	}
	return added
}

func (g *Gateway) bill(t testing.TB, bucket string) Bill {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "radosgw-admin", "-c", g.config, "usage", "show", "--show-log-sum=false").Output()
	if err != nil {
		t.Fatalf("radosgw-admin usage show: %v", err)
	}
	var shown struct {
		Entries []struct {
			User    string // the payer, where that is another one
			Buckets []struct {
				Bucket     string
				Categories []struct {
					Category  string
					Requests  int   `json:"ops"`
					Succeeded int   `json:"successful_ops"`
					SentBytes int64 `json:"bytes_sent"`
				}
			}
		}
	}
	if err := json.Unmarshal(out, &shown); err != nil {
		t.Fatalf("radosgw-admin usage show: %v\n%s", err, out)
	}
	bill := Bill{}
	for _, entry := range shown.Entries {
		for _, b := range entry.Buckets { // one for each hour
			if b.Bucket != bucket {
				continue
			}
			charges := bill[entry.User]
			if charges == nil {
				charges = map[string]Charge{}
				bill[entry.User] = charges
			}
			for _, c := range b.Categories {
				sum := charges[c.Category]
				charges[c.Category] = Charge{sum.Requests + c.Requests, sum.Succeeded + c.Succeeded, sum.SentBytes + c.SentBytes}
			}
		}
	}
	return bill
}
