package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// pingInterval is how often it is said that the agent lives, and pingTimeout how long
// that may take.
const (
	pingInterval = time.Minute
	pingTimeout  = 20 * time.Second
)

// ping says that the agent lives, as long as its loop does.
func (a *alarming) ping(ctx context.Context, address string) {
	failing := false
	every(ctx, pingInterval, nil, func() {
		if a.pulse.age() > maxBeat {
			return
		}
		err := pingOnce(ctx, address)
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			a.log.Warn("who watches the agent does not hear that it lives", "error", err)
		case err == nil && failing:
			a.log.Info("who watches the agent hears again that it lives")
		}
		failing = err != nil
	})
}

// pingOnce asks for the URL. Errors do not repeat it: who knows it can pretend that the
// agent lives.
func pingOnce(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("its URL is none")
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s: %w", req.URL.Host, errors.Unwrap(err)) // without *url.Error, which has the URL
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers %s", req.URL.Host, answer.Status)
	}
	return nil
}
