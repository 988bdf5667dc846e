package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
)

// money is what the user has agreed to pay for, and how he is asked.
type money struct {
	out     *term.Output
	consent *source.Consent
}

const (
	// readingBytes is what the user is asked for before anything is known of a
	// snapshot: enough for all that a plan is made from, and less than a cent.
	readingBytes = 100 << 20
	// readingRequests is more than that takes.
	readingRequests = 100
	// againBytes, or a twentieth, is what may be asked for twice, when streams
	// break or one source takes over from another.
	againBytes = 256 << 20
)

// asking calls f with the publishers, and once more each time that the user has
// agreed to pay for what f could not read. Nobody is asked who has no terminal.
func (o *publisherOptions) asking(out *term.Output, f func(*money, []publisher) error) error {
	m := &money{out: out, consent: &source.Consent{}}
	if o.allowRequesterPays {
		m.consent = source.Everything()
	}
	for {
		// Anew each time: a repository remembers that it got no list of keys.
		publishers, err := o.publishers(out.Log(), m.consent)
		if err != nil {
			return err
		}
		err = f(m, publishers)
		if payer := (*source.PayerError)(nil); !errors.Is(err, fetcher.ErrConsent) || !errors.As(err, &payer) {
			return err // nil, another one, or a no to the data
		} else if err := m.agreeToRead(err, payer); err != nil {
			return err
		}
	}
}

// agreeToRead asks whether to pay for what a plan is made from.
func (m *money) agreeToRead(stopped error, payer *source.PayerError) error {
	bytes := max(readingBytes, payer.Wanted)
	price := unknownPrice
	if payer.Price != nil {
		price = dollars(payer.Price.USD(bytes, readingRequests))
	}
	if err := m.out.Confirm(stopped, fmt.Sprintf("To read the signed list, the manifest and the index costs at most %s, %s. Pay for that?",
		term.Size(bytes), price)); err != nil {
		return err
	}
	m.consent.Allow(bytes)
	return nil
}

const unknownPrice = "at a price that is not known here"

func dollars(usd float64) string {
	if usd < 0.01 {
		return "less than one US cent"
	}
	return fmt.Sprintf("up to %.2f USD", usd)
}

// cost is what a source will bill for a plan if it serves all by itself.
type cost struct {
	Source   string   `json:"source"`
	BilledTo string   `json:"billed_to"`
	Bytes    int64    `json:"bytes"`
	Requests int      `json:"requests"`
	PerGB    *float64 `json:"usd_per_gb,omitempty"` // of 10^9 bytes; nil where the price is not known
	USD      *float64 `json:"usd,omitempty"`        // at most, by list prices
	List     string   `json:"prices_from,omitempty"`
	AsOf     string   `json:"prices_as_of,omitempty"`

	price *source.Price
}

// costs are what a plan costs, by source; none for those that are free.
func costs(ctx context.Context, sources []fetcher.Source, p *fetcher.Plan) (all []cost) {
	for _, s := range sources {
		// One that cannot be asked is not in the plan.
		i := slices.IndexFunc(p.Sources, func(planned fetcher.PlannedSource) bool { return planned.Name == s.String() })
		bill := source.BillOf(ctx, s)
		if bill == nil || i < 0 {
			continue
		}
		c := cost{Source: s.String(), BilledTo: bill.To, Bytes: p.Sources[i].FetchBytes, Requests: p.Requests, price: bill.Price}
		if bill.Price != nil {
			perGB, usd := bill.Price.PerGB(), bill.Price.USD(c.Bytes, c.Requests)
			c.PerGB, c.USD, c.List, c.AsOf = &perGB, &usd, bill.Price.List, bill.Price.AsOf
		}
		all = append(all, c)
	}
	return all
}

// String says what it is for people.
func (c cost) String() string {
	amount := fmt.Sprintf("%s in %s requests", humanize.Bytes(uint64(c.Bytes)), humanize.Comma(int64(c.Requests)))
	if c.price == nil {
		return fmt.Sprintf("%s, billed to %s %s", amount, c.BilledTo, unknownPrice)
	}
	return fmt.Sprintf("%s at up to %.3g USD a GB, billed to %s: %s", amount, *c.PerGB, c.BilledTo, dollars(*c.USD))
}

// limit is how many bytes the user is asked to pay for.
func (c cost) limit() int64 { return c.Bytes + max(againBytes, c.Bytes/20) }

// agreeToFetch asks whether to pay for the data of a plan, unless there is a
// source that is free, or nothing to ask.
func (m *money) agreeToFetch(p *fetcher.Plan, costs []cost) error {
	m.consent.Withdraw() // what was for reading is not for data
	if m.consent.IsEverything() || len(costs) == 0 || len(costs) < len(p.Sources) {
		return nil
	}
	var bytes int64
	var names, limits []string
	for _, c := range costs {
		if c.Bytes == 0 {
			return nil
		}
		bytes = max(bytes, c.limit())
		names = append(names, c.Source+": "+c.String())
		limit := unknownPrice
		if c.price != nil {
			limit = dollars(c.price.USD(c.limit(), 2*c.Requests))
		}
		limits = append(limits, limit)
	}
	stopped := declinedError(strings.Join(names, "; "))
	question := fmt.Sprintf("With what must be asked for again that is at most %s, %s. Pay for that?",
		humanize.Bytes(uint64(bytes)), strings.Join(limits, " or "))
	if err := m.out.Confirm(stopped, question); err != nil {
		return err
	}
	m.consent.Allow(bytes)
	return nil
}

// declinedError says what the user did not want to pay for.
type declinedError string

func (e declinedError) Error() string { return fetcher.ErrConsent.Error() + ": " + string(e) }

func (declinedError) Unwrap() []error {
	return []error{fetcher.ErrConsent, source.ErrRequesterPays}
}

// Hint says how to agree.
func (declinedError) Hint() string { return (&source.PayerError{}).Hint() }
