package cloudfront

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// readBodies sends requests whose bodies can be read and nothing else.
//
// The SDK closes a body as soon as the answer begins, and what it then answers to
// WriteTo is io.EOF. net/http, which looks whether more follows than was announced,
// takes that for a failure and closes the connection, with the answer on it. From
// Read the same io.EOF says what it should.
type readBodies struct{ aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (c readBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}
