// Package cloudwatchtest has a double of CloudWatch for tests, as far as it answers
// GetMetricData for CloudFront's BytesDownloaded: RPC version 2 of Smithy, CBOR on the
// wire, as version 2010-08-01 of the API has it. Its data can be late, and corrected.
package cloudwatchtest

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// API is the double. Its zero value knows of nothing.
type API struct {
	// PageSize is how many values an answer has at most; 0 is as many as CloudWatch's.
	PageSize int

	mu       sync.Mutex
	data     map[string]map[time.Time]int64 // bytes of minutes, by distribution
	requests []Request
	refuse   string
}

// maxDatapoints is how many values an answer of CloudWatch has at most.
const maxDatapoints = 100_800

// Request is one that came.
type Request struct {
	Distribution string
	Start, End   time.Time
	Period       int64 // seconds
	Page         int64 // values that came before
}

// Requests are all so far.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// Refuse lets it answer with an error of that code; empty heals.
func (a *API) Refuse(code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = code
}

// Set says what was delivered in the minute of a time: late, or corrected.
func (a *API) Set(distribution string, at time.Time, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.minutes(distribution)[at.UTC().Truncate(time.Minute)] = bytes
}

// Add says that more was delivered in the minute of a time.
func (a *API) Add(distribution string, at time.Time, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.minutes(distribution)[at.UTC().Truncate(time.Minute)] += bytes
}

func (a *API) minutes(distribution string) map[time.Time]int64 {
	if a.data == nil {
		a.data = map[string]map[time.Time]int64{}
	}
	if a.data[distribution] == nil {
		a.data[distribution] = map[time.Time]int64{}
	}
	return a.data[distribution]
}

// signed is how requests to CloudWatch are signed. CloudFront's metrics are in one
// region of all.
var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/us-east-1/monitoring/aws4_request, `)

const operation = "/service/GraniteServiceVersion20100801/operation/GetMetricData"

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "IncompleteBody", err.Error())
	case r.Method != http.MethodPost || r.URL.Path != operation || r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor":
		refuse(w, http.StatusNotFound, "UnknownOperationException", r.Method+" "+r.URL.Path)
	case !signed.MatchString(r.Header.Get("Authorization")):
		refuse(w, http.StatusForbidden, "IncompleteSignature", "not signed for us-east-1/monitoring")
	case a.refuse != "":
		refuse(w, http.StatusForbidden, a.refuse, "User: arn:aws:iam::123456789012:user/qsync is not authorized to perform: cloudwatch:GetMetricData")
	default:
		value, err := cbor.Decode(body)
		if err == nil {
			value, err = a.answer(value)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, "InvalidParameterValue", err.Error())
			return
		}
		respond(w, http.StatusOK, value)
	}
}

func respond(w http.ResponseWriter, status int, value cbor.Value) {
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	w.WriteHeader(status)
	_, _ = w.Write(cbor.Encode(value))
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	respond(w, status, cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + code), "message": cbor.String(message)})
}

// answer is that to a request with one query.
func (a *API) answer(request cbor.Value) (cbor.Value, error) {
	in := node{request}
	queries, ok := in.at("MetricDataQueries").value.(cbor.List)
	if !ok || len(queries) != 1 {
		return nil, fmt.Errorf("want one query")
	}
	query := node{queries[0]}
	stat := query.at("MetricStat")
	metric := stat.at("Metric")
	got := Request{Start: in.at("StartTime").time(), End: in.at("EndTime").time(), Period: stat.at("Period").int()}
	dimensions := map[string]string{}
	if list, ok := metric.at("Dimensions").value.(cbor.List); ok {
		for _, d := range list {
			dimensions[node{d}.at("Name").string()] = node{d}.at("Value").string()
		}
	}
	got.Distribution = dimensions["DistributionId"]
	if token := in.at("NextToken").string(); token != "" {
		if _, err := fmt.Sscanf(token, "page-%d", &got.Page); err != nil {
			return nil, fmt.Errorf("token %q", token)
		}
	}
	a.requests = append(a.requests, got)
	switch {
	case metric.at("Namespace").string() != "AWS/CloudFront" || metric.at("MetricName").string() != "BytesDownloaded" || stat.at("Stat").string() != "Sum":
		return nil, fmt.Errorf("only the sum of CloudFront's BytesDownloaded is known here")
	case dimensions["Region"] != "Global" || len(dimensions) != 2:
		return empty(query), nil // CloudWatch knows no such metric, and has nothing to say
	case got.Period%60 != 0 || got.Period == 0 || got.Start.Unix()%got.Period != 0 || !got.Start.Before(got.End):
		return nil, fmt.Errorf("from %s to %s by %d s", got.Start, got.End, got.Period)
	}
	sums := map[int64]float64{}
	for at, bytes := range a.data[got.Distribution] {
		if !at.Before(got.Start) && at.Before(got.End) {
			sums[at.Unix()/got.Period*got.Period] += float64(bytes)
		}
	}
	var times []int64
	for at := range sums {
		times = append(times, at)
	}
	slices.Sort(times)
	if in.at("ScanBy").string() != "TimestampAscending" {
		slices.Reverse(times)
	}
	return a.page(query, got, times, sums), nil
}

func (a *API) page(query node, got Request, times []int64, sums map[int64]float64) cbor.Value {
	size := a.PageSize
	if size == 0 {
		size = maxDatapoints
	}
	times = times[min(int(got.Page), len(times)):]
	out, code := cbor.Map{}, "Complete"
	if len(times) > size {
		times, code = times[:size], "PartialData"
		out["NextToken"] = cbor.String(fmt.Sprintf("page-%d", int(got.Page)+size))
	}
	stamps, values := cbor.List{}, cbor.List{}
	for _, at := range times {
		stamps = append(stamps, &cbor.Tag{ID: 1, Value: cbor.Float64(float64(at))})
		values = append(values, cbor.Float64(sums[at]))
	}
	out["MetricDataResults"] = cbor.List{cbor.Map{
		"Id": cbor.String(query.at("Id").string()), "Label": cbor.String("BytesDownloaded"),
		"StatusCode": cbor.String(code), "Timestamps": stamps, "Values": values,
	}}
	return out
}

func empty(query node) cbor.Value {
	return cbor.Map{"MetricDataResults": cbor.List{cbor.Map{
		"Id": cbor.String(query.at("Id").string()), "StatusCode": cbor.String("Complete"), "Timestamps": cbor.List{}, "Values": cbor.List{},
	}}}
}

// node is a value that may be there or not.
type node struct{ value cbor.Value }

func (n node) at(key string) node {
	m, _ := n.value.(cbor.Map)
	return node{m[key]}
}

func (n node) string() string {
	s, _ := n.value.(cbor.String)
	return string(s)
}

func (n node) int() int64 {
	i, _ := n.value.(cbor.Uint)
	return int64(i)
}

func (n node) time() time.Time {
	tag, _ := n.value.(*cbor.Tag)
	if tag == nil {
		return time.Time{}
	}
	switch v := tag.Value.(type) {
	case cbor.Float64:
		return time.Unix(int64(v), 0).UTC()
	case cbor.Uint:
		return time.Unix(int64(v), 0).UTC()
	}
	return time.Time{}
}
