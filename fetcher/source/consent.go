package source

import "sync"

// Consent is what the user has agreed to be billed for, by all sources that share
// it. The zero value is nothing; so is nil.
type Consent struct {
	mu    sync.Mutex
	all   bool
	bytes int64 // that may still be asked for
}

// Everything is the consent to pay for whatever is read.
func Everything() *Consent { return &Consent{all: true} }

// Allow adds so many bytes.
func (c *Consent) Allow(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
}

// Withdraw takes back what has been allowed in bytes and not been used.
func (c *Consent) Withdraw() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = 0
}

// IsEverything reports whether nothing need be asked any more.
func (c *Consent) IsEverything() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// take deducts bytes that are about to be asked for, and reports whether the user
// has agreed to them.
func (c *Consent) take(bytes int64) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all {
		return true
	}
	if bytes > c.bytes {
		return false
	}
	c.bytes -= bytes
	return true
}

// giveBack returns bytes that were asked for and did not come; a negative number is
// of those that came unasked.
func (c *Consent) giveBack(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += bytes
}
