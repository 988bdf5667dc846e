package quota

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/alarm"
)

// AccessLogs are the standard logs of CloudFront in a bucket: a [Source]. What each
// object says is noted under its name, so that one which is read twice counts once.
type AccessLogs struct {
	Store        LogStore
	Distribution string // whose they are; empty is all that there are
	Channels     []string
	Outbox       *alarm.Outbox // where is noted what they say
	Name         string        // of the notes
}

// LogStore is where the logs lie.
type LogStore interface {
	// List calls fn for every object whose key begins with prefix.
	List(ctx context.Context, prefix string, fn func(publish.Object) error) error
	// Read returns exactly length bytes from offset on.
	Read(ctx context.Context, key string, offset, length int64) ([]byte, error)
	String() string
}

// Limits of a log. CloudFront's have 50 MB before they are compressed.
const (
	maxLogSize  = 64 << 20
	maxRawSize  = 1 << 30
	maxLineSize = 1 << 20
)

// logName is that of a log: the distribution, the hour that it is of, and something
// that no other has.
var logName = regexp.MustCompile(`^([A-Z0-9]+)\.(\d{4}-\d\d-\d\d-\d\d)\.[^.]+\.gz$`)

// readLog is what a log says.
type readLog struct {
	Size  int64  `json:"size"` // of the object
	Hours []Hour `json:"hours,omitempty"`
}

// String implements [Source].
func (a *AccessLogs) String() string { return "access logs in " + a.Store.String() }

func (a *AccessLogs) note(key string) string { return "logs/" + a.Name + "/" + key }

// Delivered implements [Source].
func (a *AccessLogs) Delivered(ctx context.Context, from, to time.Time) ([]Hour, error) {
	var objects []publish.Object
	for month := monthOf(from); month.Before(to); month = month.AddDate(0, 1, 0) {
		prefix := ""
		if a.Distribution != "" {
			prefix = a.Distribution + "." + month.Format("2006-01")
		}
		err := a.Store.List(ctx, prefix, func(o publish.Object) error {
			named := logName.FindStringSubmatch(path.Base(o.Key))
			if named == nil || a.Distribution != "" && named[1] != a.Distribution {
				return nil
			}
			if at, err := time.Parse("2006-01-02-15", named[2]); err == nil && monthOf(at).Equal(month) {
				objects = append(objects, o)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list the logs: %w", err)
		}
	}
	for _, o := range objects {
		if err := a.read(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := a.forget(monthOf(from).AddDate(0, -1, 0)); err != nil {
		return nil, err
	}
	return a.sum(from, to)
}

// forget drops the notes of what was before a time. Nobody asks for it any more.
func (a *AccessLogs) forget(before time.Time) error {
	var old []string
	err := a.Outbox.EachMark(a.note(""), func(name string, v []byte) error {
		l := readLog{}
		if err := json.Unmarshal(v, &l); err != nil {
			return err
		}
		if !slices.ContainsFunc(l.Hours, func(h Hour) bool { return !h.Start.Before(before) }) && len(l.Hours) > 0 {
			old = append(old, name)
		}
		return nil
	})
	if len(old) == 0 || err != nil {
		return err
	}
	return a.Outbox.Update(func(tx *alarm.Tx) error {
		for _, name := range old {
			if err := tx.Unmark(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// read notes what an object says, if that is not noted yet.
func (a *AccessLogs) read(ctx context.Context, o publish.Object) error {
	known := readLog{}
	if found, err := a.Outbox.Mark(a.note(o.Key), &known); err != nil || found && known.Size == o.Size {
		return err
	}
	if o.Size > maxLogSize {
		return fmt.Errorf("read log %s: it has %d bytes, which is more than any log", o.Key, o.Size)
	}
	body, err := a.Store.Read(ctx, o.Key, 0, o.Size)
	if err != nil {
		return fmt.Errorf("read log %s: %w", o.Key, err)
	}
	hours, err := parseLog(body, a.Channels)
	if err != nil {
		return fmt.Errorf("read log %s: %w", o.Key, err)
	}
	return a.Outbox.Update(func(tx *alarm.Tx) error { return tx.SetMark(a.note(o.Key), readLog{o.Size, hours}) })
}

// sum adds up all that is noted.
func (a *AccessLogs) sum(from, to time.Time) ([]Hour, error) {
	all := table{}
	err := a.Outbox.EachMark(a.note(""), func(_ string, v []byte) error {
		l := readLog{}
		if err := json.Unmarshal(v, &l); err != nil {
			return err
		}
		for _, h := range l.Hours {
			if !h.Start.Before(from) && h.Start.Before(to) {
				all.add(h)
			}
		}
		return nil
	})
	return all.hours(), err
}

// table sums up hours.
type table map[time.Time]*Hour

func (t table) add(h Hour) {
	sum := t[h.Start]
	if sum == nil {
		sum = &Hour{Start: h.Start}
		t[h.Start] = sum
	}
	sum.Bytes += h.Bytes
	for name, bytes := range h.Channels {
		if sum.Channels == nil {
			sum.Channels = map[string]int64{}
		}
		sum.Channels[name] += bytes
	}
}

func (t table) hours() []Hour {
	var all []Hour
	for _, h := range t {
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b Hour) int { return a.Start.Compare(b.Start) })
	return all
}

// The fields of a log that are read.
const (
	fieldDate  = "date"
	fieldTime  = "time"
	fieldBytes = "sc-bytes"
	fieldPath  = "cs-uri-stem"
)

// parseLog reads a log: lines of fields with tabs between them, whose names a line at
// the top tells.
func parseLog(body []byte, channels []string) ([]Hour, error) {
	raw, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: raw, N: maxRawSize}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxLineSize)
	at, all := map[string]int{}, table{}
	for lines.Scan() {
		line := lines.Text()
		if names, ok := strings.CutPrefix(line, "#Fields:"); ok {
			at = map[string]int{}
			for i, name := range strings.Fields(names) {
				at[name] = i
			}
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		h, err := parseLine(line, at, channels)
		if err != nil {
			return nil, err
		}
		all.add(h)
	}
	if limited.N == 0 {
		return nil, errors.New("it has more bytes than any log")
	}
	return all.hours(), lines.Err()
}

func parseLine(line string, at map[string]int, channels []string) (h Hour, err error) {
	fields := strings.Split(line, "\t")
	get := func(name string) string {
		if i, known := at[name]; known && i < len(fields) {
			return fields[i]
		}
		return ""
	}
	moment, err := time.Parse(time.DateTime, get(fieldDate)+" "+get(fieldTime))
	if err != nil {
		return h, fmt.Errorf("a line of %d fields has no date and time", len(fields))
	}
	n, err := strconv.ParseInt(get(fieldBytes), 10, 64)
	if err != nil || n < 0 {
		return h, fmt.Errorf("a line of %d fields has no %s", len(fields), fieldBytes)
	}
	h = Hour{Start: moment.Truncate(time.Hour), Bytes: n}
	if c := ChannelOf(get(fieldPath), channels); c != "" {
		h.Channels = map[string]int64{c: n}
	}
	return h, nil
}

// ChannelOf is the channel that a path in a location belongs to; empty if that cannot
// be told, as of segments, which channels share.
func ChannelOf(urlPath string, channels []string) string {
	for word := range strings.SplitSeq(urlPath, "/") {
		if slices.Contains(channels, word) {
			return word
		}
	}
	return ""
}
