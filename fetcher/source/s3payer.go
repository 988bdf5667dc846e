package source

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/minio/minio-go/v7/pkg/credentials"

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

// The words by which a requester offers to pay, and a store says that he does.
const (
	payerHeader   = "X-Amz-Request-Payer"
	payerOffer    = "requester"
	chargedHeader = "X-Amz-Request-Charged"
)

// request gets an object or a part of it, most bytes of which are asked for, and
// returns the body of an answer that check accepts. It offers to pay for no more
// than the user has agreed to.
func (s *s3Source) request(ctx context.Context, key, byteRange string, most int64, check func(*http.Response) error) (io.ReadCloser, error) {
	if !s.pays.Load() {
		// Who has agreed to everything offers at once: the offer alone costs nothing.
		body, err := s.get(ctx, key, byteRange, s.consent.IsEverything(), check)
		if payer := (*PayerError)(nil); !errors.As(err, &payer) {
			return body, err
		} else if !s.consent.take(most) {
			payer.Wanted = most
			return nil, err
		}
	} else if !s.consent.take(most) {
		return nil, backoff.Permanent(&PayerError{Certain: true, Price: s.price, Wanted: most})
	}
	body, err := s.get(ctx, key, byteRange, true, check)
	if err != nil {
		s.consent.giveBack(most)
		return nil, err
	}
	s.pays.Store(true)
	return &billedBody{ReadCloser: body, consent: s.consent, unread: most}, nil
}

// billedBody gives back what was agreed to and has not been read.
type billedBody struct {
	io.ReadCloser
	consent *Consent
	unread  int64
	closed  sync.Once
}

func (b *billedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.unread -= int64(n)
	return n, err
}

func (b *billedBody) Close() error {
	b.closed.Do(func() { b.consent.giveBack(b.unread) })
	return b.ReadCloser.Close()
}

// account says for people which account the requests are billed to.
func (s *s3Source) account(ctx context.Context) string {
	v, err := s.creds.GetWithContext(&credentials.CredContext{Context: ctx})
	if n := len(v.AccessKeyID); err == nil && n > shownOfKey {
		return "the account of access key …" + v.AccessKeyID[n-shownOfKey:]
	}
	return "the account of the credentials in use"
}

// shownOfKey is how much of an access key is shown: enough to tell one's own apart.
const shownOfKey = 4

// PayerError says that reading would cost the user money that nobody agreed to
// spend. It wraps [fetcher.ErrConsent] and [ErrRequesterPays].
type PayerError struct {
	Certain bool   // the bucket is known to be so; else the credentials may lack the permission
	Price   *Price // nil if it is not known
	Wanted  int64  // bytes that were to be read
	err     error  // what the server answered; nil if it was not asked
}

func (e *PayerError) Error() string {
	text := "the bucket's owner lets the requester pay"
	if !e.Certain {
		text = "the credentials may not read the bucket, or its owner lets the requester pay"
	}
	price := "what the store takes for it is not known here"
	if e.Price != nil {
		price = fmt.Sprintf("Amazon takes up to %.3g USD a GB, less or nothing inside its network", e.Price.PerGB())
	}
	text += " (your account is billed for each request and each GB: " + price + ")"
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return fmt.Sprintf("%v: %s", fetcher.ErrConsent, text)
}

func (e *PayerError) Unwrap() []error {
	all := []error{fetcher.ErrConsent, ErrRequesterPays}
	if e.err != nil {
		all = append(all, e.err)
	}
	return all
}

// Hint says how to agree.
func (e *PayerError) Hint() string { return "add --allow-requester-pays to agree to the cost" }
