package ipfs

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// The formats of answers. What none is asked for are the bytes of a file.
const (
	formatRaw    = "raw"
	formatCAR    = "car"
	formatRecord = "ipns-record"

	typeRaw    = "application/vnd.ipld.raw"
	typeCAR    = "application/vnd.ipld.car"
	typeRecord = "application/vnd.ipfs.ipns-record"
)

// probeCID is that of nothing, with nothing as its hash. Who wants to know whether this is
// a gateway asks for its block.
const probeCID = "bafkqaaa"

var formats = map[string]string{typeRaw: formatRaw, typeCAR: formatCAR, typeRecord: formatRecord}

// request is what a reader of the gateway asks for.
type request struct {
	probe  bool // nothing but whether anybody answers
	root   unixfs.CID
	name   *ipns.Name // that stands for the root; nil if that was named itself
	path   []string
	format string
	car    carRequest
}

// statusError is an error with the code that the reader is answered.
type statusError struct {
	code int
	what string
}

func (e *statusError) Error() string { return e.what }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// statusOf is the code of an error.
func statusOf(err error) int {
	if status := (*statusError)(nil); errors.As(err, &status) {
		return status.code
	}
	if errors.Is(err, ErrNotFound) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

func parseRequest(r *http.Request) (*request, error) {
	q := &request{car: carRequest{scope: scopeAll}}
	namespace, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	first, rest, _ := strings.Cut(rest, "/")
	for name := range strings.SplitSeq(rest, "/") {
		switch name {
		case "": // also after the last slash
		case ".", "..":
			return nil, badRequest("the path has the name %q", name)
		default:
			q.path = append(q.path, name)
		}
	}
	if err := q.parseFormat(r); err != nil {
		return nil, err
	}
	if namespace == "ipns" {
		name, err := ipns.NameFromString(first)
		if err != nil {
			return nil, fmt.Errorf("%w: %.80q is no name of this node", ErrNotFound, first)
		}
		q.name = &name
		return q, nil
	}
	c, err := cid.Decode(first)
	if err != nil {
		return nil, badRequest("%.80q is no CID", first)
	}
	if c.String() == probeCID && q.format == formatRaw {
		q.probe = true
		return q, nil
	}
	var ok bool
	if q.root, ok = address(c); !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, c)
	}
	return q, nil
}

// parseFormat reads which format is asked for, by ?format= or else by the header Accept.
func (q *request) parseFormat(r *http.Request) error {
	query := r.URL.Query()
	parameters := map[string]string{}
	for accepted := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, with, err := mime.ParseMediaType(accepted)
		if f, known := formats[media]; err == nil && known {
			q.format, parameters = f, with
			break
		}
	}
	if f := query.Get("format"); f != "" {
		if q.format = f; f != formatRaw && f != formatCAR && f != formatRecord {
			return &statusError{http.StatusNotAcceptable, fmt.Sprintf("format=%.40s: known are raw, car and ipns-record", f)}
		}
	}
	if q.format != formatCAR {
		return nil
	}
	return q.car.parse(query, parameters)
}

// parse reads what a CAR shall have: from the query, or else from the parameters of its
// media type.
func (r *carRequest) parse(query url.Values, parameters map[string]string) error {
	given := func(key, parameter string) string {
		if v := query.Get(key); v != "" {
			return v
		}
		return parameters[parameter]
	}
	if v := given("car-version", "version"); v != "" && v != "1" {
		return badRequest("a CAR of version %.40q: only 1 is made here", v)
	}
	if v := given("car-order", "order"); v != "" && v != "dfs" && v != "unk" {
		return badRequest("a CAR in the order %.40q: only dfs is made here", v)
	}
	switch v := given("car-dups", "dups"); v {
	case "", "n":
	case "y":
		r.duplicates = true
	default:
		return badRequest("dups=%.40s: want y or n", v)
	}
	switch v := query.Get("dag-scope"); v {
	case "":
	case scopeBlock, scopeEntity, scopeAll:
		r.scope = v
	default:
		return badRequest("dag-scope=%.40s: known are block, entity and all", v)
	}
	if v := query.Get("entity-bytes"); v != "" {
		return r.parseEntityBytes(v)
	}
	return nil
}

// etag is that of a CAR. It is weak: the same blocks can be told in several orders.
func (q *request) etag() string {
	what := strings.Join(append([]string{q.car.describe()}, q.path...), "/")
	return fmt.Sprintf(`W/"%s.car.%.16s"`, q.root, manifest.Sum([]byte(what)))
}
