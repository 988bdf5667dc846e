package source

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// refusals is a transport that reads the body of an answer which is no success before
// it passes the answer on: so much of it, and for so long, as is of use to whoever
// explains it. A server that says no and then nothing more would hold up a client
// that reads on, and so would one that never ends.
type refusals struct {
	next http.RoundTripper
	wait time.Duration
}

const (
	// maxRefusal is more than CloudFront or a store says when it refuses.
	maxRefusal  = 16 << 10
	refusalTime = 5 * time.Second
)

func (t *refusals) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil || resp.StatusCode/100 == 2 {
		return resp, err
	}
	late := time.AfterFunc(t.wait, func() { _ = resp.Body.Close() }) // which ends the reading
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))     // what has come of it serves
	late.Stop()
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}
