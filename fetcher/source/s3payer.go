package source

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/qsync/qsync/fetcher"
)

// payer is who pays for what is read from a bucket.
type payer string

const (
	payerUnknown  payer = ""
	ownerPays     payer = "BucketOwner"
	requesterPays payer = "Requester"
)

const (
	payerTimeout    = 10 * time.Second
	maxPayerAnswer  = 4 << 10
	payerSignedTime = time.Minute
)

// payer asks for the bucket's payment setting, which costs the asker nothing.
// Few but the owner may see it: mostly it remains unknown.
func (s *s3Source) payer(ctx context.Context) payer {
	ctx, cancel := context.WithTimeout(ctx, payerTimeout)
	defer cancel()
	signed, err := s.client.Presign(ctx, http.MethodGet, s.place.bucket, "", payerSignedTime, url.Values{"requestPayment": {""}})
	if err != nil {
		return payerUnknown
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, signed.String(), nil)
	if err != nil {
		return payerUnknown
	}
	// No redirect is followed: the signature is for this server alone.
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return payerUnknown
	}
	defer resp.Body.Close()
	var setting struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   payer
	}
	if resp.StatusCode != http.StatusOK || xml.NewDecoder(io.LimitReader(resp.Body, maxPayerAnswer)).Decode(&setting) != nil {
		return payerUnknown
	}
	return setting.Payer
}

// payerError says that reading would cost the user money that nobody agreed to
// spend. It wraps [fetcher.ErrConsent] and [ErrRequesterPays].
type payerError struct {
	certain bool  // the bucket is known to be so
	err     error // what the server answered; nil if it was not asked
}

func (e *payerError) Error() string {
	text := "the bucket's owner lets the requester pay"
	if !e.certain {
		text = "the credentials may not read the bucket, or its owner lets the requester pay"
	}
	text += " (your account is billed for each request and each GB: Amazon takes some 9 US cents a GB to the internet, less or nothing inside its network)"
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return fmt.Sprintf("%v: %s", fetcher.ErrConsent, text)
}

func (e *payerError) Unwrap() []error {
	all := []error{fetcher.ErrConsent, ErrRequesterPays}
	if e.err != nil {
		all = append(all, e.err)
	}
	return all
}

// Hint says how to agree.
func (e *payerError) Hint() string { return "add --allow-requester-pays to agree to the cost" }
