package cloudfront

import (
	"io"
	"net/http"
	"strings"
	"testing"

	smithyhttp "github.com/aws/smithy-go/transport/http"
)

type doFunc func(*http.Request) (*http.Response, error)

func (f doFunc) Do(r *http.Request) (*http.Response, error) { return f(r) }

// TestBodyAfterAnswer: the SDK closes a body when the answer begins, and net/http
// looks afterwards whether it was at its end.
func TestBodyAfterAnswer(t *testing.T) {
	r, err := smithyhttp.NewStackRequest().(*smithyhttp.Request).SetStream(strings.NewReader("<a/>"))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 4
	sent := doFunc(func(r *http.Request) (*http.Response, error) {
		if text, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength)); string(text) != "<a/>" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		if err := r.Body.Close(); err != nil {
			t.Error(err)
		}
		if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil {
			t.Errorf("after it was closed: %d bytes, %v", n, err)
		}
		return &http.Response{}, nil
	})
	if _, err := (readBodies{sent}).Do(r.Build(t.Context())); err != nil {
		t.Error(err)
	}
}
