package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ipfs/go-cid"
)

// psa speaks the IPFS Pinning Service API 1.0:
// https://ipfs.github.io/pinning-services-api-spec/.
type psa struct {
	base   string
	client *http.Client
	auth   token
}

// What one request may take, and what its answer may have.
const (
	requestTime = 30 * time.Second
	maxBody     = 8 << 20
	pageLimit   = 100
	maxPages    = 1000
)

// The limits of the API.
const (
	maxOrigins   = 20
	maxDelegates = 20
	maxName      = 255
)

// pinStatus is what a service says of a pin.
type pinStatus struct {
	RequestID string            `json:"requestid"`
	Status    State             `json:"status"`
	Created   time.Time         `json:"created"`
	Pin       pinObject         `json:"pin"`
	Delegates []string          `json:"delegates"`
	Info      map[string]string `json:"info"`
}

// pinObject is what a service is asked to pin.
type pinObject struct {
	CID     string            `json:"cid"`
	Name    string            `json:"name,omitempty"`
	Origins []string          `json:"origins,omitempty"`
	Meta    map[string]string `json:"meta,omitempty"`
}

// everyState is said because a service lists only what is pinned otherwise.
const everyState = "queued,pinning,pinned,failed"

// serviceError is an answer that says no.
type serviceError struct {
	status int
	reason string
	wait   time.Duration // that the service asks for
}

func (e *serviceError) Error() string {
	text := fmt.Sprintf("the service answers %d %s", e.status, http.StatusText(e.status))
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

// status reports whether an error is an answer of that status.
func status(err error, code int) bool {
	answer, ok := errors.AsType[*serviceError](err)
	return ok && answer.status == code
}

// passes reports whether an error may be gone in a while.
func passes(err error) bool {
	answer, answered := errors.AsType[*serviceError](err)
	if !answered {
		return true // the connection broke
	}
	return answer.status >= 500 && answer.status != http.StatusNotImplemented ||
		answer.status == http.StatusTooManyRequests || answer.status == http.StatusRequestTimeout
}

// do sends a request once, and reads the answer into result.
func (a *psa) do(ctx context.Context, method, path string, body, result any) error {
	limited, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(limited, method, a.base+path, content)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if a.auth != "" {
		req.Header.Set("Authorization", "Bearer "+string(a.auth))
	}
	resp, err := a.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		err = a.read(resp, result)
	}
	switch failure := (*url.Error)(nil); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("the service has not answered within %s", requestTime)
	case errors.As(err, &failure):
		err = failure.Err // the URL around it says no more
	}
	if noHost := (*net.DNSError)(nil); errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &noHost) {
		return &adviceError{err, "correct the url of the service, or wait until it is there again"}
	}
	return err
}

func (a *psa) read(resp *http.Response, result any) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return a.refused(resp, text)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(text, result); err != nil {
		return &adviceError{fmt.Errorf("the service answers what is no JSON: %w", err), "correct the url of the service: it is the endpoint of its Pinning Service API"}
	}
	return nil
}

func (a *psa) refused(resp *http.Response, text []byte) error {
	e := &serviceError{status: resp.StatusCode, wait: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	var said struct {
		Error struct{ Reason, Details string }
	}
	if json.Unmarshal(text, &said) == nil {
		e.reason = a.auth.blot(strings.Trim(said.Error.Reason+": "+said.Error.Details, ": "))
	}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &adviceError{e, "the token_file of the service must hold a token that it has given out, and that has not expired"}
	case code == http.StatusPaymentRequired || code == http.StatusConflict || code == http.StatusInsufficientStorage:
		return &adviceError{e, "look at the account: its plan may have no room left"}
	case code/100 == 3:
		return &adviceError{e, "correct the url of the service: it has moved, and the token is sent to no other place"}
	}
	return e
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(0, seconds), 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// get asks for a pin.
func (a *psa) get(ctx context.Context, request string) (pinStatus, error) {
	var p pinStatus
	err := a.do(ctx, http.MethodGet, "/pins/"+url.PathEscape(request), nil, &p)
	p.Pin.CID = canonical(p.Pin.CID)
	return p, err
}

// add asks for a new pin, or for one in the place of another.
func (a *psa) add(ctx context.Context, replaced string, o pinObject) (pinStatus, error) {
	path := "/pins"
	if replaced != "" {
		path += "/" + url.PathEscape(replaced)
	}
	var p pinStatus
	err := a.do(ctx, http.MethodPost, path, o, &p)
	if err == nil && p.RequestID == "" {
		err = errors.New("the service does not say what it calls the pin")
	}
	return p, err
}

// remove removes a pin; one that is not there is removed.
func (a *psa) remove(ctx context.Context, request string) error {
	err := a.do(ctx, http.MethodDelete, "/pins/"+url.PathEscape(request), nil, nil)
	if status(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// list lists the pins of a name, and of a CID if one is given, whatever has become
// of them. Services are not trusted to filter.
func (a *psa) list(ctx context.Context, name, c string) ([]pinStatus, error) {
	args := url.Values{"name": {name}, "match": {"exact"}, "status": {everyState}, "limit": {strconv.Itoa(pageLimit)}}
	if c != "" {
		args.Set("cid", c)
	}
	var all []pinStatus
	seen := map[string]bool{}
	for range maxPages {
		var page struct {
			Count   int         `json:"count"`
			Results []pinStatus `json:"results"`
		}
		if err := a.do(ctx, http.MethodGet, "/pins?"+args.Encode(), nil, &page); err != nil {
			return nil, err
		}
		fresh := false
		var oldest time.Time
		for _, p := range page.Results {
			if oldest.IsZero() || p.Created.Before(oldest) {
				oldest = p.Created
			}
			if seen[p.RequestID] {
				continue
			}
			seen[p.RequestID], fresh = true, true
			p.Pin.CID = canonical(p.Pin.CID)
			if p.Pin.Name == name && (c == "" || p.Pin.CID == c) {
				all = append(all, p)
			}
		}
		if !fresh || page.Count <= len(page.Results) {
			return all, nil
		}
		args.Set("before", oldest.UTC().Format(time.RFC3339Nano))
	}
	return nil, fmt.Errorf("the service lists more than %d pages", maxPages)
}

// canonical is a CID as we write it, however the service does.
func canonical(text string) string {
	c, err := cid.Decode(text)
	if err != nil {
		return text
	}
	return cid.NewCidV1(c.Type(), c.Hash()).String()
}
