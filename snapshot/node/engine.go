package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// engine speaks the Docker Engine API about one container.
type engine struct {
	client    *http.Client
	socket    string
	version   string // like /v1.47
	container string
}

// container is what the engine says of it.
type container struct {
	ID    string
	State struct {
		Status                      string // running, paused, exited, …
		Running, Paused, Restarting bool   // one that is paused is running too
		ExitCode                    int
	}
	Config struct {
		StopSignal  string // like SIGTERM
		StopTimeout *int   // seconds, negative is for ever
	}
	HostConfig struct {
		AutoRemove bool // when it ends
	}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// dial asks the engine which version of the API it speaks. The requests here
// are the same in all of them, and what each engine takes for sure is its own newest.
func dial(ctx context.Context, socket, name string) (*engine, error) {
	socket = cmp.Or(socket, DefaultDockerSocket)
	e := &engine{socket: socket, container: name, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	answer, err := e.request(ctx, http.MethodGet, "/_ping")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if v := answer.Header.Get("Api-Version"); v != "" {
		e.version = "/v" + v
	}
	return e, nil
}

// look asks for the container's state.
func (e *engine) look(ctx context.Context) (*container, error) {
	answer, err := e.request(ctx, http.MethodGet, e.path("json"))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	c := &container{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(c); err != nil {
		return nil, fmt.Errorf("ask about container %s: %w", e.container, err)
	}
	return c, nil
}

// post does something with the container. What is done already is an error of
// status 304.
func (e *engine) post(ctx context.Context, what string) error {
	answer, err := e.request(ctx, http.MethodPost, e.path(what))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func (e *engine) path(what string) string {
	return e.version + "/containers/" + url.PathEscape(e.container) + "/" + what
}

// stopping reports whether the container was told to end and has not yet ended.
func (e *engine) stopping(ctx context.Context) (bool, error) {
	c, err := e.look(ctx)
	if err != nil {
		return false, err
	}
	now := time.Now()
	filters, err := json.Marshal(map[string][]string{"type": {"container"}, "container": {c.ID}})
	if err != nil {
		return false, err
	}
	query := url.Values{
		"since":   {strconv.FormatInt(now.Add(-c.grace()-time.Minute).Unix(), 10)},
		"until":   {fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())}, // without it the answer never ends
		"filters": {string(filters)},
	}
	answer, err := e.request(ctx, http.MethodGet, e.version+"/events?"+query.Encode())
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	stopping := false
	for events := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)); ; {
		var event struct {
			Action string
			Actor  struct{ Attributes map[string]string }
		}
		if err := events.Decode(&event); errors.Is(err, io.EOF) {
			return stopping, nil
		} else if err != nil {
			return false, fmt.Errorf("ask what container %s was told: %w", e.container, err)
		}
		switch {
		case event.Action == "start" || event.Action == "die":
			stopping = false
		case event.Action == "kill" && c.endsBy(event.Actor.Attributes["signal"]):
			stopping = true
		}
	}
}

// grace is how long the container may take to stop before it is killed.
func (c *container) grace() time.Duration {
	switch t := c.Config.StopTimeout; {
	case t == nil:
		return 10 * time.Second // the engine's default
	case *t < 0:
		return 24 * time.Hour
	default:
		return time.Duration(*t) * time.Second
	}
}

// endsBy reports whether the number is that of the signal that tells the container to stop.
func (c *container) endsBy(number string) bool {
	name := strings.ToUpper(cmp.Or(c.Config.StopSignal, "SIGTERM"))
	if name == number {
		return true
	}
	signal := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	return signal == 0 || strconv.Itoa(int(signal)) == number
}

// apiError is what the engine says went wrong.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return fmt.Sprintf("the engine says %d: %s", e.status, e.message) }

// Is makes an error of a container that is not there that of a node that is gone.
func (e *apiError) Is(target error) bool {
	return target == snapshot.ErrNodeGone && e.status == http.StatusNotFound
}

func isStatus(err error, status int) bool {
	e := (*apiError)(nil)
	return errors.As(err, &e) && e.status == status
}

// request returns an answer of success, whose body the caller closes.
func (e *engine) request(ctx context.Context, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := e.client.Do(request)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(fmt.Errorf("connect to the engine at %s: %w", e.socket, err), "run qsyncd as root, or let its user be of the group that owns the socket")
	case err != nil:
		return nil, withHint(fmt.Errorf("connect to the engine at %s: %w", e.socket, errors.Unwrap(err)), "is the engine running, and this its socket?")
	case answer.StatusCode < 300:
		return answer, nil
	}
	defer answer.Body.Close()
	said := struct{ Message string }{http.StatusText(answer.StatusCode)}
	// Without a message, as with 304, the status says it.
	_ = json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said)
	return nil, &apiError{answer.StatusCode, said.Message}
}
