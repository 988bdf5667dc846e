package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/qsync/qsync/manifest/unixfs"
)

// rpc calls the commands of a Kubo:
// https://docs.ipfs.tech/reference/kubo/rpc/.
type rpc struct {
	base   string
	client *http.Client
	auth   token
	// patience is how long nothing may happen: no byte is taken, no line comes.
	patience time.Duration
}

const defaultPatience = 5 * time.Minute

// maxAnswer is more than a line of an answer, or a message, has.
const maxAnswer = 1 << 20

// redirects are not followed: the token would go along.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// answerError is an answer that says no.
type answerError struct {
	command string
	status  int
	message string
}

func (e *answerError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("%s: Kubo answers %d %s", e.command, e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("%s: Kubo answers: %s", e.command, e.message)
}

// says reports whether Kubo has answered with a message.
func says(err error, words ...string) bool {
	answer, ok := errors.AsType[*answerError](err)
	if !ok {
		return false
	}
	for _, w := range words {
		if strings.Contains(answer.message, w) {
			return true
		}
	}
	return false
}

// lacks reports whether a command has failed because a block is not there.
func lacks(err error) bool {
	return says(err, "could not find", "block was not found", "blockstore: block not found")
}

// call runs a command, with the file that send writes if it is not nil. The answer is
// for read, to its end.
func (r *rpc) call(ctx context.Context, command string, args url.Values, send func(w io.Writer) error, read func(answer io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(r.patience, func() {
		cancel(fmt.Errorf("%s: nothing has happened for %s", command, r.patience))
	})
	defer watch.Stop()
	alive := func() { watch.Reset(r.patience) }

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.base+"/api/v0/"+command+"?"+args.Encode(), nil)
	if err != nil {
		return err
	}
	if send != nil {
		contentType, body, sent := upload(send)
		defer func() { _ = body.Close(); <-sent }()
		req.Header.Set("Content-Type", contentType)
		req.Body = struct {
			io.Reader
			io.Closer
		}{&watched{body, alive}, body}
	}
	r.authorize(req)
	resp, err := r.client.Do(req)
	if err != nil {
		return r.explain(ctx, command, err)
	}
	defer resp.Body.Close()
	answer := &watched{resp.Body, alive}
	if resp.StatusCode != http.StatusOK {
		return r.refused(command, resp.StatusCode, answer)
	}
	if err := read(answer); err != nil {
		return r.explain(ctx, command, err)
	}
	// What goes wrong after the first byte of an answer stands behind the last.
	if message := resp.Trailer.Get("X-Stream-Error"); message != "" {
		return r.explain(ctx, command, &answerError{command, resp.StatusCode, r.auth.blot(message)})
	}
	return nil
}

// upload is a form with a file that send writes. It is sent when sent is closed, or
// will not be.
func upload(send func(w io.Writer) error) (contentType string, body io.ReadCloser, sent <-chan struct{}) {
	read, write := io.Pipe()
	f := multipart.NewWriter(write)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		file, err := f.CreateFormFile("file", "blocks.car")
		if err == nil {
			err = send(file)
		}
		if err == nil {
			err = f.Close()
		}
		write.CloseWithError(err)
	}()
	return f.FormDataContentType(), read, ended
}

// watched is a body that tells when bytes come.
type watched struct {
	io.Reader
	alive func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// authorize sends the token as Kubo's API.Authorizations have it.
func (r *rpc) authorize(req *http.Request) {
	kind, secret, ok := strings.Cut(string(r.auth), ":")
	switch {
	case r.auth == "":
	case ok && kind == "basic":
		user, password, _ := strings.Cut(secret, ":")
		req.SetBasicAuth(user, password)
	case ok && kind == "bearer":
		req.Header.Set("Authorization", "Bearer "+secret)
	default:
		req.Header.Set("Authorization", "Bearer "+string(r.auth))
	}
}

func (r *rpc) refused(command string, status int, body io.Reader) error {
	text, _ := io.ReadAll(io.LimitReader(body, maxAnswer))
	e := &answerError{command: command, status: status}
	var said struct{ Message string }
	if json.Unmarshal(text, &said) == nil {
		e.message = r.auth.blot(said.Message)
	}
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &adviceError{e, "kubo.token_file must hold what API.Authorizations in Kubo's configuration says, like bearer:… or basic:user:password"}
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status/100 == 3:
		return &adviceError{e, "kubo.url must be that of Kubo's RPC, which listens on port 5001; the gateway, on 8080, is something else"}
	}
	return r.explain(context.Background(), command, e)
}

// explain says of an error what can be done about it.
func (r *rpc) explain(ctx context.Context, command string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, answered := errors.AsType[*answerError](err); !answered {
		// The URL around it says no more than the name of the mirror.
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err
		}
		err = fmt.Errorf("%s: %w", command, err)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &adviceError{err, "start Kubo (ipfs daemon), or correct kubo.url"}
	case says(err, syscall.ENOSPC.Error()):
		return &adviceError{fmt.Errorf("%w: %w", syscall.ENOSPC, err), "make room on Kubo's disk: what it has been sent stays, and the rest follows"}
	}
	return err
}

// objects reads an answer of objects of JSON, each for itself.
func objects[T any](each func(T)) func(answer io.Reader) error {
	return func(answer io.Reader) error {
		for d := json.NewDecoder(answer); ; {
			var object T
			if err := d.Decode(&object); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			each(object)
		}
	}
}

// nothing is an answer that says no more than that it went well.
func nothing(struct{}) {}

// pins are the names of what is pinned under a name that has a part, by CID.
func (r *rpc) pins(ctx context.Context, part string) (map[string]string, error) {
	pins := map[string]string{}
	args := url.Values{"type": {"recursive"}, "stream": {"true"}, "names": {"true"}, "name": {part}}
	err := r.call(ctx, "pin/ls", args, nil, objects(func(p struct{ Cid, Name string }) { pins[p.Cid] = p.Name }))
	return pins, err
}

// isPinned reports whether a tree is, under whatever name.
func (r *rpc) isPinned(ctx context.Context, c unixfs.CID) (bool, error) {
	err := r.call(ctx, "pin/ls", url.Values{"arg": {c.String()}, "type": {"recursive"}}, nil, objects(nothing))
	if says(err, "is not pinned") {
		return false, nil
	}
	return err == nil, err
}

// maxArgs is how many CIDs are named at once, so that a URL stays short enough for
// what may stand before Kubo.
const maxArgs = 100

// pin pins trees that are there.
func (r *rpc) pin(ctx context.Context, name string, cids []string) error {
	for ; len(cids) > 0; cids = cids[min(maxArgs, len(cids)):] {
		args := url.Values{"arg": cids[:min(maxArgs, len(cids))], "name": {name}, "progress": {"true"}}
		before := -1
		// What is not there Kubo looks for among its peers, for ever.
		ctx, cancel := context.WithCancelCause(ctx)
		still := time.AfterFunc(r.patience, func() { cancel(fmt.Errorf("pin/add: Kubo has found no further block for %s", r.patience)) })
		err := r.call(ctx, "pin/add", args, nil, objects(func(p struct{ Progress int }) {
			if p.Progress != before {
				before = p.Progress
				still.Reset(r.patience)
			}
		}))
		still.Stop()
		cancel(nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// unpin is for trees that are pinned.
func (r *rpc) unpin(ctx context.Context, cids []string) error {
	for ; len(cids) > 0; cids = cids[min(maxArgs, len(cids)):] {
		args := url.Values{"arg": cids[:min(maxArgs, len(cids))]}
		if err := r.call(ctx, "pin/rm", args, nil, objects(nothing)); err != nil {
			return err
		}
	}
	return nil
}

// updateTime is how long Kubo may compare two trees: it says nothing meanwhile.
const updateTime = 6 * time.Hour

// update pins a tree beside an older one, whose name it gets, and which stays.
func (r *rpc) update(ctx context.Context, old, c string) error {
	patient := *r
	patient.patience = max(r.patience, updateTime)
	return patient.call(ctx, "pin/update", url.Values{"arg": {old, c}, "unpin": {"false"}}, nil, objects(nothing))
}

// block reads a block that is there.
func (r *rpc) block(ctx context.Context, c unixfs.CID) (block []byte, err error) {
	const most = 4 << 20 // more than a block can have
	err = r.call(ctx, "block/get", url.Values{"arg": {c.String()}, "offline": {"true"}}, nil, func(answer io.Reader) (err error) {
		block, err = io.ReadAll(io.LimitReader(answer, most))
		return err
	})
	return block, err
}
