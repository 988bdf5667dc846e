package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

// TestDoctorPayer: what is said of a bucket that is not as the configuration has it.
func TestDoctorPayer(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	setting := func(payer string) string {
		return `<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>` + payer + `</Payer></RequestPaymentConfiguration>`
	}
	const denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
	for _, c := range []struct {
		configured bool
		status     int
		answer     string
		want       string // what the line begins with; empty for none
	}{
		{true, http.StatusOK, setting("Requester"), "ok    payer of s3://raw — the reader, as configured\n"},
		{true, http.StatusOK, setting("BucketOwner"), "warn  payer of s3://raw — requester_pays is configured, but"},
		{true, http.StatusForbidden, denied, "ok    payer of s3://raw — whether it is the reader could not be seen"},
		{true, http.StatusOK, "<ListBucketResult></ListBucketResult>", "ok    payer of s3://raw — whether it is the reader could not be seen"},
		{false, http.StatusOK, setting("BucketOwner"), ""},
		{false, http.StatusOK, setting("Requester"), "warn  payer of s3://raw — its readers pay"},
		{false, http.StatusForbidden, denied, ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/raw" || !r.URL.Query().Has("requestPayment") {
				t.Errorf("the store is asked %s %s", r.Method, r.URL)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.answer)
		}))
		var said bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&said)
		d := &doctor{out: term.NewOutput(cmd), count: map[level]int{}}
		d.checkPayer(t.Context(), &config.S3Target{Bucket: "raw", Region: "eu-central-1", Endpoint: server.URL, RequesterPays: c.configured})
		server.Close()
		if got := said.String(); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("requester_pays %t, answer %.60s: said %q, want %q", c.configured, c.answer, got, c.want)
		}
	}
}
