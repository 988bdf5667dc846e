package chain

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	callTimeout   = 10 * time.Second
	maxAnswerSize = 1 << 20 // bytes
)

// Client asks a node over JSON-RPC 2.0. It keeps nothing between two calls and is
// safe for concurrent use.
type Client struct {
	URL      string        // http or https; a user and password in it are sent, and never shown
	Protocol Protocol      // as the chain's preset has it; empty asks the node
	Timeout  time.Duration // of each call; 0 is 10 s

	calls atomic.Int64
}

// A node that was stopped for the cut has closed its connections, so none is
// kept. A redirect is an answer that no node gives.
var httpClient = &http.Client{
	Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

var (
	// errNull is the answer that nodes give for what they do not have.
	errNull       = errors.New("the answer is null")
	errForm       = errors.New("the answer is not of the expected form")
	errIncomplete = errors.New("the answer lacks the number or the hash of the block")
)

// refusal is an error that the node itself answered with.
type refusal struct {
	Code    int64 `json:"code"`
	Message text  `json:"message"`
}

func (r *refusal) Error() string {
	if r.Code == 0 {
		return fmt.Sprintf("the node says %q", string(r.Message))
	}
	return fmt.Sprintf("the node says %q (code %d)", string(r.Message), r.Code)
}

const codeMethodNotFound = -32601

// isMissing reports whether the node does not know the method. Some send no code.
func isMissing(err error) bool {
	var r *refusal
	return errors.As(err, &r) &&
		(r.Code == codeMethodNotFound || r.Code == 0 && strings.Contains(strings.ToLower(string(r.Message)), "method not found"))
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// call asks the node and decodes what it answers into result.
func (c *Client) call(ctx context.Context, result any, method string, params ...any) error {
	timeout := cmp.Or(c.Timeout, callTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	if err := c.post(ctx, result, method, params); err != nil {
		return c.failed(method, err)
	}
	return nil
}

// failed says what was asked of whom. The path of a URL is left out with the
// password: hosted nodes have a key there.
func (c *Client) failed(method string, err error) error {
	u, parseErr := url.Parse(c.URL)
	if parseErr != nil {
		return fmt.Errorf("ask the node for %s: its URL cannot be parsed", method) // the error would repeat it
	}
	return fmt.Errorf("ask %s://%s for %s: %w", u.Scheme, u.Host, method, err)
}

func (c *Client) post(ctx context.Context, result any, method string, params []any) error {
	id := c.calls.Add(1)
	if params == nil {
		params = []any{} // some nodes want the key
	}
	question, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(question))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := httpClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerSize+1))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case len(answer) > maxAnswerSize:
		return fmt.Errorf("the answer is longer than %d bytes", maxAnswerSize)
	}
	return decode(resp, answer, id, result)
}

// withoutURL takes the URL out of an error of net/http: it shows the user.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// decode reads the answer to question id. Nodes differ in the HTTP status that
// goes with an error, so the answer goes before it.
func decode(resp *http.Response, answer []byte, id int64, result any) error {
	var a struct {
		ID     *int64          `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *refusal        `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Result == nil && a.Error == nil {
		return notJSONRPC(resp, answer)
	}
	if a.Error != nil {
		return a.Error // with the id null where the question was not understood
	}
	if a.ID == nil || *a.ID != id {
		return errors.New("the answer is to another question: its id is not the one that was sent")
	}
	if bytes.Equal(a.Result, []byte("null")) {
		return errNull
	}
	if err := json.Unmarshal(a.Result, result); err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	return nil
}

func notJSONRPC(resp *http.Response, answer []byte) error {
	answer = bytes.TrimSpace(answer)
	what := "nothing"
	switch {
	case bytes.HasPrefix(answer, []byte("<")):
		what = "HTML"
	case len(answer) > 0:
		what = fmt.Sprintf("%.80q", answer)
	}
	return fmt.Errorf("the answer is not JSON-RPC but %s, with HTTP status %d: is the URL that of a node?", what, resp.StatusCode)
}
