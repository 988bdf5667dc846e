package alarm

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sesSigned is how requests to SES are signed.
var sesSigned = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/eu-west-1/ses/aws4_request, `)

// TestSES sends to a double that takes what version 2 of the API documents for
// SendEmail with raw content: REST with JSON.
func TestSES(t *testing.T) {
	var got struct {
		FromEmailAddress string
		Destination      struct{ ToAddresses []string }
		Content          struct{ Raw struct{ Data []byte } }
	}
	refusal := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodPost || r.URL.Path != "/v2/email/outbound-emails" || !sesSigned.MatchString(r.Header.Get("Authorization")):
			w.Header().Set("X-Amzn-ErrorType", "BadRequestException")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"message": "not signed for eu-west-1/ses, or no SendEmail"}`)
		case refusal != "":
			w.Header().Set("X-Amzn-ErrorType", refusal)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message": "Email address is not verified"}`)
		case json.NewDecoder(r.Body).Decode(&got) != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			_, _ = io.WriteString(w, `{"MessageId": "0100018c-example"}`)
		}
	}))
	t.Cleanup(server.Close)
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CA_BUNDLE": "", "AWS_REGION": "us-east-2",
		"AWS_ENDPOINT_URL_SESV2": server.URL,
	} {
		t.Setenv(name, value)
	}
	s, err := NewSES("eu-west-1", "qsync@example.org")
	must(t, err)
	m := letter("one")
	must(t, s.Send(t.Context(), m, "ops@example.org"))
	raw := string(got.Content.Raw.Data)
	if got.FromEmailAddress != "qsync@example.org" || strings.Join(got.Destination.ToAddresses, " ") != "ops@example.org" ||
		!strings.Contains(raw, "Message-ID: <"+m.ID+">\r\n") || !strings.Contains(raw, "X-Qsync-Alarm: "+m.ID+"\r\n") || !strings.Contains(raw, "multipart/alternative") {
		t.Errorf("sent: %+v\n%s", got, raw)
	}
	for _, c := range []struct{ code, want, hint string }{
		{"MessageRejected", "SES answers MessageRejected: Email address is not verified", "verify the address"},
		{"AccessDeniedException", "SES answers AccessDeniedException", "allow ses:SendEmail"},
	} {
		refusal = c.code
		err := s.Send(t.Context(), m, "ops@example.org")
		hinted, hint := (interface{ Hint() string })(nil), ""
		if errors.As(err, &hinted) {
			hint = hinted.Hint()
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(hint, c.hint) {
			t.Errorf("%s: %v (%s)", c.code, err, hint)
		}
	}
}
